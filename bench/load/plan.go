package load

import (
	"fmt"
	"time"
)

// Plan says how much is sent, and how fast. It ends at whichever comes first, Duration or Visits; one of them is needed.
type Plan struct {
	Connections int           // each with one request under way at most; default 64
	Rate        float64       // visits begun per second, on a fixed schedule (open loop); 0 = closed loop
	Warmup      time.Duration // at the beginning; what is answered in it counts in Result.Warmup alone
	Duration    time.Duration // after the warm-up; 0 = until Visits are done
	Visits      int64         // with those of the warm-up; 0 = until Duration is over
	Timeout     time.Duration // of a request; default 5 s. In an open loop, a visit that is that late is dropped
	Ops         []string      // names of what Outcome.Op says; default order
}

// Defaults and bounds of a [Plan].
const (
	DefaultConnections = 64
	DefaultTimeout     = 5 * time.Second
	MaxConnections     = 10_000

	maxRate     = 10_000_000
	minRate     = 0.001
	maxVisits   = 1_000_000_000_000
	maxDuration = 24 * time.Hour
	maxSchedule = 365 * maxDuration // of visits without a Duration
	maxOps      = 16
)

func (p *Plan) withDefaults() Plan {
	full := *p
	if full.Connections == 0 {
		full.Connections = DefaultConnections
	}
	if full.Timeout == 0 {
		full.Timeout = DefaultTimeout
	}
	if len(full.Ops) == 0 {
		full.Ops = []string{"order"}
	}
	return full
}

// inTime is false where a schedule of visits alone would not end.
func (p *Plan) inTime() bool {
	return p.Rate == 0 || p.Duration > 0 || float64(p.Visits) <= p.Rate*maxSchedule.Seconds()
}

// Check returns an error that wraps [ErrOptions] where the plan, with the defaults for what is not set, can't be carried out.
// It names the flag, what was given, and what is allowed.
func (p *Plan) Check() error {
	full := p.withDefaults()
	return full.check()
}

func (p *Plan) check() error {
	for _, r := range []struct {
		fine bool
		rule string
	}{
		{p.Connections >= 1 && p.Connections <= MaxConnections, fmt.Sprintf("--connections %d: from 1 to %d", p.Connections, MaxConnections)},
		{p.Rate == 0 || p.Rate >= minRate && p.Rate <= maxRate, fmt.Sprintf("--rate %g: from %g to %d a second", p.Rate, minRate, maxRate)},
		{p.Warmup >= 0 && p.Warmup <= maxDuration, fmt.Sprintf("--warmup %s: from 0 to %s", p.Warmup, maxDuration)},
		{p.Duration >= 0 && p.Duration <= maxDuration, fmt.Sprintf("--duration %s: up to %s", p.Duration, maxDuration)},
		{p.Timeout > 0 && p.Timeout <= maxDuration, fmt.Sprintf("--timeout %s: up to %s", p.Timeout, maxDuration)},
		{p.Visits >= 0 && p.Visits <= maxVisits, fmt.Sprintf("--visits %d: from 1 to %d", p.Visits, int64(maxVisits))},
		{p.Visits > 0 || p.Duration > 0, "a duration or a number of visits is needed"},
		{p.inTime(), fmt.Sprintf("--rate %g: %d visits would take longer than %s", p.Rate, p.Visits, maxSchedule)},
		{len(p.Ops) <= maxOps, fmt.Sprintf("operations: at most %d", maxOps)},
	} {
		if !r.fine {
			return fmt.Errorf("%w: %s", ErrOptions, r.rule)
		}
	}
	return nil
}
