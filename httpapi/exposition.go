package httpapi

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"flashsale/internal/histogram"
)

// writeMetrics writes all metrics as Prometheus reads them, version 0.0.4 of its text format.
func (s *Server) writeMetrics(w io.Writer) {
	var raw bytes.Buffer
	s.writeGauges(&raw)
	s.writeOwn(&raw)
	s.metrics.set.WritePrometheus(&raw)
	metrics.WriteProcessMetrics(&raw)
	metrics.WriteFDMetrics(&raw)
	_, _ = w.Write(described(raw.Bytes())) // whoever asked is gone
}

// writeOwn writes what the server keeps outside the set.
func (s *Server) writeOwn(w *bytes.Buffer) {
	metrics.WriteMetadataIfNeeded(w, "flashsale_build_info", "gauge")
	fmt.Fprintf(w, "flashsale_build_info{version=%q} 1\n", s.config.Version)
	metrics.WriteGaugeUint64(w, "flashsale_http_connections", uint64(s.openConnections()))
	metrics.WriteGaugeUint64(w, "flashsale_order_requests_in_flight", uint64(max(0, s.traffic.inFlight.Load())))
	metrics.WriteMetadataIfNeeded(w, requestSeconds, "histogram")
	for i := range s.metrics.routes {
		writeBuckets(w, requestSeconds, s.metrics.routes[i].labels, s.metrics.routes[i].times)
	}
}

// writeBuckets writes the series of one histogram.
func writeBuckets(w *bytes.Buffer, name, labels string, b *histogram.Buckets) {
	atMost, sum := b.Read()
	all := atMost[len(atMost)-1]
	for i, bound := range b.Bounds() {
		fmt.Fprintf(w, "%s_bucket{%s,le=\"%s\"} %d\n", name, labels, seconds(bound), atMost[i])
	}
	fmt.Fprintf(w, "%s_bucket{%s,le=\"+Inf\"} %d\n", name, labels, all)
	fmt.Fprintf(w, "%s_sum{%s} %s\n%s_count{%s} %d\n", name, labels, seconds(sum), name, labels, all)
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'g', -1, 64) }

const (
	helpLine = "# HELP "
	typeLine = "# TYPE "
)

// described returns an exposition with the help texts and types of the catalogue: the library writes empty texts, and takes
// some counters of the process for gauges. Families of the process that the catalogue lacks are left out.
func described(raw []byte) []byte {
	out := make([]byte, 0, len(raw)+len(raw)/4)
	skip := false
	var now family
	for line := range bytes.Lines(raw) {
		if name, ok := metadata(line, helpLine); ok {
			var known bool
			now, known = families[name]
			if skip = !known && !strings.HasPrefix(name, "flashsale_"); !skip {
				out = append(append(append(append(out, helpLine...), name...), ' '), now.help...)
				out = append(out, '\n')
			}
			continue
		}
		if skip {
			continue
		}
		if name, ok := metadata(line, typeLine); ok && now.kind != "" {
			out = append(append(append(append(out, typeLine...), name...), ' '), now.kind...)
			line = line[len(line)-1:]
		}
		out = append(out, line...)
	}
	return out
}

// metadata returns which family a line of metadata is about.
func metadata(line []byte, kind string) (name string, ok bool) {
	rest, ok := strings.CutPrefix(string(line), kind)
	if !ok {
		return "", false
	}
	name, _, _ = strings.Cut(strings.TrimSpace(rest), " ")
	return name, true
}
