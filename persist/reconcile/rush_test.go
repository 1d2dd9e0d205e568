package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/persist/reconcile"
)

// rush is a crowd that buys, holds, confirms, cancels, extends and lets expire, and a shopkeeper who changes the stock.
type rush struct {
	*shop
	products []string
	placed   atomic.Int64
	errs     chan error // the first that no buyer should see
}

func (r *rush) fail(err error) {
	var known *engine.Error
	if err == nil || errors.As(err, &known) && known.Code != engine.CodeInternal {
		return
	}
	select {
	case r.errs <- err:
	default:
	}
}

// buyer goes on until ctx ends.
func (r *rush) buyer(ctx context.Context, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	for ctx.Err() == nil {
		product := r.products[random.IntN(len(r.products))]
		user := fmt.Sprintf("user-%d", random.IntN(500))
		holdFor := time.Duration(0)
		if random.IntN(3) > 0 {
			holdFor = time.Duration(1+random.IntN(300)) * time.Millisecond
		}
		id, err := r.order(product, user, int64(1+random.IntN(3)), holdFor)
		r.fail(err)
		if err != nil {
			continue
		}
		r.placed.Add(1)
		switch {
		case random.IntN(4) == 0: // it expires, or is a sale
		case holdFor == 0 || random.IntN(3) == 0:
			r.fail(r.settle(ctx, id, engine.ActionCancel, 0))
		default:
			if random.IntN(3) == 0 {
				r.fail(r.extend(ctx, id))
			}
			r.fail(r.settle(ctx, id, engine.ActionConfirm, 1))
			if random.IntN(3) == 0 {
				r.fail(r.settle(ctx, id, engine.ActionCancel, 0))
			}
		}
	}
}

func (r *rush) extend(ctx context.Context, id engine.OrderID) error {
	x := engine.NewTransition()
	x.ID, x.Action, x.HoldFor = id, engine.ActionExtend, 400*time.Millisecond
	return r.Store.Settle(ctx, x)
}

func (r *rush) shopkeeper(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		by := int64(40)
		if i%3 == 2 {
			by = -30
		}
		change := engine.ProductChange{AdjustStock: &by, Actor: "test"}
		if i%2 == 0 {
			limit := int64(1000 + i)
			change = engine.ProductChange{PerUserLimit: &limit, Actor: "test"}
		}
		_, err := r.Store.ChangeProduct(ctx, r.products[i%len(r.products)], change)
		if ctx.Err() == nil {
			r.fail(err)
		}
	}
}

// Entries on their way are no drift: in the middle of a rush every run is clean.
func TestARushIsNoDrift(t *testing.T) {
	s := newShop(t, "rush", 2)
	r := &rush{shop: s, errs: make(chan error, 1)}
	for i := range 6 {
		r.products = append(r.products, fmt.Sprintf("item-%d", i))
		s.product(t, r.products[i], 300)
	}
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	var crowd sync.WaitGroup
	for i := range 24 {
		crowd.Go(func() { r.buyer(ctx, uint64(i)) })
	}
	crowd.Go(func() { r.shopkeeper(ctx) })
	const rounds = 4
	for round := range rounds {
		require.NoError(t, ctx.Err(), "the crowd has gone")
		report := s.reconcile(t, reconcile.Config{})
		require.Empty(t, report.Findings, "round %d, after %d orders", round, r.placed.Load())
		require.Equal(t, engine.ReconciledClean, report.Outcome)
	}
	stop()
	crowd.Wait()
	select {
	case err := <-r.errs:
		require.NoError(t, err)
	default:
	}
	require.Greater(t, r.placed.Load(), int64(500))
	last := s.reconcile(t, reconcile.Config{})
	require.Empty(t, last.Findings)
	for _, status := range []engine.Status{engine.StatusConfirmed, engine.StatusCancelled, engine.StatusExpired} {
		require.NotZero(t, s.count(t, `SELECT count(*) FROM orders WHERE status = $1`, status), "%s", status)
	}
	t.Logf("%d rounds over %d orders; the last compared %+v in %.2f s", rounds, r.placed.Load(), last.Compared, last.Seconds)
	s.requireInvariants(t)
}

// What is wrong is found in the middle of a rush, too, and nothing else with it.
func TestDriftIsFoundInARush(t *testing.T) {
	t.Parallel()
	s := newShop(t, "rushdrift", 1)
	r := &rush{shop: s, errs: make(chan error, 1), products: []string{"busy"}}
	s.product(t, "busy", 1_000_000)
	s.product(t, "lamp", 20)
	s.buy(t, "lamp", "ann", 2)
	s.buy(t, "busy", "first", 1)
	s.drained(t)
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	var crowd sync.WaitGroup
	for i := range 8 {
		crowd.Go(func() { r.buyer(ctx, uint64(i)) })
	}
	keys := s.keys(t, 0)
	s.say(t, "HDEL", keys.Buyers, "lamp|ann")
	s.tell(t, `UPDATE products SET sold = sold - 1 WHERE id = 'busy'`)
	for range 2 {
		report := s.reconcile(t, reconcile.Config{})
		require.ElementsMatch(t, []string{"buyer_count lamp", "counter busy"}, classesOf(&report), "%+v", report.Findings)
	}
	repair := s.reconcile(t, reconcile.Config{Apply: true})
	require.Equal(t, engine.ReconciledClean, repair.Outcome, "%+v", repair.Findings)
	require.Equal(t, 2, repair.Repaired)
	stop()
	crowd.Wait()
	require.Empty(t, s.reconcile(t, reconcile.Config{}).Findings)
}
