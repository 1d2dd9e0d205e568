package reconcile_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
	"flashsale/persist/reconcile"
)

// Entries on their way are compared as if they arrived. Where nobody brings them, a run can't tell.
func TestALedgerThatStandsStillIsNotCalledClean(t *testing.T) {
	t.Parallel()
	s := newShop(t, "still", 2)
	s.product(t, "lamp", 20)
	s.buy(t, "lamp", "ann", 1)
	s.drained(t)
	tx, err := s.Pool.Begin(t.Context())
	require.NoError(t, err)
	defer tx.Rollback(context.WithoutCancel(t.Context()))
	_, err = tx.Exec(t.Context(), `SELECT 1 FROM partitions FOR UPDATE`) // every commit of a drain waits
	require.NoError(t, err)
	s.buy(t, "lamp", "ben", 1)
	s.buy(t, "lamp", "cem", 1)

	r := reconcile.New(s.Pool, s.second, reconcile.Config{Actor: "test", Patience: 200 * time.Millisecond})
	defer r.Close()
	report, err := r.Run(t.Context())
	require.ErrorIs(t, err, reconcile.ErrUnknown)
	require.Equal(t, engine.ReconciledUnknown, report.Outcome)
	require.Contains(t, report.Reason, "the ledger has stood still for 200ms: partition ")
	require.Regexp(t, `is at log entry \d+, and Redis has \d more, of 2 orders`, report.Reason)

	require.NoError(t, tx.Rollback(t.Context()))
	devtest.Eventually(t, patience, "the ledger to move", func() bool { return s.count(t, `SELECT count(*) FROM orders`) == 3 })
	require.Equal(t, engine.ReconciledClean, s.reconcile(t, reconcile.Config{}).Outcome)
}
