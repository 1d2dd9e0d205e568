package persist

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
)

// ledger is a migrated ledger with one partition in epoch 1 and the product "lamp".
func ledger(t testing.TB, units int64) *pgxpool.Pool {
	t.Helper()
	url := devtest.Database(t)
	pool, err := Connect(t.Context(), url, 4)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	prepareLedger(t, pool, units)
	return pool
}

func prepareLedger(t testing.TB, pool *pgxpool.Pool, units int64) {
	t.Helper()
	_, err := MigrateUp(t.Context(), pool)
	require.NoError(t, err)
	require.NoError(t, EnsurePartitions(t.Context(), pool, 1))
	exec(t, pool, `UPDATE partitions SET epoch = 1, namespace = '1-0123456789abcdef', replid = 'r'`)
	exec(t, pool, `INSERT INTO products (id, partition, name, price_cents, initial_stock, change_number, change_taken)
		VALUES ('lamp', 0, 'lamp', 0, $1, 1, 1)`, units)
}

func exec(t testing.TB, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	_, err := pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func connOf(t testing.TB, pool *pgxpool.Pool) *pgx.Conn {
	t.Helper()
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	t.Cleanup(conn.Release)
	return conn.Conn()
}

func positionOf(t testing.TB, pool *pgxpool.Pool) position {
	t.Helper()
	at, err := readPosition(t.Context(), pool, 0)
	require.NoError(t, err)
	return at
}

func count(t testing.TB, pool *pgxpool.Pool, sql string) (n int64) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), sql).Scan(&n))
	return n
}

// entryOf is one log entry with n confirmed orders of a unit each.
func entryOf(sequence uint64, n int) engine.Entry {
	e := engine.Entry{Sequence: sequence, TimeMs: 1_700_000_000_000}
	for i := range n {
		e.Orders = append(e.Orders, engine.LoggedOrder{Order: engine.Order{
			ID: engine.NewOrderID(0, time.Now()), Product: "lamp", User: fmt.Sprintf("user-%d-%d", sequence, i), Quantity: 1,
			Status: engine.StatusConfirmed, Version: 1, CreatedAtMs: e.TimeMs, UpdatedAtMs: e.TimeMs, Sequence: sequence, Index: i,
		}})
	}
	return e
}

// commit brings entries into the ledger as a drainer does.
func commit(ctx context.Context, conn *pgx.Conn, partition int, from position, entries []engine.Entry) (position, error) {
	return commitBatch(ctx, conn, partition, from, fold(entries))
}

func TestOfTwoDrainersOneCommits(t *testing.T) {
	pool := ledger(t, 100)
	at := positionOf(t, pool)
	entries := []engine.Entry{entryOf(1, 3), entryOf(2, 3)}
	to, err := commit(t.Context(), connOf(t, pool), 0, at, entries)
	require.NoError(t, err)
	require.EqualValues(t, 2, to.sequence)
	require.EqualValues(t, 6, to.orders)

	_, err = commit(t.Context(), connOf(t, pool), 0, at, entries)
	require.ErrorIs(t, err, errMoved)
	require.EqualValues(t, 6, count(t, pool, `SELECT sold FROM products`))
	require.EqualValues(t, 6, count(t, pool, `SELECT count(*) FROM orders`))
	require.Equal(t, to, positionOf(t, pool))
}

func TestADrainerFrozenInItsTransactionCommitsNothing(t *testing.T) {
	pool := ledger(t, 100)
	at := positionOf(t, pool)
	entries := []engine.Entry{entryOf(1, 3)}

	zombie := &ledgerTx{partition: 0, from: at, batch: fold(entries)}
	require.NoError(t, zombie.begin(t.Context(), connOf(t, pool)))

	// Another drainer takes over: it waits for the row, and Postgres ends the frozen transaction.
	done := make(chan error, 1)
	go func() {
		_, err := commit(context.WithoutCancel(t.Context()), connOf(t, pool), 0, at, entries)
		done <- err
	}()
	awaitLockWaiter(t, pool)
	exec(t, pool, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()`)
	require.NoError(t, <-done)

	v := judge(zombie.batch, zombie.products, zombie.old)
	_, err := zombie.commit(t.Context(), &v)
	require.Error(t, err, "the thawed drainer finds its transaction gone")
	require.EqualValues(t, 3, count(t, pool, `SELECT count(*) FROM orders`))
	require.EqualValues(t, 3, count(t, pool, `SELECT sold FROM products`))
}

// awaitLockWaiter waits until some session waits for a lock.
func awaitLockWaiter(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	const waiting = `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`
	for count(t, pool, waiting) == 0 {
		select {
		case <-tick.C:
		case <-deadline:
			require.FailNow(t, "nobody waits for a lock")
		}
	}
}

func TestACommitBelongsToItsEpoch(t *testing.T) {
	changes := map[string]string{
		"another epoch":     `UPDATE partitions SET epoch = 2`,
		"another namespace": `UPDATE partitions SET namespace = '1-fedcba9876543210'`,
		"another history":   `UPDATE partitions SET replid = 'other'`,
		"an operator":       `UPDATE partitions SET operator_hold = 'test'`,
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			pool := ledger(t, 100)
			at := positionOf(t, pool)
			exec(t, pool, change)
			_, err := commit(t.Context(), connOf(t, pool), 0, at, []engine.Entry{entryOf(1, 1)})
			require.ErrorIs(t, err, errMoved)
			require.Zero(t, count(t, pool, `SELECT count(*) FROM orders`))
		})
	}
}

func TestAnOrderThatHasARowIsNotCountedAgain(t *testing.T) {
	pool := ledger(t, 100)
	at := positionOf(t, pool)
	first := entryOf(1, 2)
	at, err := commit(t.Context(), connOf(t, pool), 0, at, []engine.Entry{first})
	require.NoError(t, err)

	again := entryOf(2, 1)
	again.Orders = append(again.Orders, first.Orders...)
	_, err = commit(t.Context(), connOf(t, pool), 0, at, []engine.Entry{again})
	require.NoError(t, err)
	require.EqualValues(t, 3, count(t, pool, `SELECT count(*) FROM orders`))
	require.EqualValues(t, 3, count(t, pool, `SELECT sold FROM products`))
}

func TestAChangedOrderMovesTheCounterByWhatChanged(t *testing.T) {
	pool := ledger(t, 100)
	at := positionOf(t, pool)
	first := entryOf(1, 2)
	at, err := commit(t.Context(), connOf(t, pool), 0, at, []engine.Entry{first})
	require.NoError(t, err)

	cancelled := engine.Entry{Sequence: 2, Orders: []engine.LoggedOrder{first.Orders[0]}}
	cancelled.Orders[0].Order.Status = engine.StatusCancelled
	cancelled.Orders[0].Order.Version, cancelled.Orders[0].Order.Sequence = 2, 2
	_, err = commit(t.Context(), connOf(t, pool), 0, at, []engine.Entry{cancelled})
	require.NoError(t, err)
	require.EqualValues(t, 1, count(t, pool, `SELECT sold FROM products`))
	require.EqualValues(t, 1, count(t, pool, `SELECT count(*) FROM orders WHERE status = 'cancelled' AND version = 2 AND sequence = 2`))
}

func TestADeadlockIsTriedAgain(t *testing.T) {
	pool := ledger(t, 100)
	exec(t, pool, `CREATE SEQUENCE tries`)
	exec(t, pool, `CREATE FUNCTION deadlock_once() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF nextval('tries') = 1 THEN RAISE EXCEPTION 'once' USING ERRCODE = 'deadlock_detected'; END IF;
			RETURN NEW;
		END $$`)
	exec(t, pool, `CREATE TRIGGER deadlock_once BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION deadlock_once()`)
	_, err := commit(t.Context(), connOf(t, pool), 0, positionOf(t, pool), []engine.Entry{entryOf(1, 1)})
	require.NoError(t, err)
	require.EqualValues(t, 1, count(t, pool, `SELECT count(*) FROM orders`))
}

func TestTheDatabaseItselfRefusesToOversell(t *testing.T) {
	pool := ledger(t, 5)
	_, err := pool.Exec(t.Context(), `UPDATE products SET sold = 6`)
	require.ErrorContains(t, err, "products_never_oversold")
}

func TestContiguous(t *testing.T) {
	require.True(t, contiguous([]engine.Entry{{Sequence: 4}, {Sequence: 5}}, 3))
	require.False(t, contiguous([]engine.Entry{{Sequence: 5}}, 3), "one is missing before")
	require.False(t, contiguous([]engine.Entry{{Sequence: 4}, {Sequence: 6}}, 3), "one is missing within")
	require.False(t, contiguous([]engine.Entry{{Sequence: 3}}, 3), "one is there already")
}

func TestAnnouncements(t *testing.T) {
	w := engine.Watermark{Epoch: 3, Replid: "c0ffee", Sequence: 14, Orders: 159, Refused: 2}
	partition, got, err := parseAnnouncement(announcement(6, w))
	require.NoError(t, err)
	require.Equal(t, 6, partition)
	require.Equal(t, w, got)
	for _, bad := range []string{"", "1 2 3 4 5", "1 2 3 4 x c0ffee", "1 2 3 4 -5 c0ffee", "1 2 3 4 5 c0ffee 7"} {
		_, _, err := parseAnnouncement(bad)
		require.ErrorIs(t, err, errAnnouncement, "%q", bad)
	}
}

func TestFoldKeepsTheLastStateOfEachOrder(t *testing.T) {
	first := entryOf(7, 2)
	second := engine.Entry{Sequence: 8, Orders: []engine.LoggedOrder{first.Orders[1], {Err: errors.New("unreadable")}}}
	second.Orders[0].Order.Version = 2
	b := fold([]engine.Entry{first, second, {Sequence: 9, Change: &engine.TakenChange{Product: "sofa", Number: 2}}})
	require.EqualValues(t, 7, b.first)
	require.EqualValues(t, 9, b.last)
	require.EqualValues(t, 4, b.logged)
	require.Len(t, b.orders, 2)
	require.Len(t, b.unreadable, 1)
	require.Equal(t, []string{"lamp", "sofa"}, b.products())
	require.Equal(t, []engine.OrderID{first.Orders[1].Order.ID}, (&ledgerTx{batch: b}).ordersToLock())
}
