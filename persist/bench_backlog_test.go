package persist

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkBacklog is what a backlog does to the drain: its rate, the most memory that the process had beyond what it began
// with, and how long it took until Redis had forgotten all of it, by the drainer's own trimming, with a grace of nothing. Redis
// holds what it would of such orders: log entries and records. One round each (-benchtime 1x): the table grows.
func BenchmarkBacklog(b *testing.B) {
	for _, orders := range []int{100_000, 1_000_000, 5_000_000} {
		b.Run(fmt.Sprintf("orders=%d", orders), func(b *testing.B) {
			rig := newDrainRig(b, benchPartitions, "appendonly no")
			for b.Loop() {
				b.StopTimer()
				empty := rig.redisBytes(b)
				orders := rig.pile(b, orders)
				full := rig.redisBytes(b)
				b.StartTimer()
				peak, drained, trimmed := rig.drainPile(b)
				b.ReportMetric(float64(orders)/drained.Seconds(), "orders/s")
				b.ReportMetric(float64(peak)/(1<<20), "MB-process")
				b.ReportMetric(float64(full-empty)/float64(orders), "redis-B/order")
				b.ReportMetric((trimmed - drained).Seconds(), "s-trim-behind")
				b.ReportMetric(0, "ns/op")
				require.EqualValues(b, orders, count(b, rig.pool, `SELECT count(*) FROM orders`))
				require.Less(b, rig.redisBytes(b)-empty, int64(16<<20), "Redis forgets what is drained")
			}
		})
	}
}

// pile puts orders into Redis, whole log entries, and returns how many: in portions, so that the process that does it stays
// small.
func (r *drainRig) pile(b *testing.B, orders int) (piled int) {
	const portion = 64 * benchEntryOrders
	for p, l := range r.leaders {
		keys, err := l.engine.EpochKeys(p, positionOf(b, r.pool).epoch)
		require.NoError(b, err)
		meta := r.client.B().Hset().Key(keys.Meta).FieldValue().FieldValue("state", "open").FieldValue("replid", r.replid)
		require.NoError(b, r.client.Do(b.Context(), meta.FieldValue("epoch", "1").FieldValue("time", "0").FieldValue("orders", "0").Build()).Error())
		for left := orders / len(r.leaders); left > 0; left -= portion {
			entries := r.newOrders(p, min(left, portion))
			r.append(b, keys, entries)
			piled += named(entries)
			records := r.client.B().Hset().Key(keys.Orders).FieldValue()
			for i := range entries {
				for k := range entries[i].Orders {
					o := &entries[i].Orders[k]
					records = records.FieldValue(string(o.Order.ID[:]), o.Record)
				}
			}
			require.NoError(b, r.client.Do(b.Context(), records.Build()).Error())
		}
		sequence := r.client.B().Hset().Key(keys.Meta).FieldValue().FieldValue("sequence", fmt.Sprint(r.logged[p]))
		require.NoError(b, r.client.Do(b.Context(), sequence.Build()).Error())
	}
	return piled
}

// drainPile lets a keeper drain and trim everything and watches the memory of this process.
func (r *drainRig) drainPile(b *testing.B) (peakBytes int64, drained, trimmed time.Duration) {
	keeper := NewKeeper(r.pool, r.leaders[0].engine, KeeperConfig{OrderGrace: time.Millisecond})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	before, began := processBytes(b), time.Now()
	go func() { ended <- keeper.Run(ctx) }()
	var peak atomic.Int64
	await := func(done func() bool) time.Duration {
		for !done() {
			peak.Store(max(peak.Load(), processBytes(b)-before))
			wait(ctx, 20*time.Millisecond)
		}
		return time.Since(began)
	}
	drained = await(func() bool {
		for p, l := range r.leaders {
			if l.engine.Watermark(p).Sequence < r.logged[p] {
				return false
			}
		}
		return true
	})
	trimmed = await(func() bool { return r.logLength(b) == 0 })
	stop()
	require.NoError(b, <-ended)
	return peak.Load(), drained, trimmed
}

// processBytes is the resident memory of this process.
func processBytes(b *testing.B) int64 {
	statm, err := os.ReadFile("/proc/self/statm")
	require.NoError(b, err)
	pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	require.NoError(b, err)
	return pages * int64(os.Getpagesize())
}

func (r *drainRig) redisBytes(b *testing.B) int64 {
	info, err := r.client.Do(b.Context(), r.client.B().Info().Section("memory").Build()).ToString()
	require.NoError(b, err)
	_, rest, found := strings.Cut(info, "used_memory:")
	require.True(b, found)
	digits, _, _ := strings.Cut(rest, "\r\n")
	n, err := strconv.ParseInt(digits, 10, 64)
	require.NoError(b, err)
	return n
}

// logLength is how many entries all logs have.
func (r *drainRig) logLength(b *testing.B) (entries int64) {
	for p, l := range r.leaders {
		keys, err := l.engine.EpochKeys(p, positionOf(b, r.pool).epoch)
		require.NoError(b, err)
		n, err := r.client.Do(b.Context(), r.client.B().Xlen().Key(keys.Log).Build()).AsInt64()
		require.NoError(b, err)
		entries += n
	}
	return entries
}
