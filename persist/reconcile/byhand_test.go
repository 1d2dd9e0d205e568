package reconcile_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
	"flashsale/persist/reconcile"
)

// Whatever is left to people says what they are to do; done as it says, the books agree.
func TestAChangedQuantityIsPutRightByHand(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		quantity int64
		class    reconcile.Class
		repair   string
	}{
		"raised":  {5, reconcile.Phantom, "see whether the quantity of one was raised (set it back)"},
		"lowered": {1, reconcile.MissingInLedger, "see whether the quantity of a row was lowered and set it back"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, "quantity-"+name, 1)
			a := s.sell(t, "lamp")
			s.drained(t)
			s.tell(t, `UPDATE orders SET quantity = $2 WHERE id = $1`, a.bought, c.quantity)
			f := s.only(t, c.class, true)
			require.Equal(t, "ann", f.User)
			require.Contains(t, f.Repair, "by hand: ")
			require.Contains(t, strings.ToLower(f.Repair), c.repair)
			s.tell(t, `UPDATE orders SET quantity = 2 WHERE id = $1`, a.bought)
			require.Equal(t, engine.ReconciledClean, s.reconcile(t, reconcile.Config{Apply: true}).Outcome)
			s.requireInvariants(t)
		})
	}
}

// One repair brings to light what another one hid: a row that is counted in a partition that is not its product's.
func TestOneRunRepairsWhatARepairBringsToLight(t *testing.T) {
	t.Parallel()
	s := newShop(t, "passes", 2)
	lamp := "lamp"
	for i := 0; s.PartitionOf(lamp) != 1; i++ {
		lamp = fmt.Sprintf("lamp-%d", i)
	}
	a := s.sell(t, lamp)
	s.drained(t)
	s.tell(t, `INSERT INTO orders SELECT gen_random_uuid(), 0, product_id, 'eve', 2, 'confirmed', 1, epoch, sequence, 9, created_at, updated_at FROM orders WHERE id = $1`, a.bought)
	report := s.reconcile(t, reconcile.Config{Apply: true})
	require.Equal(t, engine.ReconciledClean, report.Outcome, "%+v", report.Findings)
	require.Equal(t, len(report.Findings), report.Repaired)
	require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM orders WHERE user_id = 'eve' AND status = 'failed'`))
	require.Empty(t, s.reconcile(t, reconcile.Config{}).Findings)
	s.requireInvariants(t)
}

// A run that is refused in the middle says what it had done by then.
func TestWhatWasRepairedBeforeARefusalIsCounted(t *testing.T) {
	t.Parallel()
	s := newShop(t, "midway", 2)
	s.tell(t, `UPDATE partitions SET cancelled_orders = cancelled_orders + 4`)
	r := reconcile.New(s.Pool, s.second, reconcile.Config{Actor: "test", Apply: true})
	defer r.Close()
	report, err := r.Compare(t.Context())
	require.NoError(t, err)
	require.Len(t, report.Findings, 2)
	_, err = r.Rebuild(t.Context(), 1, false)
	require.NoError(t, err)
	require.ErrorContains(t, r.Repair(t.Context(), &report), "repair partition 1")
	require.Equal(t, 1, report.Repaired)
	require.True(t, report.Findings[0].Done())
	require.False(t, report.Findings[1].Done())
	require.Zero(t, s.count(t, `SELECT cancelled_orders FROM partitions WHERE partition = 0`))
}

// The counters by state may be the last to know how many rows are missing: a repair of something else counts nothing anew.
func TestCountersKeepTheTraceOfRowsThatNobodyCanName(t *testing.T) {
	t.Parallel()
	s := newShop(t, "trace", 1)
	a := s.sell(t, "lamp")
	s.buy(t, "lamp", "ann", 1)
	s.tell(t, poisoned)
	s.product(t, "sofa", 5)
	s.buy(t, "sofa", "poison", 1)
	devtest.Eventually(t, patience, "the letter", func() bool { return s.count(t, `SELECT count(*) FROM dead_letters`) == 1 })
	s.drained(t)
	s.tell(t, cured)
	s.tell(t, `DELETE FROM orders WHERE id = $1`, a.bought)
	report := s.reconcile(t, reconcile.Config{Apply: true})
	require.Equal(t, engine.ReconciledDrift, report.Outcome)
	require.Equal(t, 1, report.Repaired, "the letter: %+v", report.Findings)
	require.EqualValues(t, 3, s.count(t, `SELECT count(*) FROM orders WHERE status = 'confirmed'`))
	require.EqualValues(t, 4, s.count(t, `SELECT confirmed_orders FROM partitions`))
	require.Zero(t, s.count(t, `SELECT failed_orders FROM partitions`))
}
