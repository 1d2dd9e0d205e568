package persist

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

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
		"as it is":                 `SELECT 1`,
		"without the user's index": `DROP INDEX orders_of_user`,
		"only the primary key":     `DROP INDEX orders_of_user, orders_pending, orders_recent_keys`,
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
