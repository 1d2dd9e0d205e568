package reconcile_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
	"flashsale/persist"
	"flashsale/persist/reconcile"
)

// orderAs places an order of a mode, with the ledger's last word.
func (s *shop) orderAs(mode engine.Durability, product, user, key string, quantity int64) (*engine.Reservation, error) {
	r := engine.NewReservation()
	now := time.Now()
	r.Product, r.User, r.Quantity, r.Durability, r.Key = product, user, quantity, mode, key
	return r, persist.NewReserver(s.Store).Reserve(r, now)
}

func requireCode(t *testing.T, code engine.Code, err error) {
	t.Helper()
	var refusal *engine.Error
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, code, refusal.Code)
}

const (
	poisoned = `ALTER TABLE orders ADD CONSTRAINT no_poison CHECK (user_id NOT LIKE 'poison%') NOT VALID`
	cured    = `ALTER TABLE orders DROP CONSTRAINT no_poison`
)

// An order of which somebody was told that it failed may have been tried again: it is not brought back by itself. One that
// was answered yes, and of which nobody has heard anything else, is.
func TestWhatWasToldNoIsNotRevived(t *testing.T) {
	t.Parallel()
	tellers := map[string]func(t *testing.T, s *shop) engine.OrderID{
		"the answer in mode ledger": func(t *testing.T, s *shop) engine.OrderID {
			r, err := s.orderAs(engine.DurabilityLedger, "lamp", "poison", "", 2)
			requireCode(t, engine.CodeInternal, err)
			return r.Order.ID
		},
		"a replay in mode ledger": func(t *testing.T, s *shop) engine.OrderID {
			r, err := s.orderAs(engine.DurabilityFast, "lamp", "poison", "key", 2)
			require.NoError(t, err)
			s.awaitLetter(t)
			_, err = s.orderAs(engine.DurabilityLedger, "lamp", "poison", "key", 2)
			requireCode(t, engine.CodeInternal, err)
			return r.Order.ID
		},
		"a look at the order": func(t *testing.T, s *shop) engine.OrderID {
			id := s.buy(t, "lamp", "poison", 2)
			s.awaitLetter(t)
			view, err := s.Store.Order(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, engine.StatusFailed, view.Status)
			return id
		},
		"the orders of a user": func(t *testing.T, s *shop) engine.OrderID {
			id := s.buy(t, "lamp", "poison", 2)
			s.awaitLetter(t)
			page, err := s.Store.OrdersOf(t.Context(), "poison", engine.OrderPlace{}, 10)
			require.NoError(t, err)
			require.Equal(t, engine.StatusFailed, page.Orders[0].Status)
			return id
		},
		"a confirm of a hold in mode ledger": func(t *testing.T, s *shop) engine.OrderID {
			id := s.hold(t, "lamp", "bob", 2)
			s.drained(t)
			s.tell(t, `ALTER TABLE orders DROP CONSTRAINT no_poison, ADD CONSTRAINT no_poison CHECK (status <> 'confirmed') NOT VALID`)
			x := engine.NewTransition()
			x.ID, x.Action, x.Durability = id, engine.ActionConfirm, engine.DurabilityLedger
			require.ErrorIs(t, s.Store.Settle(t.Context(), x), engine.ErrInvalidState)
			return id
		},
	}
	s := newShop(t, "toldno", 1)
	s.product(t, "lamp", 20)
	for name, tell := range tellers {
		t.Run(name, func(t *testing.T) {
			s.tell(t, poisoned)
			id := tell(t, s)
			s.tell(t, cured)
			report := s.reconcile(t, reconcile.Config{Apply: true})
			require.Equal(t, engine.ReconciledDrift, report.Outcome)
			require.Len(t, report.Findings, 1, "%+v", report.Findings)
			f := report.Findings[0]
			require.Equal(t, reconcile.DeadLetter, f.Class)
			require.Contains(t, f.Ledger, "told that it failed")
			require.Contains(t, f.Repair, "by hand: ask the buyer")
			require.False(t, f.Done())
			require.Zero(t, s.count(t, `SELECT count(*) FROM orders WHERE id = $1 AND status = 'confirmed'`, id))

			// Its buyer is asked and still wants it: it is nobody's no any more.
			s.tell(t, `UPDATE dead_letters SET told_failed_at = NULL WHERE order_id = $1`, id)
			require.Equal(t, engine.ReconciledClean, s.reconcile(t, reconcile.Config{Apply: true}).Outcome)
			require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM orders WHERE id = $1 AND status = 'confirmed'`, id))
			s.requireInvariantsSoon(t)
			s.tell(t, `DELETE FROM dead_letters`) // for the next one
		})
	}
}

func (s *shop) awaitLetter(t *testing.T) {
	t.Helper()
	devtest.Eventually(t, patience, "the letter", func() bool {
		return s.count(t, `SELECT count(*) FROM dead_letters WHERE resolved_at IS NULL`) == 1
	})
}

// Whoever is told that an order failed is told so only once it is written down; whoever brings it back first leaves nothing to
// tell but yes.
func TestABringingBackAndATellingExcludeEachOther(t *testing.T) {
	t.Parallel()
	s := newShop(t, "toldrace", 1)
	s.product(t, "lamp", 20)
	s.tell(t, poisoned)
	id := s.buy(t, "lamp", "poison", 2)
	s.awaitLetter(t)
	s.tell(t, cured)

	tx, err := s.Pool.Begin(t.Context()) // as a repair in the middle of it
	require.NoError(t, err)
	defer tx.Rollback(context.WithoutCancel(t.Context()))
	_, err = tx.Exec(t.Context(), `SELECT 1 FROM dead_letters WHERE order_id = $1 FOR UPDATE`, id)
	require.NoError(t, err)
	type told struct {
		view engine.OrderView
		err  error
	}
	answer := make(chan told, 1)
	go func() {
		view, err := s.Store.Order(context.WithoutCancel(t.Context()), id)
		answer <- told{view, err}
	}()
	devtest.Eventually(t, patience, "the answer to wait for the repair", func() bool {
		return s.count(t, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%told_failed_at%'`) == 1
	})
	_, err = tx.Exec(t.Context(), `UPDATE dead_letters SET resolved_at = now() WHERE order_id = $1`, id)
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `
INSERT INTO orders (id, partition, product_id, user_id, quantity, status, version, epoch, sequence, idx, created_at, updated_at)
VALUES ($1, 0, 'lamp', 'poison', 2, 'confirmed', 1, 1, 1, 0, now(), now())`, id)
	require.NoError(t, err)
	require.NoError(t, tx.Commit(t.Context()))
	got := <-answer
	require.NoError(t, got.err)
	require.Equal(t, engine.StatusConfirmed, got.view.Status)
	require.Zero(t, s.count(t, `SELECT count(*) FROM dead_letters WHERE told_failed_at IS NOT NULL`))
}

// A yes that the ledger did not keep is told in every run until somebody has dealt with it; a no that mode ledger gave is none.
func TestABrokenPromiseIsTold(t *testing.T) {
	t.Parallel()
	s := newShop(t, "broken", 1)
	s.product(t, "lamp", 3)
	s.drained(t)
	s.say(t, "HSET", s.keys(t, 0).Stock, "lamp", "2,0,3,5,1") // two units that nobody has, three sold by nobody
	s.tell(t, `INSERT INTO orders (id, partition, product_id, user_id, quantity, status, version, epoch, sequence, idx, created_at, updated_at)
SELECT gen_random_uuid(), 0, 'lamp', 'early', 3, 'confirmed', 1, 1, 1, 0, now(), now()`)
	s.tell(t, `UPDATE products SET sold = 3`)
	s.tell(t, `UPDATE partitions SET confirmed_orders = 1`)
	_, err := s.orderAs(engine.DurabilityLedger, "lamp", "told-no", "", 1)
	requireCode(t, engine.CodeSoldOut, err)
	devtest.Eventually(t, patience, "the rebuild", func() bool { return s.State(0).Open && s.State(0).Epoch.Number > 1 })
	require.Empty(t, s.reconcile(t, reconcile.Config{}).Findings, "nothing was promised")

	s.say(t, "HSET", s.keys(t, 0).Stock, "lamp", "2,0,3,5,1")
	id := s.buy(t, "lamp", "ann", 2)
	devtest.Eventually(t, patience, "the refusal", func() bool {
		return s.count(t, `SELECT count(*) FROM orders WHERE id = $1 AND status = 'failed'`, id) == 1
	})
	devtest.Eventually(t, patience, "the rebuild", func() bool { return s.State(0).Open && s.State(0).Epoch.Number > 2 })
	for _, apply := range []bool{false, true} {
		report := s.reconcile(t, reconcile.Config{Apply: apply})
		require.Equal(t, engine.ReconciledDrift, report.Outcome)
		require.Len(t, report.Findings, 1, "%+v", report.Findings)
		f := report.Findings[0]
		require.Equal(t, []string{string(reconcile.BrokenPromise), "lamp", "ann", id.String()}, []string{string(f.Class), f.Product, f.User, f.Order})
		require.Contains(t, f.Redis, "granted 2 units")
		require.Contains(t, f.Ledger, "more was sold than there is stock")
		require.Contains(t, f.Repair, "by hand: tell the buyer")
	}
	broken, err := s.Store.OpenRefusals(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, broken)
	s.tell(t, `UPDATE refusals SET resolved_at = now() WHERE order_id = $1`, id)
	require.Empty(t, s.reconcile(t, reconcile.Config{}).Findings)
}
