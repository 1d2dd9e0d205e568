package reconcile

import (
	"context"
	"fmt"
	"strings"
	"time"

	"flashsale/engine"
)

// arrears are what Redis had logged in a partition and the ledger lacked when a run came past.
type arrears struct {
	partition int
	epoch     engine.Epoch
	watermark uint64 // how far the ledger had come
	entries   int
	orders    int // that the entries name
}

// noteArrears notes what a partition's look, of no things, found to be on its way.
func (s *sweep) noteArrears(f *frame, partition int) {
	place, entries := &f.places[partition], f.tails[partition].until(f.looks[0].audit.Sequence)
	if len(entries) == 0 {
		return
	}
	a := arrears{partition: partition, epoch: place.epoch, watermark: place.sequence, entries: len(entries)}
	for i := range entries {
		a.orders += len(entries[i].Orders)
	}
	s.report.basis.arrears = append(s.report.basis.arrears, a)
}

// awaitProgress fails with [ErrUnknown] where the ledger stands still: what is on its way is compared as if it arrived, so a
// run may call an order all right that never will.
func (r *Reconciler) awaitProgress(ctx context.Context, all []arrears) error {
	deadline := time.Now().Add(r.config.Patience)
	for {
		var still []string
		for i := range all {
			moves, err := r.moves(ctx, &all[i])
			if err != nil {
				return err
			}
			if !moves {
				still = append(still, all[i].String())
			}
		}
		switch {
		case len(still) == 0:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(deadline):
			return fmt.Errorf("%w: the ledger has stood still for %s: %s; does a server run, and what does its health say?", ErrUnknown,
				r.config.Patience, strings.Join(still, "; "))
		}
		rest(ctx)
	}
}

// moves tells whether the ledger has come further with a partition since.
func (r *Reconciler) moves(ctx context.Context, a *arrears) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	const query = `SELECT epoch <> $2 OR namespace <> $3 OR sequence > $4 FROM partitions WHERE partition = $1`
	var moved bool
	err := r.pool.QueryRow(ctx, query, a.partition, a.epoch.Number, a.epoch.Namespace, a.watermark).Scan(&moved)
	if err != nil {
		return false, fmt.Errorf("position of partition %d: %w", a.partition, err)
	}
	return moved, nil
}

func (a *arrears) String() string {
	return fmt.Sprintf("partition %d is at log entry %d, and Redis has %d more, of %d orders", a.partition, a.watermark, a.entries, a.orders)
}
