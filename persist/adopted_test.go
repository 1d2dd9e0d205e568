package persist_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
)

// A Redis that lost the end of its log and ends where the ledger does is adopted, and its next entries get the numbers of those
// that are gone. Who waits for one of these is not told yes by another, and mode ledger goes on.
func TestAnAdoptedServerThatLostItsEndAnswersForNobody(t *testing.T) {
	redis := devtest.Redis(t, "appendonly no", `save ""`)
	s := newStack(t, redis.URL())
	s.config.Partitions, s.config.Timeout = 1, patience
	n := s.start(t)
	n.product(t, "lamp", 100, onSale)
	_, err := n.buyAs(engine.DurabilityLedger, "lamp", "first", "")
	require.NoError(t, err)
	c := client(t, redis.URL())
	require.NoError(t, c.Do(t.Context(), c.B().Arbitrary("SAVE").Build()).Error(), "all that survives")

	release := s.lockLedger(t)
	lost := make(chan error, 1)
	var id engine.OrderID
	go func() {
		r, err := n.buyAs(engine.DurabilityLedger, "lamp", "ann", "")
		id = r.ID
		lost <- err
	}()
	eventually(t, "the order to be in Redis", func() bool {
		stock, _, err := n.Stock(t.Context(), "lamp")
		return err == nil && stock.Sold == 2
	})
	s.awaitStuckDrainer(t)
	require.NoError(t, redis.Kill())
	s.cutDrainers(t)
	release()
	require.NoError(t, redis.Restart(t.Context()))
	buyers := 0
	eventually(t, "others to get the numbers of what is lost", func() bool {
		buyers++
		_, err := n.buyAs(engine.DurabilityFast, "lamp", fmt.Sprint("other-", buyers), "")
		return err == nil && len(lost) > 0
	})
	require.ErrorIs(t, <-lost, engine.ErrPartitionClosed, "it did not happen")
	require.Zero(t, s.rows(t, []engine.OrderID{id}))
	require.EqualValues(t, 1, n.State(0).Epoch.Number, "the server was adopted")
	eventually(t, "mode ledger to go on", func() bool {
		buyers++
		_, err := n.buyAs(engine.DurabilityLedger, "lamp", fmt.Sprint("later-", buyers), "")
		return err == nil
	})
}
