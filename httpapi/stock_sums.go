package httpapi

import (
	"context"
	"sync"
	"time"

	"flashsale/engine"
)

// totalsAge is for how long the sums over all products are told again: counting reads every product, and anybody may ask.
const totalsAge = time.Second

// stockSums are the last sums, and the lock of who counts.
type stockSums struct {
	mu      sync.Mutex
	last    engine.StockTotals
	counted time.Time // zero = never
}

// stockTotals returns the sums as they were at most totalsAge ago. One at a time counts; the others wait for it.
func (s *Server) stockTotals(ctx context.Context) (engine.StockTotals, error) {
	s.sums.mu.Lock()
	defer s.sums.mu.Unlock()
	now := s.config.Clock()
	if !s.sums.counted.IsZero() && now.Sub(s.sums.counted) < totalsAge {
		return s.sums.last, nil
	}
	counted, err := s.deps.Catalog.StockTotals(ctx)
	if err == nil {
		s.sums.last, s.sums.counted = counted, now
	}
	return counted, err
}
