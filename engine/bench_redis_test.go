package engine

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// redisCPU returns the CPU seconds that a Redis has used.
func redisCPU(b *testing.B, n *node) float64 {
	b.Helper()
	info, err := n.client.Do(b.Context(), n.client.B().Info().Section("cpu").Build()).ToString()
	require.NoError(b, err)
	total := 0.0
	for _, field := range []string{"used_cpu_user", "used_cpu_sys"} {
		seconds, err := strconv.ParseFloat(infoField(info, field), 64)
		require.NoError(b, err)
		total += seconds
	}
	return total
}

// redisCalls is how many calls the benchmarks of Redis keep under way: one after another they would measure how a server
// falls asleep and wakes up.
const redisCalls = 8

// BenchmarkRedisCPU measures what an accepted order costs Redis, by batch size and number of products: INFO cpu before and
// after. An empty script beside it tells what the machine is worth.
func BenchmarkRedisCPU(b *testing.B) {
	for _, c := range []struct{ size, products int }{{1, 1}, {16, 1}, {64, 1}, {64, 10_000}} {
		b.Run(fmt.Sprintf("batch=%d/products=%d", c.size, c.products), func(b *testing.B) {
			n := newNode(b, connectTo(b, devtest.Redis(b, "appendfsync everysec").URL()), Config{})
			for i := range c.products {
				n.product(b, "p"+strconv.Itoa(i), MaxStock, onSale)
			}
			var buyers atomic.Int64
			before := redisCPU(b, n)
			eachCall(b, func(ctx context.Context) error { return n.reserveMany(ctx, c.size, c.products, &buyers) })
			b.ReportMetric((redisCPU(b, n)-before)*1e6/float64(b.N*c.size), "redis-us/order")
			totals, err := n.StockTotals(b.Context())
			require.NoError(b, err)
			require.Equal(b, buyers.Load(), totals.Initial-totals.Current, "every order sold one unit")
		})
	}
	b.Run("empty", func(b *testing.B) {
		n := newNode(b, connectTo(b, devtest.Redis(b, "appendfsync everysec").URL()), Config{})
		before := redisCPU(b, n)
		eachCall(b, func(ctx context.Context) error {
			return n.client.Do(ctx, n.client.B().Eval().Script("#!lua\nreturn 1").Numkeys(0).Build()).Error()
		})
		b.ReportMetric((redisCPU(b, n)-before)*1e6/float64(b.N), "redis-us/call")
	})
}

// eachCall makes b.N calls, redisCalls of them at a time.
func eachCall(b *testing.B, call func(ctx context.Context) error) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	b.SetParallelism(redisCalls / 2)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := call(ctx); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// reserveMany sells a batch to buyers who have bought nothing yet, from each product in turn.
func (n *node) reserveMany(ctx context.Context, size, products int, buyers *atomic.Int64) error {
	c := newReserveCall(n.Engine)
	batch := make([]*Reservation, size)
	for i := range batch {
		buyer := buyers.Add(1)
		r := n.order("p"+strconv.FormatInt(buyer%int64(products), 10), "buyer-"+strconv.FormatInt(buyer, 10), 1)
		r.shelf = n.shelves.find(r.Product, crc16(r.Product), n.partitions[0])
		r.buyer = BuyerField(r.Product, r.User)
		batch[i] = r
	}
	c.mint(n.partitions[0], batch)
	_, err := c.run(ctx, n.client, n.partitions[0], n.partitions[0].view.Load(), batch)
	return err
}
