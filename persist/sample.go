package persist

import (
	"context"
	"fmt"

	"flashsale/engine"
)

// ActiveHolds returns how many holds each partition has in Redis that are not over.
func (s *Store) ActiveHolds(ctx context.Context) ([]int64, error) {
	holds, err := s.engine.ActiveHolds(ctx)
	return holds, redisError(err)
}

// TopProducts returns the counters that Redis has now of the n products of which most units are sold or held.
func (s *Store) TopProducts(ctx context.Context, n int) ([]engine.ProductStock, error) {
	top, err := s.engine.TopProducts(ctx, n)
	return top, redisError(err)
}

// OpenDeadLetters returns how many dead letters nobody has dealt with; an index has these only.
func (s *Store) OpenDeadLetters(ctx context.Context) (open int64, err error) {
	const count = `SELECT count(*) FROM dead_letters WHERE resolved_at IS NULL`
	if err := s.pool.QueryRow(ctx, count).Scan(&open); err != nil {
		return 0, fmt.Errorf("open dead letters: %w", err)
	}
	return open, nil
}

// OpenRefusals returns how many orders the ledger refused after Redis had granted them, whose buyers may have been told yes,
// and that nobody has dealt with; an index has these only.
func (s *Store) OpenRefusals(ctx context.Context) (open int64, err error) {
	const count = `SELECT count(*) FROM refusals WHERE resolved_at IS NULL AND answered_no_at IS NULL`
	if err := s.pool.QueryRow(ctx, count).Scan(&open); err != nil {
		return 0, fmt.Errorf("open refusals: %w", err)
	}
	return open, nil
}
