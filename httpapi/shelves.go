package httpapi

import (
	"context"
	"slices"
	"sync"
	"time"

	"flashsale/engine"
)

const (
	// firstShelf holds the first products by id; every other shelf has the name of its one product.
	firstShelf = ""

	// maxShelves bounds what is remembered: what is watched, and the first products.
	maxShelves = 512

	// ledgerPatience is how long the ledger may take where it is not needed, and ledgerPause for how long it is left alone
	// after it has taken longer: a question that is given up costs a connection.
	ledgerPatience = 300 * time.Millisecond
	ledgerPause    = 2 * time.Second
)

// shelves are products as the ledger had them last, for those who watch. Sales go on while it is away, in Redis, and nobody can
// change a product meanwhile: what is left of it can be told all the same.
type shelves struct {
	mu     sync.Mutex
	known  map[string][]engine.Product
	paused time.Time // until when the ledger is not asked
}

func (s *shelves) get(name string, now time.Time) (products []engine.Product, paused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.known[name]), now.Before(s.paused)
}

func (s *shelves) put(name string, products []engine.Product) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = make(map[string][]engine.Product)
	}
	for other := range s.known {
		if len(s.known) < maxShelves {
			break
		}
		delete(s.known, other)
	}
	s.known[name] = slices.Clone(products)
}

func (s *shelves) pause(until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = until
}

// firstProducts returns the first products by id, one more than are shown, with the counters of now.
func (s *Server) firstProducts(ctx context.Context) ([]engine.Product, error) {
	return s.lookAt(ctx, firstShelf, func(ctx context.Context) ([]engine.Product, error) {
		return s.deps.Catalog.Products(ctx, "", maxInventoryLevels+1)
	})
}

// productNow returns a product with the counters of now.
func (s *Server) productNow(ctx context.Context, id string) (engine.Product, error) {
	products, err := s.lookAt(ctx, id, func(ctx context.Context) ([]engine.Product, error) {
		p, err := s.deps.Catalog.Product(ctx, id)
		return []engine.Product{p}, err
	})
	if err != nil {
		return engine.Product{}, err
	}
	return products[0], nil
}

// lookAt asks for what is on a shelf. Where the ledger does not answer it is what was there last, counted anew.
func (s *Server) lookAt(ctx context.Context, name string, ask func(context.Context) ([]engine.Product, error)) ([]engine.Product, error) {
	known, paused := s.shelves.get(name, s.config.Clock())
	if len(known) > 0 && paused {
		return known, s.deps.Catalog.Recount(ctx, known)
	}
	timed, cancel := ctx, context.CancelFunc(func() {})
	if len(known) > 0 {
		timed, cancel = context.WithTimeout(ctx, ledgerPatience)
	}
	defer cancel()
	products, err := ask(timed)
	if err == nil {
		s.shelves.put(name, products)
		return products, nil
	}
	if failure, expected := coded(err); len(known) == 0 || !expected || failure.Code != engine.CodeUnavailable {
		return nil, err
	}
	s.shelves.pause(s.config.Clock().Add(ledgerPause))
	return known, s.deps.Catalog.Recount(ctx, known)
}
