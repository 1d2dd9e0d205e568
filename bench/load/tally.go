package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// samplesKept is how many answers a connection keeps to itself before it takes the lock to count them.
	samplesKept = 64
	// countedAfter is for how long it keeps them at the most, while answers come.
	countedAfter = 50 * time.Millisecond

	// firstSlot is how long a slot is in a short run. A run never has more than maxSlots: they are joined two by two.
	firstSlot = 20 * time.Millisecond
	maxSlots  = 1024
)

// sample is one answer.
type sample struct {
	Outcome
	at   time.Duration // of the answer, on the clock
	took time.Duration
	// paced is true for a visit's first answer in an open loop, and late is how late the visit was begun.
	paced bool
	late  time.Duration
}

// tally counts for all connections. What they note comes in by the handful, so that the lock costs nothing and there is one
// set of histograms for any number of connections.
type tally struct {
	warmup time.Duration

	mu     sync.Mutex
	ops    []OpResult
	lateUs *hdrhistogram.Histogram
	slot   time.Duration
	slots  []Slot
	last   time.Duration // answer, on the clock
}

func newTally(p *Plan) *tally {
	slowest := max(4*p.Timeout.Microseconds(), 2) // hdrhistogram wants at least 2; twice late, and noticed late
	t := &tally{warmup: p.Warmup, lateUs: newHistogram(slowest), slot: firstSlot}
	for _, name := range p.Ops {
		t.ops = append(t.ops, OpResult{
			Name: name, Warmup: newCounts(), Counts: newCounts(), Details: map[string]string{},
			AcceptedUs: newHistogram(slowest), RefusedUs: newHistogram(slowest),
		})
	}
	return t
}

func (t *tally) note(s *sample) {
	op := &t.ops[s.Op]
	op.explain(s.Outcome)
	t.noteSlot(s)
	t.last = max(t.last, s.at)
	if s.at < t.warmup {
		op.Warmup.note(s.Outcome)
		return
	}
	op.Counts.note(s.Outcome)
	if s.paced {
		record(t.lateUs, s.late)
	}
	switch s.Fate {
	case Accepted:
		record(op.AcceptedUs, s.took)
	case Refused:
		record(op.RefusedUs, s.took)
	case Failed, Unknown:
	}
}

func (t *tally) noteSlot(s *sample) {
	for int(s.at/t.slot) >= maxSlots {
		t.joinSlots()
	}
	for len(t.slots) <= int(s.at/t.slot) {
		t.slots = append(t.slots, Slot{})
	}
	slot := &t.slots[s.at/t.slot]
	switch s.Fate {
	case Accepted:
		slot.Accepted++
	case Refused:
		slot.Refused++
	case Failed, Unknown:
		slot.Failed++
		return
	}
	slot.SlowestUs = max(slot.SlowestUs, s.took.Microseconds())
}

// joinSlots makes slots twice as long.
func (t *tally) joinSlots() {
	half := t.slots[:0]
	for i := 0; i < len(t.slots); i += 2 {
		joined := t.slots[i]
		if i+1 < len(t.slots) {
			next := &t.slots[i+1]
			joined.Accepted += next.Accepted
			joined.Refused += next.Refused
			joined.Failed += next.Failed
			joined.SlowestUs = max(joined.SlowestUs, next.SlowestUs)
		}
		half = append(half, joined)
	}
	t.slots, t.slot = half, 2*t.slot
}

// Progress is how far a run is. Counts are of all operations, and those of the warm-up too.
type Progress struct {
	Elapsed  time.Duration // since the beginning
	Accepted int64
	Refused  int64
	Failed   int64
}

// Answers returns how many requests came to their end.
func (p *Progress) Answers() int64 { return p.Accepted + p.Refused + p.Failed }

func (t *tally) progress() (p Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.slots {
		p.Accepted += t.slots[i].Accepted
		p.Refused += t.slots[i].Refused
		p.Failed += t.slots[i].Failed
	}
	return p
}

// notebook is where one connection keeps its answers until the tally counts them.
type notebook struct {
	tally   *tally
	samples []sample
	counted time.Duration // when it was last handed over, on the clock
}

func newNotebook(t *tally) *notebook {
	return &notebook{tally: t, samples: make([]sample, 0, samplesKept)}
}

func (n *notebook) note(s sample) {
	n.samples = append(n.samples, s)
	if len(n.samples) == samplesKept || s.at-n.counted > countedAfter {
		n.handOver()
		n.counted = s.at
	}
}

func (n *notebook) handOver() {
	n.tally.mu.Lock()
	defer n.tally.mu.Unlock()
	for i := range n.samples {
		n.tally.note(&n.samples[i])
	}
	n.samples = n.samples[:0]
}
