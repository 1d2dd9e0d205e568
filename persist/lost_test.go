package persist_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metrics"
	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// What Redis forgot before it was drained can't come back, but nobody is to find out by chance.
func TestLostOrdersAreCounted(t *testing.T) {
	redis := devtest.Redis(t)
	s := newStack(t, redis.URL())
	s.keeper.Metrics = metrics.NewSet()
	n := s.start(t)
	n.product(t, "lamp", 100, onSale)
	block, err := s.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = block.Exec(t.Context(), `SELECT 1 FROM products FOR UPDATE`)
	require.NoError(t, err)
	const accepted = 10
	for i := range accepted {
		_, err := n.buy("lamp", fmt.Sprint("buyer-", i), 1)
		require.NoError(t, err)
	}
	c := client(t, redis.URL())
	require.NoError(t, c.Do(t.Context(), c.B().Flushall().Build()).Error())
	require.NoError(t, block.Rollback(t.Context()))
	eventually(t, "sales to go on", func() bool {
		_, err := n.buy("lamp", "late", 1)
		return err == nil
	})
	rows := s.count(t, `SELECT count(*) FROM orders WHERE user_id <> 'late'`)
	require.Less(t, rows, int64(accepted), "the drainer stood before most of them")
	var shown strings.Builder
	s.keeper.Metrics.WritePrometheus(&shown)
	require.Contains(t, shown.String(), fmt.Sprintf("flashsale_lost_orders_total %d\n", accepted-rows))
}
