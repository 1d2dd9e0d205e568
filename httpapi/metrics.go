package httpapi

import (
	"io"
	"strconv"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"

	"flashsale/engine"
)

// requestSecondsBounds are the buckets of request times, in seconds.
var requestSecondsBounds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}

// serverMetrics are made once; nothing on the hot path builds a name.
type serverMetrics struct {
	set      *metrics.Set
	accepted *metrics.Counter
	outcomes map[engine.Code]*metrics.Counter
	panics   *metrics.Counter
}

func newServerMetrics(set *metrics.Set) *serverMetrics {
	metrics.ExposeMetadata(true)
	m := &serverMetrics{
		set:      set,
		accepted: set.NewCounter(`flashsale_orders_total{outcome="accepted"}`),
		outcomes: make(map[engine.Code]*metrics.Counter, len(kinds)),
		panics:   set.NewCounter("flashsale_http_panics_total"),
	}
	for code := range kinds {
		m.outcomes[code] = set.NewCounter(`flashsale_orders_total{outcome="` + string(code) + `"}`)
	}
	return m
}

// refused counts an order that was not accepted.
func (m *serverMetrics) refused(code engine.Code) {
	counter, ok := m.outcomes[code]
	if !ok {
		counter = m.outcomes[engine.CodeInternal]
	}
	counter.Inc()
}

// measured times a route's handler, from the moment that the request had been read.
func (s *Server) measured(rt route, handler fasthttp.RequestHandler) fasthttp.RequestHandler {
	label := strconv.Quote(rt.method + " " + rt.path)
	seconds := s.metrics.set.NewPrometheusHistogramExt("flashsale_http_request_seconds{route="+label+"}", requestSecondsBounds)
	return func(ctx *fasthttp.RequestCtx) {
		handler(ctx)
		seconds.Update(time.Since(ctx.Time()).Seconds())
	}
}

const metricsType = "text/plain; version=0.0.4; charset=utf-8"

// getMetrics shows the metrics where they have no listener of their own.
func (s *Server) getMetrics(ctx *fasthttp.RequestCtx) {
	ctx.SetContentType(metricsType)
	s.writeMetrics(ctx)
}

// writeMetrics writes the set's metrics and the process's as Prometheus reads them.
func (s *Server) writeMetrics(w io.Writer) {
	s.metrics.set.WritePrometheus(w)
	metrics.WriteProcessMetrics(w)
}
