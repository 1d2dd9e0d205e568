package reconcile_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/persist/reconcile"
)

// requireLeftAsItIs demands that a repair leaves something to people and writes nothing of partition 0 anew, and returns what it
// found, by class and buyer.
func (s *shop) requireLeftAsItIs(t *testing.T) map[string]reconcile.Finding {
	t.Helper()
	epoch, stock, _ := s.standing(t)
	report := s.reconcile(t, reconcile.Config{Apply: true})
	require.Equal(t, engine.ReconciledDrift, report.Outcome)
	afterEpoch, afterStock, _ := s.standing(t)
	require.Equal(t, epoch, afterEpoch, "nothing is written anew: %+v", report.Findings)
	require.Equal(t, stock, afterStock)
	found := make(map[string]reconcile.Finding)
	for i := range report.Findings {
		f := &report.Findings[i]
		require.False(t, f.Done(), "%+v", f)
		found[string(f.Class)+" "+f.User] = *f
	}
	return found
}

// standing is the epoch of partition 0, what Redis counts of the lamp, and what the ledger says was sold of it.
func (s *shop) standing(t *testing.T) (epoch int64, stock engine.Stock, sold int64) {
	t.Helper()
	stock, _, err := s.Stock(t.Context(), "lamp")
	require.NoError(t, err)
	return s.count(t, `SELECT epoch FROM partitions WHERE partition = 0`), stock, s.count(t, `SELECT sold FROM products WHERE id = 'lamp'`)
}

// Two drifts that hide each other's size: the sale of one buyer is written again, the other buyer is counted again.
func TestALostRowIsRestoredBesideALostBuyer(t *testing.T) {
	t.Parallel()
	s := newShop(t, "mixed", 1)
	a := s.sell(t, "lamp")
	s.drained(t)
	s.tell(t, `DELETE FROM orders WHERE id = $1`, a.bought)
	s.say(t, "HDEL", s.keys(t, 0).Buyers, "lamp|carol")
	report := s.reconcile(t, reconcile.Config{Apply: true})
	require.Equal(t, engine.ReconciledClean, report.Outcome, "%+v", report.Findings)
	require.Equal(t, 2, report.Repaired)
	require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM orders WHERE id = $1 AND status = 'confirmed' AND quantity = 2`, a.bought))
	_, stock, sold := s.standing(t)
	require.EqualValues(t, 3, sold)
	require.Equal(t, engine.Stock{Current: 14, Initial: 20, Held: 3, Sold: 3, Change: 1}, stock)
	s.requireInvariants(t)
}

// Ann's earlier sale is lost, her last one is not, so nobody can name it: what Redis counts of her is its only trace.
func TestABuyerOfWhomRedisCountsMoreKeepsThePartitionAsItIs(t *testing.T) {
	t.Parallel()
	s := newShop(t, "surplus", 1)
	a := s.sell(t, "lamp")
	s.buy(t, "lamp", "ann", 1)
	s.drained(t)
	s.tell(t, `DELETE FROM orders WHERE id = $1`, a.bought)
	s.say(t, "HDEL", s.keys(t, 0).Buyers, "lamp|carol")
	found := s.requireLeftAsItIs(t)
	require.Contains(t, found["buyer_count ann"].Repair, "by hand")
	require.Contains(t, found["buyer_count carol"].Repair, "by hand")
	_, _, sold := s.standing(t)
	require.EqualValues(t, 4, sold)
}

func TestAStrangerWhoHasBoughtIsLeftToPeople(t *testing.T) {
	t.Parallel()
	s := newShop(t, "stranger", 1)
	s.sell(t, "lamp")
	s.drained(t)
	s.say(t, "HSET", s.keys(t, 0).Buyers, "lamp|eve", "4,0,0,")
	s.say(t, "HDEL", s.keys(t, 0).Buyers, "lamp|ann")
	found := s.requireLeftAsItIs(t)
	require.Len(t, found, 2)
	f := found["buyer_count eve"]
	require.Contains(t, f.Redis, "counts 4 bought")
	require.Contains(t, f.Ledger, "0 bought")
	require.Contains(t, f.Repair, "by hand")
}

// After a rebuild without it the ledger's counter may be the last to know of a sale.
func TestTheLedgersCounterIsNeverLowered(t *testing.T) {
	t.Parallel()
	s := newShop(t, "lower", 1)
	s.sell(t, "lamp")
	s.drained(t)
	s.tell(t, `UPDATE products SET sold = sold + 4`)
	found := s.requireLeftAsItIs(t)
	require.Len(t, found, 1)
	require.Contains(t, found["counter "].Ledger, "7 units sold, its rows 3")
	require.Contains(t, found["counter "].Repair, "by hand")
	_, _, sold := s.standing(t)
	require.EqualValues(t, 7, sold)
}

// A row that lacks a buyer's count and the ledger's counter is a sale all the same where Redis's own counter has it.
func TestASaleThatRedisCountsIsNotFailed(t *testing.T) {
	t.Parallel()
	s := newShop(t, "nophantom", 1)
	s.sell(t, "lamp")
	s.drained(t)
	s.say(t, "HDEL", s.keys(t, 0).Buyers, "lamp|carol")
	s.tell(t, `UPDATE products SET sold = sold - 1 WHERE id = 'lamp'`)
	found := s.requireLeftAsItIs(t)
	require.Contains(t, found["buyer_count carol"].Repair, "by hand")
	require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM orders WHERE user_id = 'carol' AND status = 'confirmed'`))
}

// A rebuild is of a whole partition: a product that nobody compared could have a sale that only Redis knows.
func TestARepairIsOfAllProducts(t *testing.T) {
	t.Parallel()
	s := newShop(t, "only", 1)
	s.sell(t, "lamp")
	b := s.sell(t, "sofa")
	s.drained(t)
	s.say(t, "HSET", s.keys(t, 0).Stock, "lamp", "12,3,5,20,1")
	s.tell(t, `DELETE FROM orders WHERE id = $1`, b.bought)
	r := reconcile.New(s.Pool, s.second, reconcile.Config{Actor: "test", Apply: true, Products: []string{"lamp"}})
	defer r.Close()
	report, err := r.Run(t.Context())
	require.ErrorIs(t, err, reconcile.ErrApplyPart)
	require.ErrorIs(t, err, reconcile.ErrUnknown)
	require.Equal(t, engine.ReconciledUnknown, report.Outcome)
	all := s.reconcile(t, reconcile.Config{Apply: true})
	require.Equal(t, engine.ReconciledClean, all.Outcome, "%+v", all.Findings)
	require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM orders WHERE id = $1`, b.bought))
}

func TestTooManyFindingsAreLeftToPeople(t *testing.T) {
	t.Parallel()
	const buyers, each = 10, 101 // more than a run lists
	s := newShop(t, "many", 1)
	s.product(t, "lamp", 5000)
	var wg sync.WaitGroup
	for w := range buyers {
		wg.Go(func() {
			for i := range each {
				_, err := s.order("lamp", fmt.Sprintf("u-%d-%d", w, i), 1, 0)
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	s.drained(t)
	s.tell(t, `DELETE FROM orders`)
	epoch, stock, sold := s.standing(t)
	report := s.reconcile(t, reconcile.Config{Apply: true})
	require.Equal(t, engine.ReconciledDrift, report.Outcome)
	require.True(t, report.More)
	require.Zero(t, report.Repaired)
	require.Contains(t, report.Findings[0].Outcome, "too many to repair by machine: by hand")
	afterEpoch, afterStock, afterSold := s.standing(t)
	require.Equal(t, []any{epoch, stock, sold}, []any{afterEpoch, afterStock, afterSold})
	require.EqualValues(t, buyers*each, stock.Sold)
	require.Zero(t, s.count(t, `SELECT count(*) FROM orders`))
}

// What was found before a rebuild is not repaired after it: Redis sells the units of the lost hold by then.
func TestNothingIsRepairedAfterARebuildInBetween(t *testing.T) {
	t.Parallel()
	s := newShop(t, "between", 1)
	a := s.sell(t, "lamp")
	s.drained(t)
	s.tell(t, `DELETE FROM orders WHERE id = $1`, a.held)
	r := reconcile.New(s.Pool, s.second, reconcile.Config{Actor: "test", Apply: true})
	defer r.Close()
	report, err := r.Compare(t.Context())
	require.NoError(t, err)
	require.True(t, slices.Contains(classesOf(&report), "missing_in_ledger lamp"))
	_, err = r.Rebuild(t.Context(), 0, false)
	require.NoError(t, err)
	require.ErrorContains(t, r.Repair(t.Context(), &report), "after it was compared: run again")
	require.Zero(t, s.count(t, `SELECT count(*) FROM orders WHERE id = $1`, a.held))
	require.Zero(t, s.count(t, `SELECT count(*) FROM reconcile_repairs`))
	_, stock, _ := s.standing(t)
	require.Zero(t, stock.Held)
}

// A rebuild that began before a repair has read the ledger as it was: the number of its attempt is not the last any more.
func TestARepairStopsARebuildInFlight(t *testing.T) {
	t.Parallel()
	s := newShop(t, "attempt", 1)
	a := s.sell(t, "lamp")
	s.drained(t)
	attempt := func() int64 { return s.count(t, `SELECT attempt FROM partitions WHERE partition = 0`) }
	s.tell(t, `DELETE FROM orders WHERE id = $1`, a.held)
	before := attempt()
	report := s.reconcile(t, reconcile.Config{Apply: true})
	require.Equal(t, engine.ReconciledClean, report.Outcome, "%+v", report.Findings)
	require.Equal(t, before+1, attempt(), "the repair of the ledger")

	r := reconcile.New(s.Pool, s.second, reconcile.Config{Actor: "test"})
	defer r.Close()
	_, err := r.Rebuild(t.Context(), 0, false)
	require.NoError(t, err)
	require.GreaterOrEqual(t, attempt(), before+3, "the request, and the leader's own")
}

// A hold that Redis has lost, and of which the ledger's counter by state is wrong, is a hold while Redis keeps its units back.
func TestAHoldWhoseUnitsRedisKeepsIsNotFailed(t *testing.T) {
	t.Parallel()
	s := newShop(t, "keephold", 1)
	a := s.sell(t, "lamp")
	s.drained(t)
	keys := s.keys(t, 0)
	s.say(t, "HDEL", keys.Orders, string(a.held[:]))
	s.say(t, "ZREM", keys.Expiry, string(a.held[:]))
	s.say(t, "HDEL", keys.Buyers, "lamp|bob")
	s.tell(t, `UPDATE partitions SET pending_orders = pending_orders - 1`)
	report := s.reconcile(t, reconcile.Config{Apply: true})
	require.Equal(t, engine.ReconciledClean, report.Outcome, "%+v", report.Findings)
	require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM orders WHERE id = $1 AND status = 'pending'`, a.held))
	require.NoError(t, s.settle(t.Context(), a.held, engine.ActionConfirm, 0))
}
