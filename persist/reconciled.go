package persist

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"flashsale/engine"
)

// ReconcileWatch shows what came of the last reconciliation, whichever process ran it.
type ReconcileWatch struct {
	pool *pgxpool.Pool
	last atomic.Pointer[engine.Reconciled]
}

// NewReconcileWatch returns a watch on a pool made by [Connect] that shows gauges in a set, if there is one: flashsale_reconcile_drift is NaN
// where the last run could not tell or there was none, flashsale_reconcile_age_seconds +Inf where there was none.
func NewReconcileWatch(pool *pgxpool.Pool, set *metrics.Set) *ReconcileWatch {
	w := &ReconcileWatch{pool: pool}
	if set == nil {
		return w
	}
	set.NewGauge("flashsale_reconcile_drift", func() float64 {
		if last, ok := w.Last(); ok && last.Outcome != engine.ReconciledUnknown {
			return float64(last.Drift)
		}
		return math.NaN()
	})
	set.NewGauge("flashsale_reconcile_age_seconds", func() float64 {
		if last, ok := w.Last(); ok {
			return time.Since(last.FinishedAt).Seconds()
		}
		return math.Inf(1)
	})
	return w
}

// Last returns the last run over all products that this process has heard of; ok is false where there was none.
func (w *ReconcileWatch) Last() (last engine.Reconciled, ok bool) {
	if seen := w.last.Load(); seen != nil {
		return *seen, true
	}
	return last, false
}

// reconciledInterval is how often the ledger is asked.
const reconciledInterval = 2 * time.Second

// Run asks the ledger now and then until ctx ends. While it does not answer, what was heard last stands: its age tells.
func (w *ReconcileWatch) Run(ctx context.Context) error {
	for {
		_ = w.look(ctx) // see above
		if !wait(ctx, reconciledInterval) {
			return nil
		}
	}
}

func (w *ReconcileWatch) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ledgerTimeout)
	defer cancel()
	const query = `
SELECT id, outcome, drift, repaired, finished_at
  FROM reconcile_runs
 WHERE outcome IS NOT NULL AND products IS NULL
 ORDER BY finished_at DESC
 LIMIT 1`
	var r engine.Reconciled
	err := w.pool.QueryRow(ctx, query).Scan(&r.Run, &r.Outcome, &r.Drift, &r.Repaired, &r.FinishedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err == nil {
		w.last.Store(&r)
	}
	return err
}
