package engine

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// BenchmarkTrim measures what it costs Redis to forget an order that is in the ledger, in entries of 64.
func BenchmarkTrim(b *testing.B) {
	const size, entries = 64, 200
	n := newNode(b, connectTo(b, devtest.Redis(b, "appendfsync everysec").URL()), Config{})
	n.product(b, "p0", MaxStock, onSale)
	var buyers atomic.Int64
	spent, trimmed := 0.0, 0
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	for b.Loop() {
		b.StopTimer()
		for range entries {
			require.NoError(b, n.reserveMany(ctx, size, 1, &buyers))
		}
		sequence := uint64(buyers.Load()/size + 1)
		n.Advance(0, Watermark{Epoch: 1, Sequence: sequence, Orders: buyers.Load()})
		before := redisCPU(b, n)
		b.StartTimer()
		gone, err := n.Trim(ctx, 0, 0, entries+1)
		b.StopTimer()
		require.NoError(b, err)
		spent += redisCPU(b, n) - before
		trimmed += int(gone) * size
		b.StartTimer()
	}
	b.ReportMetric(spent*1e6/float64(trimmed), "redis-us/order")
}
