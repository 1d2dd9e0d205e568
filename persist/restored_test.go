package persist_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// backup copies the ledger, and restore puts it back: everything since is forgotten.
func (s *stack) backup(t *testing.T) (restore func()) {
	t.Helper()
	s.exec(t, `CREATE TABLE saved_partitions AS TABLE partitions`)
	s.exec(t, `CREATE TABLE saved_products AS TABLE products`)
	s.exec(t, `CREATE TABLE saved_orders AS TABLE orders`)
	return func() {
		s.exec(t, `TRUNCATE partitions, products, orders CASCADE`)
		s.exec(t, `INSERT INTO partitions SELECT * FROM saved_partitions`)
		s.exec(t, `INSERT INTO products SELECT * FROM saved_products`)
		s.exec(t, `INSERT INTO orders SELECT * FROM saved_orders`)
	}
}

func (s *stack) exec(t *testing.T, sql string) {
	t.Helper()
	_, err := s.pool.Exec(t.Context(), sql)
	require.NoError(t, err)
}

// A restore as it is done: everybody is stopped, so nobody remembers where the ledger was; and Redis was rebuilt since the
// backup, so it does not have the epoch that the ledger names. Redis remembers that there was a later one.
func TestALedgerRestoredFromBeforeARebuildIsHeld(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	partition := n.PartitionOf("lamp")
	restore := s.backup(t)
	old, _ := s.epochOf(t, partition)

	s.exec(t, `UPDATE partitions SET rebuild_reason = 'operator'`) // a leap, as after an earlier restore
	eventually(t, "the rebuild", func() bool { return n.State(partition).Epoch.Number > uint64(old) })
	forgotten, _ := s.epochOf(t, partition)
	eventually(t, "sales to go on", func() bool { _, err := n.buy("lamp", "ann", 7); return err == nil })
	s.awaitLedger(t, n, "lamp", 7)
	n.stop()
	restore()

	again := s.startShut(t)
	eventually(t, "the partition to be held", func() bool { return again.State(partition).Epoch.Held != "" })
	require.Contains(t, again.State(partition).Reason, "it has gone back")

	s.exec(t, `UPDATE partitions SET operator_hold = NULL, rebuild_reason = 'operator'`)
	eventually(t, "the ledger to be the truth", func() bool { _, err := again.buy("lamp", "bob", 10); return err == nil })
	released, _ := s.epochOf(t, partition)
	require.Greater(t, released, forgotten, "later than what anybody remembers")
}
