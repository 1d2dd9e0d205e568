package httpapi

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"flashsale/engine"
	"flashsale/internal/histogram"
)

// trafficClock is what the traffic is timed by. Tests set another.
type trafficClock struct {
	began func(*fasthttp.RequestCtx) time.Time // when a request had been read
	since func(time.Time) time.Duration
	now   func() time.Time
}

// traffic measures the order requests as they are answered. Whatever is recorded only grows; a window is the difference
// of two marks. So nothing is ever reset under those who record, and they share no lock.
type traffic struct {
	clock   trafficClock
	orders  *serverMetrics
	started time.Time
	latency *histogram.Histogram // nanoseconds
	second  atomic.Int64         // since the start, whose beginning was marked last; -1 = none yet

	_        [64]byte // what follows is written at each request
	inFlight atomic.Int64
	peak     atomic.Int64 // of inFlight, since the window began
	refused  atomic.Uint64
	failed   atomic.Uint64

	mu      sync.Mutex // whoever records only tries to take it, once a second
	begins  [liveSlots]mark
	window  totals    // at the start or the last clear
	cleared time.Time // when that was
}

// The live figures are of the last liveSlots seconds, the running one included.
const (
	liveSlots = 10
	liveSlot  = time.Second
)

// mark is what had been recorded when a second began.
type mark struct {
	second int64 // since the start; -1 = none yet
	totals
}

// totals are everything that was recorded up to an instant, or between two.
type totals struct {
	latency  histogram.Snapshot
	placed   uint64                 // orders
	refused  uint64                 // requests answered 3xx or 4xx
	failed   uint64                 // requests answered 5xx
	outcomes map[engine.Code]uint64 // orders not placed
}

func newTraffic(orders *serverMetrics) *traffic {
	t := &traffic{
		clock:  trafficClock{began: (*fasthttp.RequestCtx).Time, since: time.Since, now: time.Now},
		orders: orders, latency: histogram.New(),
	}
	t.reset()
	return t
}

// reset begins at the clock's present; no request may be under way.
func (t *traffic) reset() {
	t.started = t.clock.now()
	t.second.Store(-1)
	for i := range t.begins {
		t.begins[i].second = -1
	}
	t.clear()
}

// clear begins a new window of the benchmark and returns when. Requests in flight belong to it.
func (t *traffic) clear() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleared = t.clock.now()
	t.read(&t.window)
	t.peak.Store(0)
	t.raise(t.inFlight.Load())
	return t.cleared
}

func (t *traffic) read(into *totals) {
	into.placed, into.refused, into.failed = t.orders.accepted.Get(), t.refused.Load(), t.failed.Load()
	t.latency.Read(&into.latency)
	into.outcomes = t.orders.refusals()
}

// isOrderRequest tells which routes the figures are about: placing an order, and whatever is done to one.
func isOrderRequest(rt route) bool {
	return rt.method == fasthttp.MethodPost && (rt.path == "/orders" || strings.HasPrefix(rt.path, ordersPath))
}

// measured records the requests of a route that is about orders.
func (t *traffic) measured(rt route, times *histogram.Buckets, handler fasthttp.RequestHandler) fasthttp.RequestHandler {
	places := rt.path == "/orders"
	return func(ctx *fasthttp.RequestCtx) {
		began, status := t.begin(ctx), 0
		defer func() {
			if status == 0 { // the handler panics
				status = fasthttp.StatusInternalServerError
				if places {
					t.orders.refused(engine.CodeInternal)
				}
			}
			times.Record(t.answered(began, status))
		}()
		handler(ctx)
		status = ctx.Response.StatusCode()
	}
}

// begin notes a request that is about to be handled and returns since when it waits.
func (t *traffic) begin(ctx *fasthttp.RequestCtx) time.Time {
	t.raise(t.inFlight.Add(1))
	began := t.clock.began(ctx)
	if second := int64(began.Sub(t.started) / liveSlot); second > t.second.Load() {
		t.turn(second)
	}
	return began
}

// raise notes how many requests are in flight at once.
func (t *traffic) raise(n int64) {
	for {
		peak := t.peak.Load()
		if n <= peak || t.peak.CompareAndSwap(peak, n) {
			return
		}
	}
}

// answered records a request and returns how long it took.
func (t *traffic) answered(began time.Time, status int) time.Duration {
	took := t.clock.since(began)
	t.latency.Record(took.Nanoseconds())
	switch {
	case status >= fasthttp.StatusInternalServerError:
		t.failed.Add(1)
	case status >= fasthttp.StatusMultipleChoices:
		t.refused.Add(1)
	}
	t.inFlight.Add(-1)
	return took
}

// turn marks the beginning of a second, which the first request that begins in it does. Nobody waits for it: where somebody looks at the
// marks right now, the next request makes up for it.
func (t *traffic) turn(second int64) {
	if !t.mu.TryLock() {
		return
	}
	defer t.mu.Unlock()
	if second <= t.second.Load() {
		return
	}
	m := &t.begins[second%liveSlots]
	m.second = second
	t.read(&m.totals)
	t.second.Store(second)
}
