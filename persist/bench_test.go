package persist

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
)

// BenchmarkFoldAndJudge is what the drainer does with a batch between reading and writing it.
func BenchmarkFoldAndJudge(b *testing.B) {
	var entries []engine.Entry
	for i := range 40 {
		entries = append(entries, entryOf(uint64(i+1), 50))
	}
	products := map[string]ledgerProduct{"lamp": {initial: 1 << 40}}
	b.ReportAllocs()
	for b.Loop() {
		judge(fold(entries), products, nil)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*40*50), "ns/order")
}

// BenchmarkCommit is what new orders of buyers in no order cost the drain and Postgres, and what the indexes add.
func BenchmarkCommit(b *testing.B) {
	indexes := map[string]string{
		"as it is":             `SELECT 1`,
		"only the primary key": `DROP INDEX orders_of_user`,
		"as before step 7":     `DROP INDEX orders_of_user; CREATE INDEX ON orders (user_id, created_at, id); CREATE INDEX ON orders (partition, created_at) WHERE idempotency_key IS NOT NULL`,
	}
	for name, change := range indexes {
		b.Run(name, func(b *testing.B) {
			pool := ledger(b, 1<<40)
			exec(b, pool, change)
			conn, at := connOf(b, pool), positionOf(b, pool)
			const orders = 2000
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				e := entryOf(uint64(i+1), orders)
				for k := range e.Orders {
					e.Orders[k].Order.User = fmt.Sprintf("user-%016x", rand.Uint64())
				}
				b.StartTimer()
				var err error
				at, err = commit(context.Background(), conn, 0, at, []engine.Entry{e})
				require.NoError(b, err)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*orders), "µs/order")
		})
	}
}

// BenchmarkCommitOne is what a transaction costs beside its rows, when the drain keeps up with orders that come one by one.
func BenchmarkCommitOne(b *testing.B) {
	pool := ledger(b, 1<<40)
	conn, at := connOf(b, pool), positionOf(b, pool)
	for i := 0; b.Loop(); i++ {
		var err error
		at, err = commit(context.Background(), conn, 0, at, []engine.Entry{entryOf(uint64(i+1), 1)})
		require.NoError(b, err)
	}
}

// BenchmarkCommitChanges is what a hold that is confirmed costs the drain and Postgres, first as a hold, then as its change.
// Every fourth of the holds made is confirmed in each of four transactions: buyers don't come back in the order they came.
func BenchmarkCommitChanges(b *testing.B) {
	tables := map[string]string{
		"as it is":           `SELECT 1`,
		"an index on states": `CREATE INDEX ON orders (partition) WHERE status = 'pending'`,
		"no room to update":  `ALTER TABLE orders RESET (fillfactor)`,
	}
	for name, change := range tables {
		b.Run(name, func(b *testing.B) {
			pool := ledger(b, 1<<40)
			exec(b, pool, change)
			conn, at := connOf(b, pool), positionOf(b, pool)
			const orders, rounds = 2000, 4
			sequence := uint64(0)
			var holding, changing time.Duration
			write := func(entries ...engine.Entry) time.Duration {
				began := time.Now()
				var err error
				at, err = commit(context.Background(), conn, 0, at, entries)
				require.NoError(b, err)
				return time.Since(began)
			}
			for b.Loop() {
				later := make([]engine.Entry, rounds)
				for range rounds {
					sequence++
					e := entryOf(sequence, orders)
					for k := range e.Orders {
						o := &e.Orders[k].Order
						o.User = fmt.Sprintf("user-%016x", rand.Uint64())
						o.Status, o.ExpiresAtMs = engine.StatusPending, e.TimeMs+60_000
						confirmed := e.Orders[k]
						confirmed.Order.Status, confirmed.Order.Version, confirmed.Order.ExpiresAtMs = engine.StatusConfirmed, 2, 0
						later[k%rounds].Orders = append(later[k%rounds].Orders, confirmed)
					}
					holding += write(e)
				}
				for i := range later {
					sequence++
					later[i].Sequence = sequence
					for k := range later[i].Orders {
						later[i].Orders[k].Order.Sequence, later[i].Orders[k].Order.Index = sequence, k
					}
					changing += write(later[i])
				}
			}
			total := float64(b.N * orders * rounds)
			b.ReportMetric(float64(holding.Microseconds())/total, "µs/hold")
			b.ReportMetric(float64(changing.Microseconds())/total, "µs/change")
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(count(b, pool, `SELECT 100 * n_tup_hot_upd / greatest(1, n_tup_upd) FROM pg_stat_user_tables WHERE relname = 'orders'`)), "%hot")
		})
	}
}
