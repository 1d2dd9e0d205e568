package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"flashsale/engine"
)

// rebuildTimeout bounds how long a rebuild is waited for: as long as one may take.
const rebuildTimeout = 10 * time.Minute

// awaitEpoch waits until an epoch, or a later one, is in force and takes orders, and returns it.
func (r *Reconciler) awaitEpoch(ctx context.Context, partition int, least uint64) (epoch uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, rebuildTimeout)
	defer cancel()
	for {
		epoch, open, err := r.isOpen(ctx, partition, least)
		if err != nil || open {
			return epoch, err
		}
		if rest(ctx); ctx.Err() != nil {
			return epoch, fmt.Errorf("%w: partition %d is not rebuilt: %w", ErrUnknown, partition, ctx.Err())
		}
	}
}

// isOpen tells whether a partition is in an epoch, or a later one, and takes orders there, and which it is in.
func (r *Reconciler) isOpen(ctx context.Context, partition int, least uint64) (number uint64, open bool, err error) {
	const query = `
SELECT epoch, namespace, replid, sequence, rebuild_reason IS NOT NULL, coalesce(operator_hold, '') FROM partitions WHERE partition = $1`
	var epoch engine.Epoch
	var sequence uint64
	var rebuild bool
	err = r.pool.QueryRow(ctx, query, partition).Scan(&epoch.Number, &epoch.Namespace, &epoch.Replid, &sequence, &rebuild, &epoch.Held)
	if err != nil {
		return 0, false, fmt.Errorf("partition %d: %w", partition, err)
	}
	if epoch.Held != "" {
		return 0, false, fmt.Errorf("%w: partition %d is held for an operator: %s", ErrUnknown, partition, epoch.Held)
	}
	if rebuild || epoch.Number < least {
		return epoch.Number, false, nil
	}
	timed, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	audit, err := r.engine.Audit(timed, partition, epoch, sequence, &engine.AuditQuery{})
	return epoch.Number, err == nil && audit.Guard == engine.GuardOK, nil // else it is asked again
}

// ErrHeld says that an operator's hold keeps a partition shut, and that nobody said to release it.
var ErrHeld = errors.New("the partition is held for an operator: say --release-hold once you know what is true")

// Rebuilt is a partition that was rebuilt by hand.
type Rebuilt struct {
	Partition int           `json:"partition"`
	Epoch     uint64        `json:"epoch"`
	Took      time.Duration `json:"tookNs"`
	Released  string        `json:"releasedHold,omitempty"` // why it was held
}

// operatorRebuild is the rebuild_reason by which an operator says that the ledger is to be the truth although log entries are
// missing; see persist/align.go.
const operatorRebuild = "operator"

// Rebuild has a partition shut, drained and written anew from the ledger, and waits until it takes orders again. A partition
// that is held for an operator is refused unless release is said: then the ledger is the truth, whatever the log lacks.
func (r *Reconciler) Rebuild(ctx context.Context, partition int, release bool) (Rebuilt, error) {
	began := time.Now()
	done := Rebuilt{Partition: partition}
	if partition < 0 || partition >= r.engine.Partitions() {
		return done, fmt.Errorf("%w: there is no partition %d", ErrUnknown, partition)
	}
	tx, err := r.pool.Begin(ctx)
	if err != nil {
		return done, err
	}
	defer tx.Rollback(ctx) //nolint:errcheck // after a commit there is nothing to roll back
	const lock = `SELECT epoch, coalesce(operator_hold, '') FROM partitions WHERE partition = $1 FOR UPDATE`
	if err := tx.QueryRow(ctx, lock, partition).Scan(&done.Epoch, &done.Released); err != nil {
		return done, fmt.Errorf("partition %d: %w", partition, err)
	}
	reason := "asked for by " + r.config.Actor
	switch {
	case done.Released != "" && !release:
		return done, fmt.Errorf("%w (%s)", ErrHeld, done.Released)
	case done.Released != "":
		reason = operatorRebuild
	}
	const ask = `UPDATE partitions SET operator_hold = NULL, rebuild_reason = $2, attempt = attempt + 1 WHERE partition = $1`
	if _, err := tx.Exec(ctx, ask, partition, reason); err != nil {
		return done, fmt.Errorf("partition %d: %w", partition, err)
	}
	if err := tx.Commit(ctx); err != nil {
		return done, fmt.Errorf("partition %d: %w", partition, err)
	}
	done.Epoch, err = r.awaitEpoch(ctx, partition, done.Epoch+1)
	done.Took = time.Since(began)
	return done, err
}
