package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Counts are outcomes of one operation.
type Counts struct {
	Accepted int64            `json:"accepted"`
	Refused  map[string]int64 `json:"refused"` // by code
	Failed   map[string]int64 `json:"failed"`  // by status and code or by error; the unknown ones too
	Unknown  int64            `json:"unknown"` // of the failed: may have had their effect or not
}

// Answered returns how many were accepted or refused.
func (c *Counts) Answered() int64 { return c.Accepted + Total(c.Refused) }

// All returns how many requests there were.
func (c *Counts) All() int64 { return c.Answered() + Total(c.Failed) }

// Total adds up what was counted by reason.
func Total(reasons map[string]int64) (sum int64) {
	for _, n := range reasons {
		sum += n
	}
	return sum
}

// OpResult is what became of one operation. Latencies are in µs, to three digits.
type OpResult struct {
	Name       string
	Warmup     Counts                  // answered in the warm-up
	Counts     Counts                  // answered after it
	AcceptedUs *hdrhistogram.Histogram // after the warm-up
	RefusedUs  *hdrhistogram.Histogram
	Details    map[string]string // how the service explained what it refused or failed, by reason
}

// AnsweredUs returns the latencies of what was accepted and refused.
func (r *OpResult) AnsweredUs() *hdrhistogram.Histogram {
	both := newHistogram(r.AcceptedUs.HighestTrackableValue())
	both.Merge(r.AcceptedUs)
	both.Merge(r.RefusedUs)
	return both
}

// explain keeps the first explanation of each reason.
func (r *OpResult) explain(o Outcome) {
	if o.Detail == "" || r.Details[o.Why] != "" || len(r.Details) >= maxWhy {
		return
	}
	r.Details[o.Why] = o.Detail
}

// Everything returns the counts of the warm-up and of what followed, for proofs.
func (r *OpResult) Everything() Counts {
	sum := newCounts()
	sum.add(&r.Warmup)
	sum.add(&r.Counts)
	return sum
}

// Slot is what was answered in one interval of the run.
type Slot struct {
	Accepted  int64 `json:"accepted"`
	Refused   int64 `json:"refused"`
	Failed    int64 `json:"failed"`
	SlowestUs int64 `json:"slowestUs"` // of accepted and refused
}

// Result is what a run did. Rates are counts after the warm-up divided by Seconds.
type Result struct {
	Ops     []OpResult
	Seconds float64 // from the end of the warm-up to the last answer, or the end of Duration where that is later
	Visits  int64   // begun, those of the warm-up too
	Dropped int64   // of an open loop, after the warm-up: not begun, because they were later than the timeout

	// LateUs is, of an open loop, from the intended start of a visit to its first request, where that was answered after the
	// warm-up; else empty.
	LateUs *hdrhistogram.Histogram

	// Stolen is the share of this machine's CPU time, from the first visit to the last answer, that its host gave to others: of a
	// virtual machine that had work to do and did not run. 0 where the kernel does not say.
	Stolen float64

	WarmupSeconds float64
	SlotSeconds   float64 // length of a Slot
	Slots         []Slot  // from the beginning, warm-up included; the last may be cut short
}

// PerSecond returns a rate after the warm-up.
func (r *Result) PerSecond(n int64) float64 {
	if r.Seconds <= 0 {
		return 0
	}
	return float64(n) / r.Seconds
}

func newCounts() Counts { return Counts{Refused: map[string]int64{}, Failed: map[string]int64{}} }

func (c *Counts) add(other *Counts) {
	c.Accepted += other.Accepted
	c.Unknown += other.Unknown
	for why, n := range other.Refused {
		count(c.Refused, why, n)
	}
	for why, n := range other.Failed {
		count(c.Failed, why, n)
	}
}

func (c *Counts) note(o Outcome) {
	switch o.Fate {
	case Accepted:
		c.Accepted++
	case Refused:
		count(c.Refused, o.Why, 1)
	case Failed:
		count(c.Failed, o.Why, 1)
	case Unknown:
		count(c.Failed, o.Why, 1)
		c.Unknown++
	}
}

func count(reasons map[string]int64, why string, n int64) {
	if _, known := reasons[why]; !known && len(reasons) >= maxWhy {
		why = otherWhy
	}
	reasons[why] += n
}

// latencyDigits is the precision of latencies, in decimal digits.
const latencyDigits = 3

func newHistogram(highestUs int64) *hdrhistogram.Histogram {
	return hdrhistogram.New(1, highestUs, latencyDigits)
}

// record notes a latency; what is above the histogram's range counts as its end.
func record(h *hdrhistogram.Histogram, took time.Duration) {
	_ = h.RecordValue(min(took.Microseconds(), h.HighestTrackableValue())) // in range, so there is no error
}
