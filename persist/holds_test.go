package persist_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
)

// logged appends an order to the log as the scripts would, and returns it.
func (s *stack) logged(t testing.TB, n *node, o engine.Order) engine.Order {
	t.Helper()
	if o.ID == (engine.OrderID{}) {
		o.ID = engine.NewOrderID(n.PartitionOf(o.Product), time.Now())
	}
	s.appendEntry(t, n, o.Product, "orders", strconv.FormatInt(o.UpdatedAtMs, 10), string(o.ID[:]), o.Record())
	return o
}

// holdOf is a hold of a minute that begins now.
func holdOf(product, user string, quantity int64) engine.Order {
	now := time.Now().UnixMilli()
	return engine.Order{
		Product: product, User: user, Quantity: quantity, Status: engine.StatusPending, Version: 1,
		CreatedAtMs: now, UpdatedAtMs: now, ExpiresAtMs: now + 60_000,
	}
}

func TestHoldsAndKeysOutliveRedis(t *testing.T) {
	redis := devtest.Redis(t)
	s := newStack(t, redis.URL())
	n := s.start(t)
	n.product(t, "lamp", 10, engine.Terms{Active: true, PerUserLimit: 3, HoldSeconds: 120})
	hold := holdOf("lamp", "ann", 2)
	hold.IdempotencyKey, hold.Request = "my key", engine.RequestText(2, 60_000)
	hold = s.logged(t, n, hold)
	eventually(t, "the hold in the ledger", func() bool { return s.count(t, `SELECT sum(pending_orders)::bigint FROM partitions`) == 1 })

	c := client(t, redis.URL())
	require.NoError(t, c.Do(t.Context(), c.B().Flushall().Build()).Error())
	eventually(t, "sales to go on", func() bool {
		_, err := n.buy("lamp", "bob", 1)
		return err == nil
	})
	stock, _, err := n.Stock(t.Context(), "lamp")
	require.NoError(t, err)
	require.Equal(t, engine.Stock{Current: 7, Held: 2, Sold: 1, Initial: 10, Change: 1}, stock)
	_, err = n.buy("lamp", "ann", 2)
	require.ErrorIs(t, err, engine.ErrLimitExceeded, "what a buyer holds is known again")

	found, ok, err := n.Find(t.Context(), hold.ID)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, hold, found)
	require.True(t, n.Durable(&found))
	view, err := n.store.Order(t.Context(), hold.ID)
	require.NoError(t, err)
	require.Equal(t, []any{engine.StatusPending, true, hold.ExpiresAtMs}, []any{view.Status, view.Durable, view.ExpiresAtMs})
	require.Equal(t, []string{hold.IdempotencyKey, hold.Request}, []string{view.IdempotencyKey, view.Request},
		"what Redis needs to make its record again")

	p := n.PartitionOf("lamp")
	keys, err := n.EpochKeys(p, n.State(p).Epoch)
	require.NoError(t, err)
	target := keys.Even
	if hold.CreatedAtMs/(24*time.Hour).Milliseconds()%2 == 1 {
		target = keys.Odd
	}
	value, err := c.Do(t.Context(), c.B().Hget().Key(target).Field(engine.IdempotencyField("lamp", "ann", "my key")).Build()).ToString()
	require.NoError(t, err)
	require.Equal(t, engine.IdempotencyValue(&hold), value)
}

func TestTheHoldTimeOfAProduct(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	n := s.start(t)
	made := n.product(t, "lamp", 10, engine.Terms{Active: true, HoldSeconds: 90})
	require.EqualValues(t, 90, made.Terms.HoldSeconds)
	c := client(t, s.redisURL)
	terms := func() string {
		p := n.PartitionOf("lamp")
		keys, err := n.EpochKeys(p, n.State(p).Epoch)
		require.NoError(t, err)
		value, err := c.Do(t.Context(), c.B().Hget().Key(keys.Terms).Field("lamp").Build()).ToString()
		require.NoError(t, err)
		return value
	}
	require.Equal(t, "0,1,0,0,90000", terms())

	changed, err := n.store.ChangeProduct(t.Context(), "lamp", engine.ProductChange{HoldSeconds: ptr[int64](30), Actor: "test"})
	require.NoError(t, err)
	require.EqualValues(t, 30, changed.Terms.HoldSeconds, "at once")
	require.Equal(t, "0,1,0,0,30000", terms())
	changed, err = n.store.ChangeProduct(t.Context(), "lamp", engine.ProductChange{
		HoldSeconds: ptr[int64](0), AdjustStock: ptr[int64](-1), Actor: "test",
	})
	require.NoError(t, err)
	require.Zero(t, changed.Terms.HoldSeconds, "with a decrease, once Redis took it")
	require.Equal(t, "0,1,0,0,0", terms())
	changed, err = n.store.ChangeProduct(t.Context(), "lamp", engine.ProductChange{Name: ptr("x"), Actor: "test"})
	require.NoError(t, err)
	require.Zero(t, changed.Terms.HoldSeconds)
	require.EqualValues(t, 90+30, s.count(t, `SELECT sum(hold_seconds)::bigint FROM stock_changes`))

	listed, err := n.store.Products(t.Context(), "", 10)
	require.NoError(t, err)
	require.Equal(t, changed.Terms, listed[0].Terms)
}

func TestADecreaseTakesNothingThatIsHeld(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	s.tamper(t, n, "lamp", stockKey, "lamp", "4,6,0,10,1") // six units are held
	_, err := n.store.ChangeProduct(t.Context(), "lamp", engine.ProductChange{AdjustStock: ptr[int64](-5), Actor: "test"})
	require.Equal(t, engine.CodeInvalidState, codeOf(err), "%v", err)
	p, err := n.store.Product(t.Context(), "lamp")
	require.NoError(t, err)
	require.Equal(t, engine.Stock{Current: 4, Held: 6, Initial: 10, Change: 2}, p.Stock)

	p, err = n.store.ChangeProduct(t.Context(), "lamp", engine.ProductChange{CurrentStock: ptr[int64](0), Actor: "test"})
	require.NoError(t, err)
	require.Equal(t, engine.Stock{Held: 6, Initial: 6, Change: 3}, p.Stock)
	p, err = n.store.ChangeProduct(t.Context(), "lamp", engine.ProductChange{CurrentStock: ptr[int64](2), Actor: "test"})
	require.NoError(t, err)
	require.Equal(t, engine.Stock{Current: 2, Held: 6, Initial: 8, Change: 4}, p.Stock)
}
