package engine

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// BenchmarkReserveParallel has many buyers order at once, each once, from a product that never runs out.
func BenchmarkReserveParallel(b *testing.B) {
	n := startNode(b, connectTo(b, devtest.Redis(b, "appendonly no").URL()), Config{})
	n.product(b, "a", MaxStock, onSale)
	var buyers atomic.Int64
	b.SetParallelism(100)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		r := NewReservation()
		for pb.Next() {
			now := time.Now()
			r.Reset()
			r.Product, r.Quantity = "a", 1
			r.User = "buyer-" + strconv.FormatInt(buyers.Add(1), 10)
			if err := n.Reserve(r, now); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "orders/s")
	require.Equal(b, int64(b.N), n.stock(b, "a").Sold, "every order sold one unit")
}

// BenchmarkReserveAlone is what one buyer waits while nobody else is there.
func BenchmarkReserveAlone(b *testing.B) {
	n := startNode(b, connectTo(b, devtest.Redis(b, "appendonly no").URL()), Config{})
	n.product(b, "a", MaxStock, onSale)
	r := NewReservation()
	b.ReportAllocs()
	for b.Loop() {
		now := time.Now()
		r.Reset()
		r.Product, r.User, r.Quantity = "a", "u", 1
		if err := n.Reserve(r, now); err != nil {
			b.Fatal(err)
		}
	}
}

// benchmarkCall is a batch of 128 orders for 8 products.
func benchmarkCall(n *node) (*reserveCall, []*Reservation) {
	var batch []*Reservation
	for i := range defaultBatchSize {
		r := n.order("product-"+strconv.Itoa(i%8), "buyer-"+strconv.Itoa(i), 1)
		r.shelf = n.shelves.find(r.Product, crc16(r.Product), n.partitions[0])
		r.buyer = BuyerField(r.Product, r.User)
		batch = append(batch, r)
	}
	c := newReserveCall(n.Engine)
	c.mint(n.partitions[0], batch)
	return c, batch
}

func BenchmarkBuildBatch(b *testing.B) {
	n := newNode(b, connectTo(b, devtest.SharedRedis(b)), Config{Prefix: "buildbatch"})
	c, batch := benchmarkCall(n)
	b.ReportAllocs()
	for b.Loop() {
		c.build(batch, n.replid, 1, 1_700_000_000_000)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/order")
}

func BenchmarkDecodeReply(b *testing.B) {
	n := newNode(b, connectTo(b, devtest.SharedRedis(b)), Config{Prefix: "decodereply"})
	c, batch := benchmarkCall(n)
	for i := range 8 {
		n.product(b, "product-"+strconv.Itoa(i), 1000, onSale)
	}
	c.build(batch, n.replid, 0, time.Now().Add(time.Hour).UnixMilli())
	var fields []rueidis.RedisMessage
	for range 2 { // the second time they are replays, which have more to decode
		var err error
		fields, err = reserveScript.run(context.Background(), n.client, n.partitions[0].view.Load().reserve, c.args)
		require.NoError(b, err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.decode(batch, fields); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/order")
}
