package reconcile_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
	"flashsale/persist"
	"flashsale/persist/persisttest"
	"flashsale/persist/reconcile"
)

func classesOf(report *reconcile.Report) (classes []string) {
	for i := range report.Findings {
		classes = append(classes, string(report.Findings[i].Class)+" "+report.Findings[i].Product)
	}
	return classes
}

func TestSeveralDriftsAreToldApart(t *testing.T) {
	t.Parallel()
	s := newShop(t, "several", 2)
	a, b, c := s.sell(t, "lamp-a"), s.sell(t, "lamp-b"), s.sell(t, "lamp-c")
	s.drained(t)
	s.tell(t, `DELETE FROM orders WHERE id = $1`, a.bought)
	keys := s.keys(t, s.PartitionOf(b.lamp))
	s.say(t, "ZREM", keys.Expiry, string(b.held[:]))
	s.say(t, "HSET", keys.Stock, b.lamp, "9,3,3,20,1")
	s.say(t, "HDEL", s.keys(t, s.PartitionOf(c.lamp)).Buyers, c.lamp+"|ann")
	want := []string{"missing_in_ledger lamp-a", "orphaned_hold lamp-b", "undersell lamp-b", "buyer_count lamp-c"}

	report := s.reconcile(t, reconcile.Config{})
	require.ElementsMatch(t, want, classesOf(&report), "%+v", report.Findings)
	one := s.reconcile(t, reconcile.Config{Products: []string{"lamp-b"}})
	require.ElementsMatch(t, want[1:3], classesOf(&one))

	repair := s.reconcile(t, reconcile.Config{Apply: true})
	require.Equal(t, engine.ReconciledClean, repair.Outcome, "%+v", repair.Findings)
	require.Equal(t, len(want), repair.Repaired)
	s.requireInvariants(t)
	require.EqualValues(t, 1, s.count(t, `
SELECT count(*) FROM reconcile_repairs WHERE class = 'missing_in_ledger' AND order_id = $1 AND before IS NULL AND after->>'status' = 'confirmed'`, a.bought))
}

// A sale that the ledger can't take back is told, and the partition that has the only trace of it is left as it is.
func TestWhatTheLedgerRefusesIsNotRepaired(t *testing.T) {
	t.Parallel()
	s := newShop(t, "refused", 1)
	lamp, sofa := s.sell(t, "lamp"), s.sell(t, "sofa")
	s.drained(t)
	s.tell(t, `DELETE FROM orders WHERE id = $1`, lamp.bought)
	s.tell(t, `UPDATE products SET sold = 1, initial_stock = 2 WHERE id = 'lamp'`)
	s.tell(t, `DELETE FROM orders WHERE id = $1`, sofa.bought)
	epoch := s.State(0).Epoch.Number

	report := s.reconcile(t, reconcile.Config{Apply: true})
	require.Equal(t, engine.ReconciledDrift, report.Outcome)
	outcomes := make(map[string]string)
	for i := range report.Findings {
		f := &report.Findings[i]
		outcomes[string(f.Class)+" "+f.Product] = f.Outcome
	}
	require.Contains(t, outcomes["missing_in_ledger lamp"], "not repaired: ")
	require.Contains(t, outcomes["missing_in_ledger lamp"], "products_never_oversold")
	require.Contains(t, outcomes["counter lamp"], "orders that only Redis knows")
	require.Equal(t, "repaired", outcomes["missing_in_ledger sofa"], "the other product is repaired all the same")
	require.Len(t, outcomes, 3)
	require.Equal(t, 1, report.Repaired)
	require.Equal(t, epoch, s.State(0).Epoch.Number, "nothing is written anew")
	require.Zero(t, s.count(t, `SELECT count(*) FROM orders WHERE id = $1`, lamp.bought))
	require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM reconcile_repairs`))
}

func TestADeadLetterThatIsRefusedAgainStays(t *testing.T) {
	t.Parallel()
	s := newShop(t, "dead", 1)
	s.product(t, "lamp", 20)
	s.tell(t, `ALTER TABLE orders ADD CONSTRAINT no_poison CHECK (user_id <> 'poison')`)
	s.buy(t, "lamp", "poison", 2)
	devtest.Eventually(t, patience, "the letter", func() bool { return s.count(t, `SELECT count(*) FROM dead_letters`) == 1 })
	report := s.reconcile(t, reconcile.Config{Apply: true})
	require.Equal(t, engine.ReconciledDrift, report.Outcome)
	require.Equal(t, []string{"dead_letter lamp"}, classesOf(&report))
	require.Contains(t, report.Findings[0].Outcome, "no_poison")
	require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM dead_letters WHERE resolved_at IS NULL`))

	// Somebody deals with it: the units that Redis still counts are free again.
	s.tell(t, `UPDATE dead_letters SET resolved_at = now()`)
	freed := s.reconcile(t, reconcile.Config{Apply: true})
	require.Equal(t, []string{"undersell lamp"}, classesOf(&freed))
	require.Equal(t, engine.ReconciledClean, freed.Outcome, "%+v", freed.Findings)
	stock, _, err := s.Stock(t.Context(), "lamp")
	require.NoError(t, err)
	require.Equal(t, engine.Stock{Current: 20, Initial: 20, Change: 1}, stock)
	s.requireInvariants(t)
}

// A rebuild takes a dead letter for a sale; brought into the ledger afterwards it is what it was.
func TestADeadHoldIsBroughtBackAfterARebuild(t *testing.T) {
	t.Parallel()
	s := newShop(t, "deadhold", 1)
	s.product(t, "lamp", 20)
	s.tell(t, `ALTER TABLE orders ADD CONSTRAINT no_poison CHECK (user_id <> 'poison')`)
	id := s.hold(t, "lamp", "poison", 2)
	devtest.Eventually(t, patience, "the letter", func() bool { return s.count(t, `SELECT count(*) FROM dead_letters`) == 1 })
	s.tell(t, `ALTER TABLE orders DROP CONSTRAINT no_poison`)
	r := reconcile.New(s.Pool, s.second, reconcile.Config{Actor: "test"})
	defer r.Close()
	_, err := r.Rebuild(t.Context(), 0, false)
	require.NoError(t, err)
	report := s.reconcile(t, reconcile.Config{})
	require.Equal(t, []string{"dead_letter lamp"}, classesOf(&report), "%+v", report.Findings)
	repair := s.reconcile(t, reconcile.Config{Apply: true})
	require.Equal(t, engine.ReconciledClean, repair.Outcome, "%+v", repair.Findings)
	require.NoError(t, s.settle(t.Context(), id, engine.ActionConfirm, 1))
	s.requireInvariantsSoon(t)
	require.Empty(t, s.reconcile(t, reconcile.Config{}).Findings)
}

// requireInvariantsSoon waits for the ledger to have everything first.
func (s *shop) requireInvariantsSoon(t *testing.T) {
	s.drained(t)
	s.requireInvariants(t)
}

func TestARunThatCannotTellSaysSo(t *testing.T) {
	t.Parallel()
	s := newShop(t, "untold", 1)
	s.product(t, "lamp", 20)
	s.tell(t, `UPDATE partitions SET operator_hold = 'nobody knows'`)
	r := reconcile.New(s.Pool, s.second, reconcile.Config{Actor: "test", Patience: time.Millisecond})
	defer r.Close()
	report, err := r.Run(t.Context())
	require.ErrorIs(t, err, reconcile.ErrUnknown)
	require.Equal(t, engine.ReconciledUnknown, report.Outcome)
	require.Contains(t, report.Reason, "nobody knows")
	require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM reconcile_runs WHERE outcome = 'unknown' AND report->>'reason' LIKE '%nobody knows%'`))

	_, err = r.Rebuild(t.Context(), 0, false)
	require.ErrorIs(t, err, reconcile.ErrHeld)
	done, err := r.Rebuild(t.Context(), 0, true)
	require.NoError(t, err)
	require.Equal(t, "nobody knows", done.Released)
	require.Empty(t, s.reconcile(t, reconcile.Config{}).Findings)
	watch := persist.NewReconcileWatch(s.Pool, nil)
	defer persisttest.Serve(t, watch.Run)()
	devtest.Eventually(t, patience, "the watch to see the last run", func() bool {
		last, ok := watch.Last()
		return ok && last.Outcome == engine.ReconciledClean
	})
}
