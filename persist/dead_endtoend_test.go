package persist_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
)

func (n *node) buyKeyed(product, user, key string) (*engine.Reservation, error) {
	r := engine.NewReservation()
	now := time.Now()
	r.Product, r.User, r.Quantity, r.Key = product, user, 1, key
	return r, n.Reserve(r, now)
}

func (n *node) settle(t testing.TB, id engine.OrderID, action engine.Action) error {
	t.Helper()
	x := engine.NewTransition()
	x.ID, x.Action = id, action
	return n.store.Settle(t.Context(), x)
}

// flush empties Redis and waits until the partition of "lamp" is rebuilt and all are open.
func (s *stack) flush(t testing.TB, n *node) {
	t.Helper()
	p := n.PartitionOf("lamp")
	before := n.State(p).Epoch.Number
	c := client(t, s.redisURL)
	require.NoError(t, c.Do(t.Context(), c.B().Flushall().Build()).Error())
	eventually(t, "a rebuild", func() bool { return n.State(p).Epoch.Number > before })
	n.AwaitOpen(t)
}

func TestAKeyOfADeadOrderOutlivesRedis(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	_, err := s.pool.Exec(t.Context(), `ALTER TABLE orders ADD CONSTRAINT no_poison CHECK (user_id <> 'poison')`)
	require.NoError(t, err)
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	first, err := n.buyKeyed("lamp", "poison", "k")
	require.NoError(t, err)
	eventually(t, "the dead letter", func() bool { return s.count(t, `SELECT count(*) FROM dead_letters`) == 1 })
	s.flush(t, n)
	again, err := n.buyKeyed("lamp", "poison", "k")
	require.NoError(t, err)
	require.Equal(t, first.ID, again.Order.ID, "one key, one effect")
	stock, _, err := n.Stock(t.Context(), "lamp")
	require.NoError(t, err)
	require.Equal(t, engine.Stock{Current: 9, Sold: 1, Initial: 10, Change: 1}, stock)
}

func TestADeadConfirmIsNoHoldAfterARebuild(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	_, err := s.pool.Exec(t.Context(), `ALTER TABLE orders ADD CONSTRAINT no_poison CHECK (status <> 'confirmed')`)
	require.NoError(t, err)
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	h := n.hold(t, "lamp", "ann", "", 2, time.Minute)
	eventually(t, "the hold in the ledger", func() bool { return s.count(t, `SELECT sum(pending_orders)::bigint FROM partitions`) == 1 })
	require.NoError(t, n.settle(t, h.ID, engine.ActionConfirm))
	eventually(t, "the dead letter", func() bool { return s.count(t, `SELECT count(*) FROM dead_letters`) == 1 })
	failed := func(when string) {
		view, err := n.store.Order(t.Context(), h.ID)
		require.NoError(t, err, when)
		require.Equal(t, engine.StatusFailed, view.Status, when)
		require.Contains(t, view.Reason, "no_poison", when)
		page, err := n.store.OrdersOf(t.Context(), "ann", engine.OrderPlace{}, 10)
		require.NoError(t, err, when)
		require.Len(t, page.Orders, 1, when)
		view.IdempotencyKey, view.Request = "", "" // a list has none
		require.Equal(t, view, page.Orders[0], when)
	}
	eventually(t, "the watermark", func() bool {
		order, found, err := n.Find(t.Context(), h.ID)
		return err == nil && (!found || n.Durable(&order))
	})
	failed("before the rebuild")
	s.flush(t, n)
	stock, _, err := n.Stock(t.Context(), "lamp")
	require.NoError(t, err)
	require.Equal(t, engine.Stock{Current: 8, Sold: 2, Initial: 10, Change: 1}, stock, "what was confirmed stays sold")
	failed("after the rebuild")
	for _, action := range []engine.Action{engine.ActionConfirm, engine.ActionCancel} {
		require.ErrorIs(t, n.settle(t, h.ID, action), engine.ErrInvalidState, "%v", action)
	}
	require.EqualValues(t, 1, s.count(t, `SELECT sum(failed_orders)::bigint FROM partitions`))
}
