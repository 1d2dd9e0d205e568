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

// BenchmarkSettle has many buyers confirm what they hold at once; the making of the holds is not measured.
func BenchmarkSettle(b *testing.B) {
	n := startNode(b, connectTo(b, devtest.Redis(b, "appendonly no").URL()), Config{})
	n.product(b, "a", MaxStock, onSale)
	ids := make([]OrderID, b.N)
	var next atomic.Int64
	b.SetParallelism(100)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := next.Add(1) - 1
			r := n.order("a", "buyer-"+strconv.FormatInt(i, 10), 1)
			r.HoldMs = time.Hour.Milliseconds()
			if err := n.Reserve(r, time.Now()); err != nil {
				b.Error(err)
				return
			}
			ids[i] = r.ID
		}
	})
	next.Store(0)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			t := NewTransition()
			t.ID, t.Action = ids[next.Add(1)-1], ActionConfirm
			if err := n.Settle(t, time.Now()); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "orders/s")
	stock := n.stock(b, "a")
	require.Equal(b, []int64{0, int64(b.N)}, []int64{stock.Held, stock.Sold}, "every hold became a sale")
}

// BenchmarkRedisCPUHolds measures what a hold and its confirm cost Redis, by batch size: INFO cpu before and after.
func BenchmarkRedisCPUHolds(b *testing.B) {
	for _, size := range []int{1, 64} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			n := newNode(b, connectTo(b, devtest.Redis(b, "appendfsync everysec").URL()), Config{})
			n.product(b, "a", MaxStock, onSale)
			p := n.partitions[0]
			v := p.view.Load()
			ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
			defer cancel()
			holds, confirms := newReserveCall(n.Engine), &settleCall{engine: n.Engine}
			var batches [][]*Transition
			start := redisCPU(b, n)
			for b.Loop() {
				reservations, transitions := make([]*Reservation, size), make([]*Transition, size)
				for i := range size {
					r := n.order("a", "buyer-"+strconv.Itoa(len(batches)*size+i), 1)
					r.HoldMs, r.shelf = time.Hour.Milliseconds(), n.shelves.find("a", crc16("a"), p)
					r.buyer = BuyerField(r.Product, r.User)
					reservations[i] = r
				}
				holds.mint(p, reservations)
				for i, r := range reservations {
					transitions[i] = &Transition{ID: r.ID, Action: ActionConfirm}
				}
				_, err := holds.run(ctx, n.client, p, v, reservations)
				require.NoError(b, err)
				batches = append(batches, transitions)
			}
			orders := float64(len(batches) * size)
			held := redisCPU(b, n)
			for _, batch := range batches {
				_, err := confirms.run(ctx, n.client, p, v, batch)
				require.NoError(b, err)
			}
			b.ReportMetric((held-start)*1e6/orders, "redis-us/hold")
			b.ReportMetric((redisCPU(b, n)-held)*1e6/orders, "redis-us/confirm")
			require.Equal(b, int64(orders), n.stock(b, "a").Sold, "every hold became a sale")
		})
	}
}
