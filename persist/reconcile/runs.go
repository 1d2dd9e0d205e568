package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

const (
	// recordTimeout bounds what is written about a run.
	recordTimeout = 5 * time.Second
	// keepRuns is how many runs are kept at the least: older ones go where they found nothing.
	keepRuns = 10_000
)

func (r *Reconciler) beginRun(ctx context.Context, at time.Time) (id int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	const insert = `INSERT INTO reconcile_runs (started_at, actor, apply, products) VALUES ($1, $2, $3, $4) RETURNING id`
	if err := r.pool.QueryRow(ctx, insert, at, r.config.Actor, r.config.Apply, r.config.Products).Scan(&id); err != nil {
		return 0, fmt.Errorf("record the run: %w", err)
	}
	return id, nil
}

// endRun records what came of a run. A run that could not be begun in the ledger is not recorded: it has said so.
func (r *Reconciler) endRun(ctx context.Context, report *Report) error {
	if report.Run == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	text, err := json.Marshal(report)
	if err != nil {
		return err
	}
	const update = `
UPDATE reconcile_runs SET finished_at = $2, outcome = $3, drift = $4, repaired = $5, report = $6 WHERE id = $1`
	if _, err := r.pool.Exec(ctx, update, report.Run, report.FinishedAt, report.Outcome, report.Unrepaired(), report.Repaired, text); err != nil {
		return err
	}
	const forget = `DELETE FROM reconcile_runs r WHERE r.id <= $1 AND r.outcome = 'clean' AND r.repaired = 0`
	_, err = r.pool.Exec(ctx, forget, report.Run-keepRuns)
	return err
}

// Unrepaired counts the findings that still are.
func (report *Report) Unrepaired() (n int) {
	for i := range report.Findings {
		if !report.Findings[i].fix.done {
			n++
		}
	}
	return n
}
