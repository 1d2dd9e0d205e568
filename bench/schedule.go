package bench

import (
	"fmt"

	"flashsale/bench/load"
)

// An open loop is about the service while the bench keeps its schedule. Beyond these bounds its figures are about the bench.
const (
	// maxDroppedShare of the visits may be dropped.
	maxDroppedShare = 0.01
	// MaxLateShare of the latency, both at p99, may be that visits were begun late.
	MaxLateShare = 0.5
	// maxFailedShare of the requests may fail. Beyond it that may be why the schedule was not kept: while a service fails,
	// connections wait for it.
	maxFailedShare = 0.01
)

// Overrun says by how much an open loop did not keep its schedule, so that its figures are about the bench; "" = it did, or
// there was none.
func (r *Report) Overrun() string {
	if r.Late == nil {
		return ""
	}
	due := r.Late.Visits + r.Late.Dropped
	switch late, took := r.Late.P99Us, r.Latency.P99Us; {
	case float64(r.Late.Dropped) > maxDroppedShare*float64(due):
		return fmt.Sprintf("%s of %s visits were dropped", grouped(r.Late.Dropped), grouped(due))
	case float64(late) > MaxLateShare*float64(took):
		return fmt.Sprintf("visits were begun up to %s ms late, of %s ms that orders took (p99)", Milliseconds(late), Milliseconds(took))
	}
	return ""
}

// unmeasured is true where the warm-up took all that came.
func (r *Report) unmeasured() bool {
	measured := int64(0)
	for i := range r.Ops {
		op := &r.Ops[i]
		measured += op.Accepted + load.Total(op.Refused) + load.Total(op.Failed)
	}
	return measured == 0
}

// caveat is what the verdict says of that.
func (r *Report) caveat() string {
	if r.unmeasured() {
		return "; nothing was measured: all came during the warm-up"
	}
	if r.Overrun() == "" {
		return ""
	}
	if r.isFailing() {
		return "; the schedule was not kept while requests failed: rates and latencies are of a service that stood still"
	}
	return "; the schedule was not kept: rates and latencies are about the bench, not the service"
}

// isFailing is true where so many requests failed that connections may have had to wait for that.
func (r *Report) isFailing() bool {
	all, failed := int64(0), load.Total(r.allFailed())
	for i := range r.Ops {
		all += r.Ops[i].Accepted + load.Total(r.Ops[i].Refused)
	}
	return float64(failed) > maxFailedShare*float64(all+failed)
}

// remedy is what keeps the schedule the next time.
func (r *Report) remedy() string {
	if r.isFailing() {
		return "connections waited while requests failed"
	}
	return "give a lower --rate, or more --connections"
}
