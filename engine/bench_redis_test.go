package engine

import (
	"context"
	"fmt"
	"strconv"
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

// BenchmarkRedisCPU measures what an accepted order costs Redis, by batch size: INFO cpu before and after.
func BenchmarkRedisCPU(b *testing.B) {
	for _, size := range []int{1, 64} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			n := newNode(b, connectTo(b, devtest.Redis(b, "appendfsync everysec").URL()), Config{})
			n.product(b, "a", MaxStock, onSale)
			c := newReserveCall(n.Engine)
			var batch []*Reservation
			v := n.partitions[0].view.Load()
			buyer := 0
			before := redisCPU(b, n)
			for b.Loop() {
				batch = batch[:0]
				for range size {
					buyer++
					r := n.order("a", "buyer-"+strconv.Itoa(buyer), 1)
					r.shelf = n.shelves.find(r.Product, crc16(r.Product), n.partitions[0])
					r.encode()
					batch = append(batch, r)
				}
				ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
				_, err := c.run(ctx, n.client, n.partitions[0], v, batch)
				cancel()
				require.NoError(b, err)
			}
			b.ReportMetric((redisCPU(b, n)-before)*1e6/float64(b.N*size), "redis-us/order")
			require.Equal(b, int64(buyer), n.stock(b, "a").Sold, "every order sold one unit")
		})
	}
}
