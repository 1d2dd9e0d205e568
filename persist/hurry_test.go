package persist_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
)

// A leader lets orders gather for an hour here, so nothing gets into the ledger unless it is told that somebody waits.
func TestWhoeverWaitsForTheLedgerEndsThePause(t *testing.T) {
	t.Parallel()
	for prefix, c := range map[string]struct {
		elsewhere bool // the wait is in another process than the leader's
		wait      func(n *node, t *testing.T)
	}{
		"an-order-in-the-leaders-process": {false, (*node).orderOfModeLedger},
		"an-order-in-another-process":     {true, (*node).orderOfModeLedger},
		"a-wait-in-the-leaders-process":   {false, (*node).awaitTheLogsEnd},
		"a-wait-in-another-process":       {true, (*node).awaitTheLogsEnd},
	} {
		t.Run(prefix, func(t *testing.T) {
			t.Parallel()
			s := newStack(t, devtest.SharedRedis(t))
			s.config.Prefix, s.config.Partitions, s.config.Timeout = prefix, 1, patience
			s.keeper.GatherPause, s.keeper.LeaderSilence = time.Hour, 2*time.Hour
			leader := s.start(t)
			leader.product(t, "lamp", 1000, onSale)
			waiting := leader
			if c.elsewhere {
				waiting = s.start(t)
			}
			s.letGather(t, leader)
			c.wait(waiting, t)
		})
	}
}

// letGather returns when the leader is in a pause, or about to be, with one order more in its log.
func (s *stack) letGather(t *testing.T, leader *node) {
	t.Helper()
	select {
	case <-leader.LedgerWanted(0): // since the product was made, which would end the pause that is to come
	default:
	}
	release := s.lockLedger(t)
	leader.crowd(t, engine.DurabilityFast, "lamp", 100)
	release()
	// Of two transactions with them the first may have few. Of 31, which are few, the second has 69.
	eventually(t, "a commit of many orders", func() bool { return s.count(t, `SELECT count(*) FROM orders`) > 31 })
	_, err := leader.buyAs(engine.DurabilityFast, "lamp", "the-last", "")
	require.NoError(t, err)
}

func (n *node) orderOfModeLedger(t *testing.T) {
	t.Helper()
	r, err := n.buyAs(engine.DurabilityLedger, "lamp", "ann", "")
	require.NoError(t, err)
	require.Equal(t, engine.DurabilityLedger, r.Durability)
}

// awaitTheLogsEnd is what a change of a product and a buyer's list do.
func (n *node) awaitTheLogsEnd(t *testing.T) {
	t.Helper()
	epoch := n.State(0).Epoch
	ends, err := n.LogEnds(t.Context(), []engine.Epoch{epoch})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = n.WaitDurable(ctx, 0, epoch.Number, ends[0])
	require.NoError(t, err)
}
