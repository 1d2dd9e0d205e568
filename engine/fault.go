package engine

import (
	"log/slog"
	"time"
)

// fail notes that a batch could not be brought to Redis, or its answer not be read, and has the partition looked at. A
// lasting fault makes one log line.
func (p *partition) fail(err error) {
	text := err.Error()
	p.failedAt.Store(int64(monotonic(time.Now())))
	if old := p.fault.Swap(&text); old == nil {
		slog.Error("orders of a partition fail", "partition", p.id, "error", err)
	}
	p.raise()
}

// succeed notes that Redis answered a batch.
func (p *partition) succeed() {
	if p.fault.Load() == nil {
		return
	}
	if old := p.fault.Swap(nil); old != nil {
		slog.Info("orders of a partition go through again", "partition", p.id, "after", *old)
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
