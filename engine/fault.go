package engine

import "log/slog"

// fail notes that a batch could not be brought to Redis, or its answer not be read, and has the partition looked at. A
// lasting fault makes one log line.
func (p *partition) fail(err error) {
	text := err.Error()
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
