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
	return "; the schedule was not kept: rates and latencies are about the bench, not the service"
}
