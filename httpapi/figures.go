package httpapi

import (
	"time"

	"github.com/valyala/fasthttp"

	"flashsale/engine"
)

// figures are what was measured between two instants.
type figures struct {
	since, until time.Time
	requests     uint64
	totals       // of the window
}

// between fills in what was recorded since a mark; the caller holds the lock.
func (t *traffic) between(from *totals, since time.Time) *figures {
	f := &figures{since: since, until: t.clock.now()}
	t.read(&f.totals)
	f.latency.Subtract(&from.latency)
	f.refused -= from.refused
	f.failed -= from.failed
	f.placed -= from.placed
	for code, before := range from.outcomes {
		f.outcomes[code] -= before
	}
	f.requests = f.latency.Count()
	return f
}

// whole returns the figures since the start or the last clear.
func (t *traffic) whole() *figures {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.between(&t.window, t.cleared)
}

// live returns the figures of the last seconds. A second without a request has no mark, and nothing that one could miss.
func (t *traffic) live() *figures {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := int64(t.clock.now().Sub(t.started)/liveSlot) - (liveSlots - 1)
	var from *mark
	for i := range t.begins {
		m := &t.begins[i]
		if m.second >= max(0, first) && (from == nil || m.second < from.second) {
			from = m
		}
	}
	since := t.started.Add(time.Duration(max(0, first)) * liveSlot)
	if from == nil {
		now := t.clock.now()
		return &figures{since: since, until: now}
	}
	return t.between(&from.totals, since)
}

func (f *figures) duration() time.Duration { return f.until.Sub(f.since) }

// perSecond returns a rate. A window shorter than a second counts as one: a rate over less would be noise.
func (f *figures) perSecond(n uint64) float64 {
	return float64(n) / max(liveSlot, f.duration()).Seconds()
}

// errorRate returns the share of requests that failed, 0 where there was none.
func (f *figures) errorRate() float64 {
	if f.requests == 0 {
		return 0
	}
	return min(1, float64(f.failed)/float64(f.requests))
}

// answers returns how many requests got a definite answer, be it a refusal.
func (f *figures) answers() uint64 { return f.requests - min(f.requests, f.failed) }

// accepts returns how many requests got what they asked for.
func (f *figures) accepts() uint64 { return f.answers() - min(f.answers(), f.refused) }

// failedOrders returns how many orders were not placed, or perhaps were, through no fault of their sender's.
func (f *figures) failedOrders() uint64 { return f.notPlaced(isFailure) }

// notPlaced returns how many orders were not placed for a reason of that sort.
func (f *figures) notPlaced(sort func(engine.Code) bool) (n uint64) {
	for code, count := range f.outcomes {
		if sort(code) {
			n += count
		}
	}
	return n
}

// failingShare returns the share of failures among the requests that could be decided: a flood of what nobody could hides none.
func (f *figures) failingShare() float64 {
	decided := f.requests - min(f.requests, f.notPlaced(isUndecidable))
	return min(1, float64(f.failed)/float64(max(1, decided)))
}

// isUndecidable tells which codes say that a request was not one that could be decided, whatever is left and whose turn it is.
func isUndecidable(code engine.Code) bool {
	status := kinds[code].status
	return status < 500 && status != fasthttp.StatusConflict && status != fasthttp.StatusGone
}

// isFailure tells which codes are failures of ours; all others are answers.
func isFailure(code engine.Code) bool { return kinds[code].status >= 500 }
