package engine

import (
	"log/slog"
	"time"
)

// fault is why Redis was asked in vain.
type fault struct {
	err   error
	sweep bool // it was asked to expire holds; else orders failed
}

// reason says what does not work, for the state of a partition that is open.
func (f *fault) reason() string {
	what := "the last orders failed"
	if f.sweep {
		what = "holds that are over stay off sale"
	}
	return what + ": Redis did not answer, or with an error that the log tells"
}

// fail notes that a batch could not be brought to Redis, or its answer not be read, and has the partition looked at. A
// lasting fault makes one log line.
func (p *partition) fail(err error) {
	p.failedAt.Store(int64(monotonic(time.Now())))
	if old := p.fault.Swap(&fault{err: err}); old == nil || old.sweep {
		slog.Error("orders of a partition fail", "partition", p.id, "error", err)
	}
	p.raise()
}

// failSweep notes the same of a script that expires holds. Where orders fail too, that is what is told.
func (p *partition) failSweep(err error) {
	p.failedAt.Store(int64(monotonic(time.Now())))
	if p.fault.CompareAndSwap(nil, &fault{err: err, sweep: true}) {
		slog.Error("holds of a partition can't expire", "partition", p.id, "error", err)
	}
	p.raise()
}

// succeed notes that Redis answered a batch.
func (p *partition) succeed() {
	if p.fault.Load() == nil {
		return
	}
	if old := p.fault.Swap(nil); old != nil {
		slog.Info("Redis answers for a partition again", "partition", p.id, "after", old.err)
	}
}

// faultMemory is for how long a fault of orders is told after the last one failed, where no order comes to show that it is
// over: as long as orders go on failing, a sweep that goes through says nothing about them.
const faultMemory = 5 * time.Second

// succeedQuietly notes that Redis ran a script of the partition that no order asked for.
func (p *partition) succeedQuietly(now time.Time) {
	if p.fault.Load() != nil && monotonic(now)-time.Duration(p.failedAt.Load()) >= faultMemory {
		p.succeed()
	}
}
