package persist

import (
	"context"
	"errors"
	"time"

	"flashsale/engine"
)

// settleAttempts bounds how often a transition is asked again because the epoch changed between what the ledger said
// and the script's call. Nothing was executed then.
const settleAttempts = 3

// Settle brings an order to its next state. Where its record has left Redis it takes the ledger's row along. All of it has
// one deadline, by Redis' clock, and a record stays in Redis for longer than that after its last change: so a row that was
// read after the script found no record, and is used in the same epoch, is the last word, or comes too late.
func (s *Store) Settle(ctx context.Context, t *engine.Transition) error {
	began := time.Now()
	for range settleAttempts {
		t.Known = nil // in another epoch the script must say first that it finds no record
		err := s.ask(ctx, t, began)
		if errors.Is(err, engine.ErrNoOrder) && t.ID.Partition() < s.engine.Partitions() {
			err = s.askKnowing(ctx, t, began)
		}
		if !errors.Is(err, engine.ErrEpochMoved) {
			return err
		}
		if time.Since(began) >= s.engine.Timeout() {
			return engine.ErrTooLate
		}
	}
	return engine.ErrPartitionClosed
}

// ask asks Redis, and the ledger where that has the last word.
func (s *Store) ask(ctx context.Context, t *engine.Transition, began time.Time) error {
	err := s.engine.Settle(t, began)
	if errors.Is(err, engine.ErrRowDecides) || errors.Is(err, engine.ErrEpochDecides) {
		return s.settledBy(ctx, t, err)
	}
	return err
}

// askKnowing asks with what the ledger has. ErrEpochMoved says that the epoch changed meanwhile.
func (s *Store) askKnowing(ctx context.Context, t *engine.Transition, began time.Time) error {
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
	err = s.ask(ctx, t, began)
	if errors.Is(err, engine.ErrNoOrder) { // changed behind the last look at it: the row was left out
		return engine.ErrEpochMoved
	}
	return err
}
