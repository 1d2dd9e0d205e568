package persist_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
	"flashsale/persist"
)

// epochOf reads a partition's epoch from the ledger.
func (s *stack) epochOf(t testing.TB, partition int) (epoch int64, namespace string) {
	t.Helper()
	const query = `SELECT epoch, namespace FROM partitions WHERE partition = $1`
	require.NoError(t, s.pool.QueryRow(t.Context(), query, partition).Scan(&epoch, &namespace))
	return epoch, namespace
}

func TestARestartedRedisIsAdopted(t *testing.T) {
	redis := devtest.Redis(t)
	s := newStack(t, redis.URL())
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	partition := n.PartitionOf("lamp")
	for i := range 3 {
		_, err := n.buy("lamp", fmt.Sprint("early-", i), 1)
		require.NoError(t, err)
	}
	epoch, namespace := s.epochOf(t, partition)

	require.NoError(t, redis.Kill())
	require.NoError(t, redis.Restart(t.Context()))
	eventually(t, "sales to go on", func() bool {
		_, err := n.buy("lamp", "late", 1)
		return err == nil
	})
	again, sameNamespace := s.epochOf(t, partition)
	require.Equal(t, epoch, again, "a plain restart is adopted, not rebuilt")
	require.Equal(t, namespace, sameNamespace)
	s.awaitLedger(t, n, "lamp", 4)
}

func TestAnEmptiedRedisIsRebuiltFromTheLedger(t *testing.T) {
	redis := devtest.Redis(t)
	s := newStack(t, redis.URL())
	n := s.start(t)
	n.product(t, "lamp", 10, engine.Terms{Active: true, PerUserLimit: 3})
	n.product(t, "sofa", 5, engine.Terms{Active: false})
	_, err := n.buy("lamp", "ann", 3)
	require.NoError(t, err)
	s.awaitLedger(t, n, "lamp", 3)
	epoch, _ := s.epochOf(t, n.PartitionOf("lamp"))

	c := client(t, redis.URL())
	require.NoError(t, c.Do(t.Context(), c.B().Flushall().Build()).Error())
	eventually(t, "sales to go on", func() bool {
		_, err := n.buy("lamp", "bob", 1)
		return err == nil
	})
	again, _ := s.epochOf(t, n.PartitionOf("lamp"))
	require.Equal(t, epoch+1, again)

	_, err = n.buy("lamp", "ann", 1)
	require.ErrorIs(t, err, engine.ErrLimitExceeded, "what a buyer had is known again")
	n.AwaitOpen(t)
	_, err = n.buy("sofa", "ann", 1)
	require.ErrorIs(t, err, engine.ErrSaleInactive, "the terms are known again")
	stock, found, err := n.Stock(t.Context(), "lamp")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, engine.Stock{Current: 6, Sold: 4, Initial: 10, Change: 1}, stock)
	s.awaitLedger(t, n, "lamp", 4)
	s.expectNoForeignKeys(t, n)
}

func TestRedisThatForgotTheEndIsRebuilt(t *testing.T) {
	redis := devtest.Redis(t, "appendonly no")
	s := newStack(t, redis.URL())
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	c := client(t, redis.URL())
	require.NoError(t, c.Do(t.Context(), c.B().Save().Build()).Error())
	_, err := n.buy("lamp", "ann", 4)
	require.NoError(t, err)
	s.awaitLedger(t, n, "lamp", 4)

	require.NoError(t, redis.Kill()) // what it comes back with is the state before ann
	require.NoError(t, redis.Restart(t.Context()))
	eventually(t, "sales to go on", func() bool {
		_, err := n.buy("lamp", "bob", 1)
		return err == nil
	})
	stock, _, err := n.Stock(t.Context(), "lamp")
	require.NoError(t, err)
	require.Equal(t, engine.Stock{Current: 5, Sold: 5, Initial: 10, Change: 1}, stock)
}

func TestALedgerThatWentBackIsHeldForAnOperator(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	_, err := n.buy("lamp", "ann", 1)
	require.NoError(t, err)
	s.awaitLedger(t, n, "lamp", 1)
	partition := n.PartitionOf("lamp")

	_, err = s.pool.Exec(t.Context(), `UPDATE partitions SET sequence = sequence - 1 WHERE partition = $1`, partition)
	require.NoError(t, err)
	eventually(t, "the partition to be held", func() bool { return n.State(partition).Epoch.Held != "" })
	_, err = n.buy("lamp", "bob", 1)
	require.ErrorIs(t, err, engine.ErrPartitionClosed)
	require.Contains(t, n.State(partition).Reason, "held by an operator")
}

// Whoever leads may have been started after the ledger went back; then another process knows.
func TestALedgerThatWentBackIsHeldByWhoeverKnows(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	earlier := s.start(t)
	earlier.product(t, "lamp", 10, onSale)
	partition := earlier.PartitionOf("lamp")
	earlier.stop()
	leader, err := s.pool.Acquire(t.Context())
	require.NoError(t, err)
	defer leader.Release()
	_, err = leader.Exec(t.Context(), `SELECT pg_advisory_lock($1, $2)`, 0x666c6173, partition)
	require.NoError(t, err)
	n := s.start(t)
	require.NotZero(t, n.Watermark(partition).Sequence)

	_, err = s.pool.Exec(t.Context(), `UPDATE partitions SET sequence = sequence - 1 WHERE partition = $1`, partition)
	require.NoError(t, err)
	eventually(t, "the partition to be held", func() bool { return n.State(partition).Epoch.Held != "" })
	require.Contains(t, n.State(partition).Reason, "but was at epoch")
}

func TestAGapInTheLogIsHeldUntilAnOperatorDecides(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	_, err := n.buy("lamp", "ann", 1)
	require.NoError(t, err)
	s.awaitLedger(t, n, "lamp", 1)
	partition := n.PartitionOf("lamp")
	epoch, _ := s.epochOf(t, partition)
	n.stop()

	// Two entries that nobody drained, of which the first is gone.
	s.appendEntry(t, n, "lamp", "orders", "1", "an-id", "a record")
	s.appendEntry(t, n, "lamp", "orders", "1", "an-id", "a record")
	keys, err := n.EpochKeys(partition, n.State(partition).Epoch)
	require.NoError(t, err)
	c := client(t, s.redisURL)
	oldest, err := c.Do(t.Context(), c.B().Xrevrange().Key(keys.Log).End("+").Start("-").Count(2).Build()).AsXRange()
	require.NoError(t, err)
	require.NoError(t, c.Do(t.Context(), c.B().Xdel().Key(keys.Log).Id(oldest[1].ID).Build()).Error())

	s.startShut(t)
	const held = `SELECT count(*) FROM partitions WHERE operator_hold IS NOT NULL`
	eventually(t, "the partition to be held", func() bool { return s.count(t, held) == 1 })

	_, err = s.pool.Exec(t.Context(), `UPDATE partitions SET operator_hold = NULL, rebuild_reason = 'operator' WHERE operator_hold IS NOT NULL`)
	require.NoError(t, err)
	again := s.start(t)
	_, err = again.buy("lamp", "bob", 1)
	require.NoError(t, err)
	later, _ := s.epochOf(t, partition)
	require.Greater(t, later, epoch+1, "later than anybody may remember")
	s.awaitLedger(t, again, "lamp", 2)
}

func TestAnotherNumberOfPartitionsIsRefused(t *testing.T) {
	s := newStack(t, devtest.SharedRedis(t))
	s.config.Prefix = "partitions-test"
	require.NoError(t, persist.EnsurePartitions(t.Context(), s.pool, 2))
	require.NoError(t, persist.EnsurePartitions(t.Context(), s.pool, 2))
	require.ErrorContains(t, persist.EnsurePartitions(t.Context(), s.pool, 3), "first used with 2 partitions")

	c := client(t, s.redisURL)
	two, err := engine.New(c, engine.Config{Prefix: s.config.Prefix, Partitions: 2})
	require.NoError(t, err)
	require.NoError(t, two.ClaimKeyspace(t.Context()))
	three, err := engine.New(c, engine.Config{Prefix: s.config.Prefix, Partitions: 3})
	require.NoError(t, err)
	require.ErrorContains(t, three.ClaimKeyspace(t.Context()), "first used with 2 partitions")
}

// awaitLedger waits until the ledger has sold so many units of a product, and checks that rows and counter agree.
func (s *stack) awaitLedger(t testing.TB, n *node, product string, units int64) {
	t.Helper()
	const sold = `SELECT coalesce(sum(quantity), 0)::bigint FROM orders WHERE product_id = $1 AND status = 'confirmed'`
	eventually(t, fmt.Sprintf("%d units of %s in the ledger", units, product), func() bool {
		return s.count(t, sold, product) >= units
	})
	require.Equal(t, units, s.count(t, sold, product))
	require.Equal(t, units, s.count(t, `SELECT sold FROM products WHERE id = $1`, product))
	p := n.PartitionOf(product)
	eventually(t, "the watermark", func() bool { return n.State(p).Backlog == 0 })
}

// expectNoForeignKeys fails if Redis has a key that belongs to no epoch in force.
func (s *stack) expectNoForeignKeys(t testing.TB, n *node) {
	t.Helper()
	known := map[string]bool{"fs:keyspace": true}
	for p := range n.Partitions() {
		known[fmt.Sprintf("fs:{p%02d}:fence", p)] = true
		keys, err := n.EpochKeys(p, n.State(p).Epoch)
		require.NoError(t, err)
		for _, key := range keys.All() {
			known[key] = true
		}
	}
	c := client(t, s.redisURL)
	keys, err := c.Do(t.Context(), c.B().Keys().Pattern("*").Build()).AsStrSlice()
	require.NoError(t, err)
	for _, key := range keys {
		require.True(t, known[key], "unexpected key %s", key)
	}
}
