package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"flashsale/engine"
)

// Gauges tell what Redis and the ledger have now, for /metrics.
type Gauges interface {
	// ActiveHolds returns how many holds each partition has that are not over.
	ActiveHolds(ctx context.Context) ([]int64, error)
	// TopProducts returns the counters of the n products of which most units are sold or held, in that order.
	TopProducts(ctx context.Context, n int) ([]engine.ProductStock, error)
	// OpenDeadLetters returns how many dead letters nobody has dealt with.
	OpenDeadLetters(ctx context.Context) (int64, error)
	// OpenRefusals returns how many orders the ledger refused though their buyers may have been told yes, and that nobody has
	// dealt with.
	OpenRefusals(ctx context.Context) (int64, error)
}

const (
	// gaugesAge is for how long gauges are told again: several Prometheus servers may ask, and each answer reads all stocks.
	gaugesAge = 2 * time.Second
	// gaugesTimeout bounds the questions of one scrape, which are asked at once.
	gaugesTimeout = time.Second
)

// sampler has the last gauges, and the lock of who asks for them.
type sampler struct {
	mu    sync.Mutex
	last  sample
	taken time.Time // zero = never
}

// sample are gauges of one time. What was not answered is nil: it is not shown, rather than as it once was.
type sample struct {
	up          []bool // of the checks, in their order
	holds       []int64
	products    []engine.ProductStock
	deadLetters *int64
	refusals    *int64
}

// sampled returns gauges that are at most gaugesAge old. One at a time asks; the others wait for it.
func (s *Server) sampled() sample {
	s.gauges.mu.Lock()
	defer s.gauges.mu.Unlock()
	if now := time.Now(); s.gauges.taken.IsZero() || now.Sub(s.gauges.taken) >= gaugesAge {
		s.gauges.last, s.gauges.taken = s.sample(), now
	}
	return s.gauges.last
}

func (s *Server) sample() sample {
	ctx, cancel := context.WithTimeout(context.Background(), gaugesTimeout)
	defer cancel()
	var now sample
	var asked sync.WaitGroup
	asked.Go(func() {
		for _, f := range s.checked() {
			now.up = append(now.up, f.detail == "")
		}
	})
	if gauges := s.openedGauges(); gauges != nil {
		ask(s, &asked, &now.holds, func() ([]int64, error) { return gauges.ActiveHolds(ctx) })
		ask(s, &asked, &now.deadLetters, func() (*int64, error) {
			open, err := gauges.OpenDeadLetters(ctx)
			return &open, err
		})
		ask(s, &asked, &now.refusals, func() (*int64, error) {
			open, err := gauges.OpenRefusals(ctx)
			return &open, err
		})
		if n := s.deps.TopProducts; n > 0 {
			ask(s, &asked, &now.products, func() ([]engine.ProductStock, error) { return gauges.TopProducts(ctx, n) })
		}
	}
	asked.Wait()
	return now
}

// openedGauges returns who tells gauges, or nil where the stores are not there yet or nobody does.
func (s *Server) openedGauges() Gauges {
	if !s.opened.Load() {
		return nil
	}
	return s.deps.Gauges
}

// ask asks one question beside the others.
func ask[T any](s *Server, asked *sync.WaitGroup, into *T, question func() (T, error)) {
	asked.Go(func() {
		err := probe(context.Background(), func(context.Context) error {
			answer, err := question()
			if err == nil {
				*into = answer
			}
			return err
		})
		if err != nil {
			s.metrics.sampleFailures.Inc()
			s.log.Debug("no answer for a gauge", "error", err)
		}
	})
}

func (s *Server) writeGauges(w *bytes.Buffer) {
	now := s.sampled()
	metrics.WriteMetadataIfNeeded(w, "flashsale_dependency_up", "gauge")
	for i, up := range now.up {
		fmt.Fprintf(w, "flashsale_dependency_up{name=%q} %d\n", s.checks[i].Name, oneIf(up))
	}
	if now.holds != nil {
		metrics.WriteMetadataIfNeeded(w, "flashsale_holds_active", "gauge")
	}
	for partition, holds := range now.holds {
		fmt.Fprintf(w, "flashsale_holds_active{partition=\"%d\"} %d\n", partition, holds)
	}
	if now.deadLetters != nil {
		metrics.WriteGaugeUint64(w, "flashsale_dead_letters_open", uint64(*now.deadLetters))
	}
	if now.refusals != nil {
		metrics.WriteGaugeUint64(w, "flashsale_refusals_open", uint64(*now.refusals))
	}
	if len(now.products) > 0 {
		metrics.WriteMetadataIfNeeded(w, "flashsale_product_units", "gauge")
	}
	for i := range now.products { // ids need no escapes
		p := &now.products[i]
		for state, units := range map[string]int64{"left": p.Current, "held": p.Held, "sold": p.Sold} {
			fmt.Fprintf(w, "flashsale_product_units{product=\"%s\",state=\"%s\"} %d\n", p.Product, state, units)
		}
	}
}

func oneIf(holds bool) int {
	if holds {
		return 1
	}
	return 0
}
