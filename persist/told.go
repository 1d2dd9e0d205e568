package persist

import (
	"context"

	"flashsale/engine"
)

// A repair brings a dead letter into the ledger once its cause is gone, for the buyer was told yes. Whoever was told that the
// order failed may have tried again, so such an order is not to be brought back by a machine. Therefore nobody is told before
// it is written down, on the letter, whose row the repair locks: either the repair sees it, or the reader sees the repair.

// letterUntold tells of an open letter d whether nobody has been told of it yet, as SQL; deadUntold does of one that has the
// last word on a row (deadConfirm).
const (
	letterUntold = `(d.resolved_at IS NULL AND d.told_failed_at IS NULL)`
	deadUntold   = `(dead.id IS NOT NULL AND dead.resolved_at IS NULL AND dead.told_failed_at IS NULL)`
)

// noteTold writes down, before it is so, that somebody has been told that orders failed by their dead letters.
func (s *Store) noteTold(ctx context.Context, ids []engine.OrderID) error {
	const note = `
UPDATE dead_letters SET told_failed_at = now() WHERE order_id = ANY ($1) AND resolved_at IS NULL AND told_failed_at IS NULL`
	if _, err := s.pool.Exec(ctx, note, ids); err != nil {
		return ledgerError("note of who was told", err)
	}
	return nil
}

// noteAnsweredNo writes down, before it is so, that the ledger's refusal is the answer to an order: nothing was promised.
func (s *Store) noteAnsweredNo(ctx context.Context, id engine.OrderID) error {
	const note = `UPDATE refusals SET answered_no_at = now() WHERE order_id = $1 AND answered_no_at IS NULL`
	if _, err := s.pool.Exec(ctx, note, id); err != nil {
		return ledgerError("note of the answer", err)
	}
	return nil
}
