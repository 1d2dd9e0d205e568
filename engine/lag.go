package engine

import (
	"sync"
	"time"
)

// Bounds of the marks by which a partition's lag is told.
const (
	maxLagMarks   = 256
	lagResolution = 20 * time.Millisecond
)

// lagMark says that the orders up to a running count were logged, the first of those behind the mark before it at that
// instant or later.
type lagMark struct {
	orders int64
	at     time.Time
}

// lagMarks remember when the orders that wait for the ledger were logged. Batches within one spacing share a mark, so the
// age of the oldest order is told at most one spacing too high. When the marks run out the spacing doubles until there is
// room: it is then no more than 1/64 of the time that they span, and goes back once the ledger has everything.
type lagMarks struct {
	mu      sync.Mutex
	epoch   uint64
	spacing time.Duration
	marks   []lagMark // oldest first
}

// note takes in that the orders of an epoch up to a count were logged, where the ledger has the first drained of them.
func (l *lagMarks) note(epoch uint64, orders, drained int64, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if epoch < l.epoch { // an answer that was long on its way
		return
	}
	if epoch > l.epoch { // its count may go on lower than the last one's
		l.epoch, l.marks = epoch, l.marks[:0]
	}
	l.forget(drained)
	n := len(l.marks)
	switch {
	case n > 0 && orders <= l.marks[n-1].orders:
	case n > 0 && at.Sub(l.marks[n-1].at) < l.spacing:
		l.marks[n-1].orders = orders
	default:
		l.add(lagMark{orders, at})
	}
}

// restart forgets all marks: another server was adopted, and what the one before had logged and the ledger lacks is lost.
func (l *lagMarks) restart() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.marks, l.spacing = l.marks[:0], lagResolution
}

// forget drops the marks whose orders are all in the ledger.
func (l *lagMarks) forget(drained int64) {
	passed := 0
	for passed < len(l.marks) && l.marks[passed].orders <= drained {
		passed++
	}
	l.marks = l.marks[:copy(l.marks, l.marks[passed:])]
	if len(l.marks) == 0 {
		l.spacing = lagResolution
	}
}

func (l *lagMarks) add(m lagMark) {
	for len(l.marks) >= maxLagMarks {
		l.spacing *= 2
		l.thin()
	}
	l.marks = append(l.marks, m)
}

// thin joins the marks that are within one spacing: the instant of the first with the count of the last.
func (l *lagMarks) thin() {
	kept := l.marks[:1]
	for _, m := range l.marks[1:] {
		last := &kept[len(kept)-1]
		if m.at.Sub(last.at) < l.spacing {
			last.orders = m.orders
		} else {
			kept = append(kept, m)
		}
	}
	l.marks = kept
}

// since returns how long the oldest order of an epoch has waited that the ledger does not have; 0 = none is known.
func (l *lagMarks) since(epoch uint64, drained int64, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if epoch != l.epoch {
		return 0
	}
	l.forget(drained)
	if len(l.marks) == 0 {
		return 0
	}
	return max(0, now.Sub(l.marks[0].at))
}

// logEnd is how far a log has come.
type logEnd struct {
	epoch    uint64
	replid   string // server history that it is of
	sequence uint64 // last entry
	orders   int64  // running count of orders, over all epochs
}

// covers tells whether another end says nothing new: it is of an epoch that is over, or of the same history and no further.
func (l *logEnd) covers(told *logEnd) bool {
	if l.epoch != told.epoch {
		return l.epoch > told.epoch
	}
	return l.replid == told.replid && l.sequence >= told.sequence
}

// logEnd returns how far the log has come, as far as this process knows.
func (p *partition) logEnd() logEnd {
	if end := p.end.Load(); end != nil {
		return *end
	}
	return logEnd{}
}

// logged takes in how far Redis said the log has come, in an answer asked for at: its last entry, and the running count of
// orders. Of one history the furthest counts: workers take in their answers in any order.
func (p *partition) logged(v *view, sequence uint64, orders int64, at time.Time) {
	now := p.view.Load()
	if v.Number < now.Number || v.Number == now.Number && v.Replid != now.Replid {
		return // of an epoch that is over, or a server that was replaced: what it had logged beyond the ledger is lost
	}
	told := &logEnd{epoch: v.Number, replid: v.Replid, sequence: sequence, orders: orders}
	for {
		end := p.end.Load()
		if end != nil && end.covers(told) {
			break
		}
		if p.end.CompareAndSwap(end, told) {
			break
		}
	}
	p.lag.note(v.Number, orders, p.watermark.get().Orders, at)
}

// entriesBehind returns how many entries of the log the ledger lacks, as far as this process knows.
func (p *partition) entriesBehind(v *view) int64 {
	end := p.logEnd()
	if end.epoch != v.Number {
		return 0
	}
	return max(0, int64(end.sequence)-int64(p.watermarkIn(v.Number)))
}

// lagNow returns for how long the oldest order that is not in the ledger has been logged, as far as this process knows.
func (p *partition) lagNow() time.Duration {
	return p.lag.since(p.view.Load().Number, p.watermark.get().Orders, time.Now())
}
