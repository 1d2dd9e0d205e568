package persist_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
)

// hold reserves units for a while under an idempotency key.
func (n *node) hold(t testing.TB, product, user, key string, quantity int64, holdFor time.Duration) *engine.Reservation {
	t.Helper()
	r := engine.NewReservation()
	now := time.Now()
	r.Product, r.User, r.Quantity = product, user, quantity
	r.HoldMs, r.Key = holdFor.Milliseconds(), key
	require.NoError(t, n.Reserve(r, now))
	return r
}

func TestAHoldGoesOnAfterARebuild(t *testing.T) {
	redis := devtest.Redis(t)
	s := newStack(t, redis.URL())
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	kept := n.hold(t, "lamp", "ann", "k", 2, time.Minute)
	brief := n.hold(t, "lamp", "bob", "", 3, 2*time.Second)
	eventually(t, "the holds in the ledger", func() bool { return s.count(t, `SELECT sum(pending_orders)::bigint FROM partitions`) == 2 })

	c := client(t, redis.URL())
	require.NoError(t, c.Do(t.Context(), c.B().Flushall().Build()).Error())
	eventually(t, "a rebuild", func() bool {
		stock, found, err := n.Stock(t.Context(), "lamp")
		return err == nil && found && stock.Held > 0
	})
	n.AwaitOpen(t)
	require.Equal(t, kept.Order.ID, n.hold(t, "lamp", "ann", "k", 2, time.Minute).Order.ID, "the key is known again")
	confirm := engine.NewTransition()
	confirm.ID, confirm.Action, confirm.Quantity = kept.ID, engine.ActionConfirm, 1
	require.NoError(t, n.store.Settle(t.Context(), confirm))
	require.Equal(t, engine.StatusConfirmed, confirm.Order.Status)
	eventually(t, "the brief hold to expire", func() bool {
		view, err := n.store.Order(t.Context(), brief.ID)
		return err == nil && view.Status == engine.StatusExpired && view.Durable
	})
	stock, _, err := n.Stock(t.Context(), "lamp")
	require.NoError(t, err)
	require.Equal(t, engine.Stock{Current: 9, Sold: 1, Initial: 10, Change: 1}, stock)
	page, err := n.store.OrdersOf(t.Context(), "ann", engine.OrderPlace{}, 10)
	require.NoError(t, err)
	require.Equal(t, []engine.OrderID{kept.ID}, listedIDs(page.Orders))
	counts, err := n.store.OrderCounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, []int64{1, 1, 0}, []int64{counts.Confirmed, counts.Expired, counts.Pending})
}

func TestAJobCountsWhatIsAheadOfIt(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	s.config.Partitions = 1
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	_, err := n.buy("lamp", "early", 1)
	require.NoError(t, err)
	s.awaitLedger(t, n, "lamp", 1)
	s.stall(t)
	for i, user := range []string{"ann", "bob", "carol"} {
		r, err := n.buy("lamp", user, 1)
		require.NoError(t, err)
		require.EqualValues(t, i+1, n.job(t, r.ID).Position)
	}
}
