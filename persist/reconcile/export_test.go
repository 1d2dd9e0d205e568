package reconcile

import (
	"context"
	"time"
)

// Compare begins a run and compares, as Run does.
func (r *Reconciler) Compare(ctx context.Context) (report Report, err error) {
	report.StartedAt = time.Now()
	if report.Run, err = r.beginRun(ctx, report.StartedAt); err != nil {
		return report, err
	}
	err = r.check(ctx, &report)
	return report, err
}

// Repair goes on where Compare ended, as Run does.
func (r *Reconciler) Repair(ctx context.Context, report *Report) error { return r.apply(ctx, report) }
