package persist

import (
	"context"
	"errors"
	"time"

	"flashsale/engine"
)

// Reserver is an engine together with the ledger, which has the last word on orders of mode ledger.
type Reserver struct {
	*engine.Engine
	store *Store
}

// NewReserver returns a reserver on a store and its engine.
func NewReserver(store *Store) *Reserver { return &Reserver{Engine: store.engine, store: store} }

// What becomes of an order that Redis granted and the ledger did not.
var (
	errLedgerOversold = &engine.Error{Code: engine.CodeSoldOut, Detail: "the ledger refused the order: more was sold than there is stock"}
	errLedgerRefused  = &engine.Error{Code: engine.CodeInternal, Detail: "the ledger can't record the order, so it has failed; reconciliation names the cause"}
)

// Reserve is [engine.Engine.Reserve], but for orders of mode ledger on which only a row can tell: it is looked up within the
// same deadline.
func (r *Reserver) Reserve(o *engine.Reservation, now time.Time) error {
	err := r.Engine.Reserve(o, now)
	if err != engine.ErrRowDecides && err != engine.ErrEpochDecides { //nolint:errorlint // the hot path: both are made once
		return err
	}
	ctx, cancel := context.WithDeadline(context.Background(), now.Add(r.Timeout()))
	defer cancel()
	row, rowErr := r.store.ledgerOrder(ctx, o.Order.ID)
	switch {
	case errors.Is(rowErr, engine.ErrNoOrder) && errors.Is(err, engine.ErrEpochDecides):
		return engine.ErrPartitionClosed // Redis lost it before the ledger had it, so nobody has
	case rowErr != nil:
		return engine.ErrOutcomeUnknown
	case row.Status != engine.StatusFailed:
		return nil
	}
	o.Left = -1 // whatever Redis said, the ledger knows better
	if row.Reason != reasonOversold {
		return errLedgerRefused
	}
	if !o.Replayed { // else the order was answered before, and that may have been a yes
		if err := r.store.noteAnsweredNo(ctx, o.Order.ID); err != nil {
			return engine.ErrOutcomeUnknown
		}
	}
	return errLedgerOversold
}

// settledBy tells what became of a transition on which only the ledger's row can tell, for the reason why.
func (s *Store) settledBy(ctx context.Context, t *engine.Transition, why error) error {
	row, err := s.ledgerOrder(ctx, t.ID)
	epochOver := errors.Is(why, engine.ErrEpochDecides)
	switch {
	case err != nil && !errors.Is(err, engine.ErrNoOrder):
		return engine.ErrOutcomeUnknown
	case err == nil && row.Status == engine.StatusFailed:
		t.Order = row.Order
		return engine.ErrInvalidState
	case err == nil && !epochOver && row.Version >= t.Order.Version, err == nil && sameChange(&row.Order, &t.Order):
		return nil
	case epochOver && row.Version <= t.Order.Version: // the change was lost, and whoever asks again is told what can be had now
		return engine.ErrPartitionClosed
	}
	return engine.ErrOutcomeUnknown
}

// sameChange tells whether a row shows what a transition made of the order.
func sameChange(row, made *engine.Order) bool {
	return row.Version == made.Version && row.Status == made.Status && row.Quantity == made.Quantity &&
		row.ExpiresAtMs == made.ExpiresAtMs
}
