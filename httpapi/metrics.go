package httpapi

import (
	"strconv"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"

	"flashsale/engine"
	"flashsale/internal/histogram"
)

// requestBounds are the buckets of request times.
var requestBounds = []time.Duration{
	500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second,
}

// serverMetrics are made once; nothing on the hot path builds a name.
type serverMetrics struct {
	set      *metrics.Set
	accepted *metrics.Counter
	replayed *metrics.Counter
	settling map[engine.Action]settleCounters
	outcomes map[engine.Code]*metrics.Counter
	panics   *metrics.Counter

	sampleFailures *metrics.Counter
	addressLimited *metrics.Counter
	userLimited    *metrics.Counter

	routes []routeSeconds
}

// routeSeconds are the times of a route's requests.
type routeSeconds struct {
	labels string // `route="GET /orders/{id}"`
	times  *histogram.Buckets
}

const requestSeconds = "flashsale_http_request_seconds"

func newServerMetrics(set *metrics.Set) *serverMetrics {
	metrics.ExposeMetadata(true)
	m := &serverMetrics{
		set:      set,
		accepted: set.NewCounter(`flashsale_orders_total{outcome="accepted"}`),
		replayed: set.NewCounter(`flashsale_orders_total{outcome="replayed"}`),
		settling: newSettleCounters(set),
		outcomes: make(map[engine.Code]*metrics.Counter, len(kinds)),
		panics:   set.NewCounter("flashsale_http_panics_total"),

		sampleFailures: set.NewCounter("flashsale_sample_failures_total"),
		addressLimited: set.NewCounter(`flashsale_rate_limited_total{kind="address"}`),
		userLimited:    set.NewCounter(`flashsale_rate_limited_total{kind="user"}`),
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

// refusals returns how many orders were not accepted since the start, by code.
func (m *serverMetrics) refusals() map[engine.Code]uint64 {
	counts := make(map[engine.Code]uint64, len(m.outcomes))
	for code, counter := range m.outcomes {
		counts[code] = counter.Get()
	}
	return counts
}

// timesOf returns where the times of a route's requests go. All files of pages are one route: nobody wants to know more of
// them.
func (m *serverMetrics) timesOf(rt route) *histogram.Buckets {
	labels := "route=" + strconv.Quote(rt.method+" "+rt.path)
	if isPage(rt.path) {
		labels = `route="pages"`
	}
	for i := range m.routes {
		if m.routes[i].labels == labels {
			return m.routes[i].times
		}
	}
	times := histogram.NewBuckets(requestBounds...)
	m.routes = append(m.routes, routeSeconds{labels, times})
	return times
}

func isPage(path string) bool {
	return path == "/" || path == "/openapi.yaml" || strings.HasPrefix(path, "/docs") || strings.HasPrefix(path, "/dashboard") ||
		strings.HasPrefix(path, "/demo")
}

// measured times a route's handler, from the moment that the request had been read.
func (s *Server) measured(rt route, handler fasthttp.RequestHandler) fasthttp.RequestHandler {
	times := s.metrics.timesOf(rt)
	if isOrderRequest(rt) {
		return s.traffic.measured(rt, times, handler)
	}
	return func(ctx *fasthttp.RequestCtx) {
		defer func() { times.Record(time.Since(ctx.Time())) }() // also where the handler panics
		handler(ctx)
	}
}

const metricsType = "text/plain; version=0.0.4; charset=utf-8"

// getMetrics shows the metrics where they have no listener of their own.
func (s *Server) getMetrics(ctx *fasthttp.RequestCtx) {
	ctx.SetContentType(metricsType)
	s.writeMetrics(ctx)
}

// settleCounters count what became of the transitions of one kind.
type settleCounters struct{ done, refused, failed *metrics.Counter }

func newSettleCounters(set *metrics.Set) map[engine.Action]settleCounters {
	counters := make(map[engine.Action]settleCounters)
	for action, name := range map[engine.Action]string{
		engine.ActionConfirm: "confirm", engine.ActionCancel: "cancel", engine.ActionExtend: "extend",
	} {
		counter := func(outcome string) *metrics.Counter {
			return set.NewCounter(`flashsale_transitions_total{action="` + name + `",outcome="` + outcome + `"}`)
		}
		counters[action] = settleCounters{done: counter("done"), refused: counter("refused"), failed: counter("failed")}
	}
	return counters
}

// settled counts a transition: done, refused where the caller is told why not, failed where the fault is here.
func (m *serverMetrics) settled(action engine.Action, err error) {
	if err == nil {
		m.settling[action].done.Inc()
		return
	}
	failure, _ := coded(err)
	if kindOf(failure).status >= fasthttp.StatusInternalServerError {
		m.settling[action].failed.Inc()
		return
	}
	m.settling[action].refused.Inc()
}
