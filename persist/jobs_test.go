package persist_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
)

func (n *node) job(t testing.TB, id engine.OrderID) engine.Job {
	t.Helper()
	job, err := n.store.Job(t.Context(), id)
	require.NoError(t, err)
	return job
}

func ordersKey(k engine.Keys) string { return k.Orders }

// queued gives Redis an order that waits for the ledger, with its record, and returns it.
func (s *stack) queued(t testing.TB, n *node, o engine.Order) engine.Order {
	t.Helper()
	o.ID = engine.NewOrderID(n.PartitionOf(o.Product), time.Now())
	p := n.PartitionOf(o.Product)
	keys, err := n.EpochKeys(p, n.State(p).Epoch)
	require.NoError(t, err)
	c := client(t, s.redisURL)
	sequence, err := c.Do(t.Context(), c.B().Hget().Key(keys.Meta).Field("sequence").Build()).AsUint64()
	require.NoError(t, err)
	o.Sequence = sequence + 1
	s.tamper(t, n, o.Product, ordersKey, string(o.ID[:]), o.Record())
	return s.logged(t, n, o)
}

func TestAJobGoesFromRedisToTheLedger(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	s.config.Partitions = 1
	a, b := s.start(t), s.start(t)
	a.product(t, "lamp", 100, onSale)
	release := s.stall(t)
	drained := a.Watermark(0).Orders
	hold := holdOf("lamp", "ann", 1)
	hold.Number = drained + 1
	hold = s.queued(t, a, hold)
	eventually(t, "somebody to have it in hand", func() bool {
		return a.job(t, hold.ID).State == engine.JobActive || b.job(t, hold.ID).State == engine.JobActive
	})
	drainer, other := a, b
	if b.job(t, hold.ID).State == engine.JobActive {
		drainer, other = b, a
	}
	require.Equal(t, engine.JobWaiting, other.job(t, hold.ID).State, "another process does not see it")
	require.EqualValues(t, 1, drainer.job(t, hold.ID).Position)
	counts, err := drainer.store.OrderCounts(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, counts.Active)

	next := holdOf("lamp", "bob", 1)
	next.Number = drained + 5
	next = s.queued(t, a, next)
	job := drainer.job(t, next.ID)
	require.Equal(t, []any{engine.JobWaiting, int64(5), int64(0)}, []any{job.State, job.Position, job.RecordedAtMs})
	before := time.Now().Add(-time.Second)
	release()
	for _, n := range []*node{a, b} {
		eventually(t, "both in the ledger", func() bool {
			return n.job(t, hold.ID).State == engine.JobCompleted && n.job(t, next.ID).State == engine.JobCompleted
		})
		job = n.job(t, hold.ID)
		require.Zero(t, job.Position)
		require.Greater(t, job.RecordedAtMs, before.UnixMilli())
		require.Equal(t, hold.UpdatedAtMs, job.UpdatedAtMs)
	}
	counts, err = drainer.store.OrderCounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, engine.OrderCounts{Pending: 2}, counts)
}

func TestAJobThatFails(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	_, err := s.pool.Exec(t.Context(), `ALTER TABLE orders ADD CONSTRAINT no_poison CHECK (user_id <> 'poison')`)
	require.NoError(t, err)
	n := s.start(t)
	n.product(t, "lamp", 2, onSale)
	dead, err := n.buy("lamp", "poison", 1)
	require.NoError(t, err)
	eventually(t, "the dead letter", func() bool { return n.job(t, dead.ID).State == engine.JobFailed })
	job := n.job(t, dead.ID)
	require.Contains(t, job.Reason, "no_poison")
	require.Positive(t, job.RecordedAtMs)

	s.tamper(t, n, "lamp", stockKey, "lamp", "1,0,4,5,1")
	tooMany := holdOf("lamp", "ann", 3)
	tooMany.Status, tooMany.ExpiresAtMs = engine.StatusConfirmed, 0
	tooMany = s.queued(t, n, tooMany)
	eventually(t, "the refusal", func() bool { return n.job(t, tooMany.ID).State == engine.JobFailed })
	require.Contains(t, n.job(t, tooMany.ID).Reason, "more was sold")

	counts, err := n.store.OrderCounts(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, counts.Failed)
	require.EqualValues(t, 2, counts.Total())
	_, err = n.store.Job(t.Context(), engine.NewOrderID(n.PartitionOf("lamp"), time.Now()))
	require.Equal(t, engine.CodeNotFound, codeOf(err))
}

func TestStockTotals(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	n := s.start(t)
	empty, err := n.store.StockTotals(t.Context())
	require.NoError(t, err)
	require.Zero(t, empty)
	stocks := map[string]string{
		"plenty": "50,10,40,100,1", "low": "10,0,90,100,1", "lower": "1,9,90,100,1", "just-not-low": "11,0,89,100,1",
		"held": "0,4,6,10,1", "nothing": "0,0,0,0,1",
	}
	for product, stock := range stocks {
		s.tamper(t, n, product, stockKey, product, stock)
	}
	totals, err := n.store.StockTotals(t.Context())
	require.NoError(t, err)
	require.Equal(t, engine.StockTotals{Products: 6, OutOfStock: 2, LowStock: 2, Initial: 410, Current: 72}, totals)
}

func TestStockTotalsOfManyProductsAreReadInPortions(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	s.config.Partitions = 1
	n := s.start(t)
	keys, err := n.EpochKeys(0, n.State(0).Epoch)
	require.NoError(t, err)
	c := client(t, s.redisURL)
	const products = 3000
	args := make([]string, 0, 2*products)
	for range products {
		id := engine.NewOrderID(n.PartitionOf("x"), time.Now())
		args = append(args, id.String(), "1,0,1,2,1")
	}
	require.NoError(t, c.Do(t.Context(), c.B().Arbitrary("HSET").Keys(keys.Stock).Args(args...).Build()).Error())
	totals, err := n.store.StockTotals(t.Context())
	require.NoError(t, err)
	require.Equal(t, engine.StockTotals{Products: products, Initial: 2 * products, Current: products}, totals)

	n.stop()
	require.NoError(t, c.Do(t.Context(), c.B().Flushall().Build()).Error())
	_, err = n.Check(t.Context(), 0)
	require.NoError(t, err)
	_, err = n.store.StockTotals(t.Context())
	require.ErrorIs(t, err, engine.ErrPartitionClosed, "an emptied Redis is no shop without products")
}
