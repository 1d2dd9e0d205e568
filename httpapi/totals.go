package httpapi

import (
	"context"
	"sync"
	"time"

	"flashsale/engine"
)

// totalsAge is for how long the sums over all products are told again: counting reads every product, and anybody may ask.
const totalsAge = time.Second

// totals are the last sums, and the lock of who counts.
type totals struct {
	mu      sync.Mutex
	last    engine.StockTotals
	counted time.Time // zero = never
}

// stockTotals returns the sums as they were at most totalsAge ago. One at a time counts; the others wait for it.
func (s *Server) stockTotals(ctx context.Context) (engine.StockTotals, error) {
	s.totals.mu.Lock()
	defer s.totals.mu.Unlock()
	now := s.config.Clock()
	if !s.totals.counted.IsZero() && now.Sub(s.totals.counted) < totalsAge {
		return s.totals.last, nil
	}
	counted, err := s.deps.Catalog.StockTotals(ctx)
	if err == nil {
		s.totals.last, s.totals.counted = counted, now
	}
	return counted, err
}
