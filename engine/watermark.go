package engine

import (
	"context"
	"sync"
	"time"
)

// Watermark says how far the ledger has come with a partition.
type Watermark struct {
	Epoch    uint64
	Replid   string // server history that the ledger names: an adopted server may have lost entries and used their numbers again
	Sequence uint64 // last log entry that is committed
	Orders   int64  // running count of orders drained, over all epochs
	Refused  int64  // running count of orders that the ledger refused or could not read
}

// covers tells whether an entry of an epoch is in the ledger.
func (w Watermark) covers(epoch, sequence uint64) bool {
	return w.Epoch > epoch || w.Epoch == epoch && w.Sequence >= sequence
}

// watermarkBoard shows the newest watermark of one partition and wakes those who wait for it.
type watermarkBoard struct {
	mu      sync.Mutex
	now     Watermark
	changed chan struct{} // closed at the next advance; nil while nobody waits

	counted   int64     // orders drained when the rate was last measured
	countedAt time.Time // zero = never
	rate      float64   // orders a second that reached the ledger
}

// rateWindow is over how long the drain rate is measured.
const rateWindow = time.Second

// measure brings the drain rate up to date; the caller holds the lock.
func (b *watermarkBoard) measure(at time.Time) {
	since := at.Sub(b.countedAt)
	if b.countedAt.IsZero() || since >= 2*rateWindow {
		b.counted, b.countedAt = b.now.Orders, at
		return
	}
	if since >= rateWindow {
		b.rate = float64(b.now.Orders-b.counted) / since.Seconds()
		b.counted, b.countedAt = b.now.Orders, at
	}
}

// drainRate returns how many orders a second reached the ledger when it was last busy; 0 = not measured yet.
func (b *watermarkBoard) drainRate() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rate
}

func (b *watermarkBoard) get() Watermark {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

// advance shows w unless a newer one is shown already.
func (b *watermarkBoard) advance(w Watermark) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.Epoch < b.now.Epoch || w.Epoch == b.now.Epoch && w.Sequence <= b.now.Sequence {
		if w.Epoch == b.now.Epoch && w.Sequence == b.now.Sequence {
			b.now.Replid = w.Replid // adopted: the same state on another server history
		}
		return
	}
	b.now = w
	b.measure(time.Now())
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// wait blocks until the entry is in the ledger and returns the watermark that covers it.
func (b *watermarkBoard) wait(ctx context.Context, epoch, sequence uint64) (Watermark, error) {
	for {
		b.mu.Lock()
		now := b.now
		if now.covers(epoch, sequence) {
			b.mu.Unlock()
			return now, nil
		}
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		changed := b.changed
		b.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return now, ctx.Err()
		}
	}
}
