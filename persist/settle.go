package persist

import (
	"context"
	"errors"
	"time"

	"flashsale/engine"
)

// settleAttempts bounds how often a transition is asked again because the epoch changed between what the ledger said
// and the script's call.
const settleAttempts = 3

// Settle brings an order to its next state. Where its record has left Redis it takes the ledger's row along. All of it has
// one deadline, by Redis' clock, and a record stays in Redis for longer than that after its last change: so a row that was
// read after the script found no record, and is used in the same epoch, is the last word, or comes too late.
func (s *Store) Settle(ctx context.Context, t *engine.Transition) error {
	began := time.Now()
	for range settleAttempts {
		err := s.engine.Settle(t, began)
		if errors.Is(err, engine.ErrRowDecides) || errors.Is(err, engine.ErrEpochDecides) {
			return s.settledBy(ctx, t, err)
		}
		if !errors.Is(err, engine.ErrNoOrder) || t.ID.Partition() >= s.engine.Partitions() {
			return err
		}
		epoch := s.engine.State(t.ID.Partition()).Epoch.Number
		view, err := s.ledgerOrder(ctx, t.ID)
		switch {
		case err != nil:
			return err
		case t.User != "" && view.User != t.User:
			return engine.ErrNoOrder
		case view.Status == engine.StatusFailed: // for good, and a dead letter may lack what a record needs
			t.Order = view.Order
			return engine.ErrInvalidState
		}
		t.Known, t.KnownEpoch = &view.Order, epoch
	}
	return engine.ErrPartitionClosed
}
