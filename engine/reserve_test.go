package engine

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// No quantity is taken for another one, however the script takes it.
func TestAQuantityIsItself(t *testing.T) {
	n := startNode(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "quantity"})
	n.product(t, "a", math.MaxInt32, onSale)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	order := func(quantity int64) error { // the gate is not asked
		r := NewReservation()
		r.Product, r.User, r.Quantity = "a", "u"+text(quantity), quantity
		return n.ReserveTogether(ctx, []*Reservation{r})
	}
	for _, quantity := range []int64{math.MinInt64, 1 - 1<<24, -1, 0, MaxQuantity + 1, 1<<24 - 1, 1 << 24, 1<<24 + 1, 1<<32 + 1, 1<<40 + 1, math.MaxInt64} {
		require.ErrorIs(t, order(quantity), ErrQuantity, "%d", quantity)
	}
	units := int64(0)
	for _, quantity := range []int64{1, 255, 256, 65_535, 65_536, MaxQuantity} {
		require.NoError(t, order(quantity))
		units += quantity
		require.Equal(t, Stock{Current: math.MaxInt32 - units, Sold: units, Initial: math.MaxInt32, Change: 1}, n.stock(t, "a"))
	}
}

// The largest batch, with as many products as orders: each order is for its own, and a row of the entry goes across products.
func TestABatchOfManyProducts(t *testing.T) {
	n := startNode(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "many", Partitions: 1, BatchSize: maxBatchSize})
	batch := make([]*Reservation, maxBatchSize)
	for i := range batch {
		product := "p" + text(int64(i))
		n.product(t, product, int64(i%3), onSale)
		batch[i] = NewReservation()
		batch[i].Product, batch[i].User, batch[i].Quantity = product, "u", int64(1+i%2)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.ErrorIs(t, n.ReserveTogether(ctx, batch), ErrSoldOut)
	for _, r := range batch {
		i := number(r.Product[1:])
		stock, sold := i%3, 1+i%2
		if sold > stock {
			require.ErrorIs(t, r.err, ErrSoldOut, r.Product)
			sold = 0
		} else {
			require.NoError(t, r.err, r.Product)
		}
		require.Equal(t, stock-sold, r.Left, r.Product)
		require.Equal(t, Stock{Current: stock - sold, Sold: sold, Initial: stock, Change: 1}, n.stock(t, r.Product))
	}
}

// The largest batch as one run.
func TestABatchOfOneProduct(t *testing.T) {
	n := startNode(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "one", BatchSize: maxBatchSize})
	n.product(t, "a", maxBatchSize, onSale)
	batch := make([]*Reservation, maxBatchSize)
	for i := range batch {
		batch[i] = NewReservation()
		batch[i].Product, batch[i].User, batch[i].Quantity = "a", "u"+text(int64(i)), 1
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, n.ReserveTogether(ctx, batch))
	require.Equal(t, Stock{Sold: maxBatchSize, Initial: maxBatchSize, Change: 1}, n.stock(t, "a"))
}

// A call that names a product twice would sell its units twice.
func TestAProductThatComesTwiceFailsTheCall(t *testing.T) {
	n := startNode(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "twice-named"})
	n.product(t, "a", 1, onSale)
	far := text(time.Now().Add(time.Hour).UnixMilli())
	_, err := invocation{&reserveScript, n.reserveKeys(n.keys(0)), []string{
		n.replid, "0", far, "0", "10", "2", "0", "tttttttttt111111222222", runsText(testRun{1, 1, 1}, testRun{2, 1, 1}), "a", "a", "a|u", "a|v",
	}}.run(n)
	require.ErrorContains(t, err, "twice")
	require.Equal(t, Stock{Current: 1, Initial: 1, Change: 1}, n.stock(t, "a"))
}

// Whoever comes in no run would be sold what nobody has looked for.
func TestOrdersInNoRunFailTheCall(t *testing.T) {
	n := startNode(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "no-run"})
	n.product(t, "a", 2, onSale)
	far := text(time.Now().Add(time.Hour).UnixMilli())
	for _, orders := range []int{1, 3} {
		_, err := invocation{&reserveScript, n.reserveKeys(n.keys(0)), []string{
			n.replid, "0", far, "0", "10", "1", "0", "tttttttttt111111222222", runsText(testRun{1, 1, orders}), "a", "a|u", "a|v",
		}}.run(n)
		require.Error(t, err, "%d in the run, and two buyers", orders)
		require.Equal(t, Stock{Current: 2, Initial: 2, Change: 1}, n.stock(t, "a"))
	}
}
