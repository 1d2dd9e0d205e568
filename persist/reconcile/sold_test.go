package reconcile_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
	"flashsale/persist/reconcile"
)

// Of orders that were sold at once Redis keeps one field a batch, and the log entry that it stands for: each of them is compared
// with its row for as long as that entry is there, by its own record once it has changed.
func TestWhatWasSoldAtOnceIsComparedByItsEntry(t *testing.T) {
	t.Parallel()
	s := newShopWith(t, "byentry", 1, time.Hour)
	a := s.sell(t, "lamp")
	sale := s.buy(t, "lamp", "eve", 1)
	require.NoError(t, s.settle(t.Context(), sale, engine.ActionCancel, 0))
	devtest.Eventually(t, patience, "the ledger to have everything", func() bool {
		return s.count(t, `SELECT count(*) FROM orders`) == 5 && s.count(t, `SELECT count(*) FROM orders WHERE status = 'cancelled'`) == 2
	})
	clean := s.reconcile(t, reconcile.Config{})
	require.Empty(t, clean.Findings)
	require.EqualValues(t, 6, clean.Compared.Records, "five orders, of which one has its sale and its cancellation to compare")

	s.tell(t, `DELETE FROM orders WHERE id = $1`, a.bought)
	report := s.reconcile(t, reconcile.Config{})
	require.Len(t, report.Findings, 1, "%+v", report.Findings)
	f := report.Findings[0]
	require.Equal(t, []string{string(reconcile.MissingInLedger), a.bought.String()}, []string{string(f.Class), f.Order}, "%+v", f)
	require.Contains(t, f.Redis, "has it confirmed of 2 units")
	repair := s.reconcile(t, reconcile.Config{Apply: true})
	require.Equal(t, engine.ReconciledClean, repair.Outcome, "%+v", repair.Findings)
	require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM orders WHERE id = $1 AND status = 'confirmed' AND quantity = 2`, a.bought))
}
