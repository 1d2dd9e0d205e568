package persist_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
	"flashsale/persist"
)

// sell keeps buyers buying a unit each until its stop is called, and returns how many orders were accepted.
func sell(n *node, product, crowd string) (stop func() int64) {
	ctx, cancel := context.WithCancel(context.Background())
	var accepted atomic.Int64
	var buyers sync.WaitGroup
	for worker := range 8 {
		buyers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if _, err := n.buy(product, fmt.Sprintf("%s-%d-%d", crowd, worker, i), 1); err == nil {
					accepted.Add(1)
				}
			}
		})
	}
	return func() int64 {
		cancel()
		buyers.Wait()
		return accepted.Load()
	}
}

func TestPostgresKilledUnderLoad(t *testing.T) {
	postgres := devtest.Postgres(t)
	s := &stack{redisURL: devtest.Redis(t).URL(), dbURL: postgres.URL()}
	s.config.Partitions = 2
	s.pool = connect(t, s.dbURL)
	_, err := persist.MigrateUp(t.Context(), s.pool)
	require.NoError(t, err)
	n := s.start(t)
	n.product(t, "lamp", 1_000_000, onSale)

	stop := sell(n, "lamp", "crowd")
	for range 2 {
		before := n.Watermark(n.PartitionOf("lamp")).Sequence
		eventually(t, "the drain to be under way", func() bool {
			return n.Watermark(n.PartitionOf("lamp")).Sequence > before+10
		})
		require.NoError(t, postgres.Kill())
		require.NoError(t, postgres.Restart(t.Context()))
	}
	sold := stop()
	require.Positive(t, sold)
	s.awaitLedger(t, n, "lamp", sold)
	require.Equal(t, sold, s.count(t, `SELECT count(*) FROM orders`))
	require.Zero(t, s.count(t, `SELECT count(*) FROM dead_letters`))
}

func TestRedisKilledUnderLoad(t *testing.T) {
	redis := devtest.Redis(t) // its AOF is written before the answer: what was answered survives a kill
	s := newStack(t, redis.URL())
	n := s.start(t)
	n.product(t, "lamp", 1_000_000, onSale)

	stop := sell(n, "lamp", "crowd")
	for range 2 {
		before := n.Watermark(n.PartitionOf("lamp")).Sequence
		eventually(t, "the drain to be under way", func() bool {
			return n.Watermark(n.PartitionOf("lamp")).Sequence > before+10
		})
		require.NoError(t, redis.Kill())
		require.NoError(t, redis.Restart(t.Context()))
		n.AwaitOpen(t)
	}
	accepted := stop()
	require.Positive(t, accepted)
	stock, _, err := n.Stock(t.Context(), "lamp")
	require.NoError(t, err)
	require.GreaterOrEqual(t, stock.Sold, accepted, "every order that was answered is there")
	require.Equal(t, stock.Initial, stock.Current+stock.Held+stock.Sold)
	s.awaitLedger(t, n, "lamp", stock.Sold)
}

func TestALeaderThatEndsIsFollowed(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	first := s.start(t)
	second := s.start(t)
	first.product(t, "lamp", 1_000_000, onSale)
	stop := sell(second, "lamp", "crowd")
	eventually(t, "the drain to be under way", func() bool { return second.Watermark(second.PartitionOf("lamp")).Sequence > 10 })
	first.stop()
	reached := second.Watermark(second.PartitionOf("lamp")).Sequence
	eventually(t, "the other process to drain on", func() bool {
		return second.Watermark(second.PartitionOf("lamp")).Sequence > reached+10
	})
	s.awaitLedger(t, second, "lamp", stop())
}
