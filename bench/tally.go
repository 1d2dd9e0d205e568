package bench

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// maxReasons bounds the kinds of refusals, and of failures, that are told apart.
	maxReasons = 64
	// otherReasons is where those beyond it are counted.
	otherReasons = "other"

	// latencyDigits is the precision of latencies, in decimal digits.
	latencyDigits = 3
)

// tally counts the outcomes of one connection; those of all are added up after the sale.
type tally struct {
	accepted []string // order ids, in order of arrival
	unknown  []string // ids of orders that may have been placed or not
	nameless int64    // orders that may have been placed or not, without an id to look them up by
	refused  map[string]int64
	failed   map[string]int64 // the unknown ones too

	acceptedUs *hdrhistogram.Histogram
	refusedUs  *hdrhistogram.Histogram
}

func newTally(timeout time.Duration) *tally {
	slowest := max(2*timeout.Microseconds(), 2) // hdrhistogram wants at least 2; a timeout may be noticed late
	return &tally{
		refused: make(map[string]int64), failed: make(map[string]int64),
		acceptedUs: hdrhistogram.New(1, slowest, latencyDigits),
		refusedUs:  hdrhistogram.New(1, slowest, latencyDigits),
	}
}

// note counts one order that took so long.
func (t *tally) note(o outcome, took time.Duration) {
	switch o.fate {
	case fateAccepted:
		t.accepted = append(t.accepted, o.orderID)
		record(t.acceptedUs, took)
	case fateRefused:
		count(t.refused, o.why, 1)
		record(t.refusedUs, took)
	case fateFailed:
		count(t.failed, o.why, 1)
	case fateUnknown:
		count(t.failed, o.why, 1)
		t.noteUnknown(o.orderID)
	}
}

func (t *tally) noteUnknown(orderID string) {
	if orderID == "" {
		t.nameless++
		return
	}
	t.unknown = append(t.unknown, orderID)
}

// record notes a latency; what is above the histogram's range counts as its end.
func record(h *hdrhistogram.Histogram, took time.Duration) {
	_ = h.RecordValue(min(took.Microseconds(), h.HighestTrackableValue())) // in range, so there is no error
}

func count(reasons map[string]int64, reason string, n int64) {
	if _, known := reasons[reason]; !known && len(reasons) >= maxReasons {
		reason = otherReasons
	}
	reasons[reason] += n
}

// add takes over what another connection counted.
func (t *tally) add(other *tally) {
	t.accepted = append(t.accepted, other.accepted...)
	t.unknown = append(t.unknown, other.unknown...)
	t.nameless += other.nameless
	for reason, n := range other.refused {
		count(t.refused, reason, n)
	}
	for reason, n := range other.failed {
		count(t.failed, reason, n)
	}
	t.acceptedUs.Merge(other.acceptedUs)
	t.refusedUs.Merge(other.refusedUs)
}

func total(reasons map[string]int64) (sum int64) {
	for _, n := range reasons {
		sum += n
	}
	return sum
}
