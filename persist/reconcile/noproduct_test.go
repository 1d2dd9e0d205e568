package reconcile_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/persist/reconcile"
)

// forgetProduct has the ledger forget a product, as somebody would who should not.
func (s *shop) forgetProduct(t *testing.T, id string) {
	t.Helper()
	s.tell(t, `DELETE FROM stock_changes WHERE product_id = $1`, id)
	s.tell(t, `DELETE FROM products WHERE id = $1`, id)
}

// only demands that a run leaves one finding, of a class, that is to be dealt with by hand, and returns it.
func (s *shop) only(t *testing.T, class reconcile.Class, apply bool) reconcile.Finding {
	t.Helper()
	report := s.reconcile(t, reconcile.Config{Apply: apply})
	require.Len(t, report.Findings, 1, "%+v", report.Findings)
	f := report.Findings[0]
	require.Equal(t, class, f.Class, "%+v", f)
	require.False(t, f.Done())
	return f
}

// Orders of a product that only Redis has become dead letters. The way out: the product is made, then they are brought in.
func TestDeadLettersOfAProductThatTheLedgerLacks(t *testing.T) {
	t.Parallel()
	s := newShop(t, "ghost", 1)
	s.product(t, "lamp", 20)
	s.say(t, "HSET", s.keys(t, 0).Stock, "ghost", "9,0,0,9,1")
	s.say(t, "HSET", s.keys(t, 0).Terms, "ghost", "0,1,0,0,0")
	id := s.buy(t, "ghost", "ann", 2)
	s.awaitLetter(t)
	require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM dead_letters WHERE record LIKE 'c,1,2,%,ghost|ann'`), "the letter says what it was")

	report := s.reconcile(t, reconcile.Config{Apply: true})
	require.Equal(t, engine.ReconciledDrift, report.Outcome)
	require.Equal(t, []string{"dead_letter ghost", "phantom ghost"}, classesOf(&report), "%+v", report.Findings)
	require.True(t, report.Findings[1].Done(), "Redis forgets what the ledger does not sell: %+v", report.Findings)
	f := s.only(t, reconcile.DeadLetter, true)
	require.Contains(t, f.Repair, "by hand: make the product ghost again")

	s.product(t, "ghost", 5)
	require.Equal(t, engine.ReconciledClean, s.reconcile(t, reconcile.Config{Apply: true}).Outcome)
	require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM orders WHERE id = $1 AND status = 'confirmed'`, id))
	stock, _, err := s.Stock(t.Context(), "ghost")
	require.NoError(t, err)
	require.Equal(t, engine.Stock{Current: 3, Sold: 2, Initial: 5, Change: 1}, stock)
	s.requireInvariantsSoon(t)
}

// Rows of a product that the ledger has lost. The way out: Redis forgets it, it is made again, and its rows count again.
func TestRowsOfAProductThatTheLedgerLost(t *testing.T) {
	t.Parallel()
	s := newShop(t, "lost", 1)
	s.product(t, "lamp", 20)
	s.product(t, "sofa", 20)
	s.buy(t, "sofa", "ann", 2)
	s.hold(t, "sofa", "bob", 1)
	s.drained(t)
	s.forgetProduct(t, "sofa")
	f := s.only(t, reconcile.Phantom, true)
	require.Contains(t, f.Ledger, "has no such product, but orders of it: 2 sold, 1 held")
	require.Contains(t, f.Repair, "by hand: flashsale reconcile --rebuild --partition 0, then make the product sofa again with at least 3 units, then --apply")

	r := reconcile.New(s.Pool, s.second, reconcile.Config{Actor: "test"})
	defer r.Close()
	_, err := r.Rebuild(t.Context(), 0, false)
	require.NoError(t, err)
	s.only(t, reconcile.Phantom, true)
	s.product(t, "sofa", 5)
	report := s.reconcile(t, reconcile.Config{Apply: true})
	require.Equal(t, engine.ReconciledClean, report.Outcome, "%+v", report.Findings)
	stock, _, err := s.Stock(t.Context(), "sofa")
	require.NoError(t, err)
	require.Equal(t, engine.Stock{Current: 2, Held: 1, Sold: 2, Initial: 5, Change: 1}, stock)
	s.requireInvariantsSoon(t)
}

// A row of a product that never was: nobody was sold this, so it fails by hand and is counted as that.
func TestARowOfAProductThatNeverWas(t *testing.T) {
	t.Parallel()
	s := newShop(t, "never", 1)
	a := s.sell(t, "lamp")
	s.drained(t)
	s.tell(t, `INSERT INTO orders SELECT gen_random_uuid(), partition, 'never', 'eve', 2, 'confirmed', 1, epoch, sequence, 9, created_at, updated_at FROM orders WHERE id = $1`, a.bought)
	s.reconcile(t, reconcile.Config{Apply: true}) // what follows of it is put right: how many orders there are
	f := s.only(t, reconcile.Phantom, true)
	require.Contains(t, f.Repair, "or, if nobody was sold these, mark its rows in orders failed")
	r := reconcile.New(s.Pool, s.second, reconcile.Config{Actor: "test"})
	defer r.Close()
	_, err := r.Rebuild(t.Context(), 0, false) // something had Redis learn of eve meanwhile
	require.NoError(t, err)
	s.tell(t, `UPDATE orders SET status = 'failed', reason = 'by hand' WHERE product_id = 'never'`)
	_, err = r.Rebuild(t.Context(), 0, false)
	require.NoError(t, err)
	require.Equal(t, engine.ReconciledClean, s.reconcile(t, reconcile.Config{Apply: true}).Outcome)
	s.requireInvariants(t)
}
