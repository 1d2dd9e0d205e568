package persist

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
)

// after is an order's next state as a log entry has it.
func after(o engine.LoggedOrder, sequence uint64, status engine.Status, quantity int64) engine.LoggedOrder {
	o.Order.Status, o.Order.Quantity = status, quantity
	o.Order.Version, o.Order.Sequence, o.Order.Index = o.Order.Version+1, sequence, 0
	o.Order.UpdatedAtMs++
	return o
}

// held is an entry with one hold of some units.
func held(sequence uint64, quantity int64) engine.Entry {
	e := entryOf(sequence, 1)
	o := &e.Orders[0].Order
	o.Status, o.Quantity, o.ExpiresAtMs = engine.StatusPending, quantity, o.CreatedAtMs+60_000
	return e
}

func one(logged engine.LoggedOrder) engine.Entry {
	return engine.Entry{Sequence: logged.Order.Sequence, TimeMs: logged.Order.UpdatedAtMs, Orders: []engine.LoggedOrder{logged}}
}

// commitEach brings each entry in a transaction of its own.
func commitEach(t *testing.T, pool *pgxpool.Pool, entries ...engine.Entry) position {
	t.Helper()
	at := positionOf(t, pool)
	conn := connOf(t, pool)
	for _, e := range entries {
		var err error
		at, err = commit(t.Context(), conn, 0, at, []engine.Entry{e})
		require.NoError(t, err)
	}
	requireCounted(t, pool)
	return at
}

// requireCounted checks the counters of states against the rows, and sold against the confirmed ones.
func requireCounted(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	const wrong = `
SELECT count(*) FROM partitions p, LATERAL (
       SELECT count(*) FILTER (WHERE status = 'pending') AS pending, count(*) FILTER (WHERE status = 'confirmed') AS confirmed,
              count(*) FILTER (WHERE status = 'cancelled') AS cancelled, count(*) FILTER (WHERE status = 'expired') AS expired,
              count(*) FILTER (WHERE status = 'failed') AS failed
         FROM (SELECT CASE WHEN (SELECT d.record LIKE 'c,%' AND (d.epoch, d.sequence, d.idx) > (o.epoch, o.sequence, o.idx)
                                   FROM dead_letters d WHERE d.order_id = o.id AND d.quantity IS NOT NULL
                                  ORDER BY d.id DESC LIMIT 1) AND status IN ('pending', 'expired')
                           THEN 'failed' ELSE status END AS status FROM orders o UNION ALL
               SELECT 'failed' FROM (SELECT DISTINCT order_id FROM dead_letters WHERE order_id IS NOT NULL) d
                WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.id = d.order_id)) s) c
 WHERE (p.pending_orders, p.confirmed_orders, p.cancelled_orders, p.expired_orders, p.failed_orders)
       <> (c.pending, c.confirmed, c.cancelled, c.expired, c.failed)`
	require.Zero(t, count(t, pool, wrong), "the counters of states differ from the rows")
	const sums = `SELECT sold - (SELECT coalesce(sum(quantity), 0) FROM orders WHERE status = 'confirmed') FROM products`
	require.Zero(t, count(t, pool, sums+` WHERE id = 'lamp'`))
}

func TestTransitionsMoveWhatTheyChange(t *testing.T) {
	cases := map[string]struct {
		states []engine.Status
		last   int64 // units of the last state
		sold   int64
	}{
		"held":                    {[]engine.Status{engine.StatusPending}, 3, 0},
		"held, extended":          {[]engine.Status{engine.StatusPending, engine.StatusPending}, 3, 0},
		"confirmed":               {[]engine.Status{engine.StatusPending, engine.StatusConfirmed}, 3, 3},
		"confirmed in part":       {[]engine.Status{engine.StatusPending, engine.StatusConfirmed}, 2, 2},
		"cancelled":               {[]engine.Status{engine.StatusPending, engine.StatusCancelled}, 3, 0},
		"expired":                 {[]engine.Status{engine.StatusPending, engine.StatusExpired}, 3, 0},
		"confirmed late":          {[]engine.Status{engine.StatusPending, engine.StatusExpired, engine.StatusConfirmed}, 3, 3},
		"cancelled after the buy": {[]engine.Status{engine.StatusPending, engine.StatusConfirmed, engine.StatusCancelled}, 2, 0},
	}
	for name, c := range cases {
		entries := []engine.Entry{held(1, 3)}
		for i, status := range c.states[1:] {
			quantity := int64(3)
			if i == len(c.states)-2 {
				quantity = c.last
			}
			entries = append(entries, one(after(entries[i].Orders[0], uint64(i+2), status, quantity)))
		}
		check := func(t *testing.T, pool *pgxpool.Pool) {
			requireCounted(t, pool)
			require.Equal(t, c.sold, count(t, pool, `SELECT sold FROM products`))
			var status engine.Status
			require.NoError(t, pool.QueryRow(t.Context(), `SELECT status FROM orders WHERE version = $1 AND quantity = $2`,
				len(c.states), c.last).Scan(&status))
			require.Equal(t, c.states[len(c.states)-1], status)
		}
		t.Run(name+", each alone", func(t *testing.T) {
			pool := ledger(t, 10)
			commitEach(t, pool, entries...)
			check(t, pool)
		})
		t.Run(name+", in one batch", func(t *testing.T) {
			pool := ledger(t, 10)
			_, err := commit(t.Context(), connOf(t, pool), 0, positionOf(t, pool), entries)
			require.NoError(t, err)
			check(t, pool)
		})
	}
}

func TestNewAndChangedOrdersOfABatchAllLand(t *testing.T) {
	pool := ledger(t, 10)
	hold := held(1, 2)
	commitEach(t, pool, hold)
	mixed := entryOf(2, 3)
	mixed.Orders = append(mixed.Orders, after(hold.Orders[0], 2, engine.StatusConfirmed, 2))
	mixed.Orders[0].Order.IdempotencyKey, mixed.Orders[0].Order.Request = "my|key", engine.RequestText(1, 0)
	commitEach(t, pool, mixed)
	require.EqualValues(t, 5, count(t, pool, `SELECT sold FROM products`))
	require.EqualValues(t, 4, count(t, pool, `SELECT confirmed_orders FROM partitions`))
	require.EqualValues(t, 1, count(t, pool, `SELECT count(*) FROM orders WHERE idempotency_key = 'my|key' AND idempotency_request = '1;0'`))
	require.EqualValues(t, 3, count(t, pool, `SELECT count(*) FROM orders WHERE idempotency_key IS NULL`))
}

func TestARowSaysWhenTheLedgerLastHeardOfIt(t *testing.T) {
	pool := ledger(t, 10)
	hold := held(1, 2)
	commitEach(t, pool, hold)
	exec(t, pool, `UPDATE orders SET recorded_at = 'epoch'`)
	commitEach(t, pool, one(after(hold.Orders[0], 2, engine.StatusConfirmed, 2)))
	require.EqualValues(t, 1, count(t, pool, `SELECT count(*) FROM orders WHERE recorded_at > now() - interval '1 minute'`))
	require.EqualValues(t, hold.TimeMs+1, count(t, pool, `SELECT (extract(epoch FROM logged_at) * 1000)::bigint FROM partitions`))
}

// The time that a transaction had to wait for is not before the row was written.
func TestARowIsRecordedWhenItIsWritten(t *testing.T) {
	pool := ledger(t, 10)
	hold := held(1, 2)
	for _, e := range []engine.Entry{hold, one(after(hold.Orders[0], 2, engine.StatusConfirmed, 2))} { // copied, then updated
		blocker, err := pool.Begin(t.Context())
		require.NoError(t, err)
		_, err = blocker.Exec(t.Context(), `LOCK TABLE orders IN SHARE MODE`)
		require.NoError(t, err)
		at, conn := positionOf(t, pool), connOf(t, pool)
		done := make(chan error, 1)
		go func() {
			_, err := commit(context.Background(), conn, 0, at, []engine.Entry{e})
			done <- err
		}()
		const waits = `SELECT count(*) FROM pg_locks WHERE relation = 'orders'::regclass AND NOT granted`
		devtest.Eventually(t, 10*time.Second, "the commit to wait", func() bool { return count(t, pool, waits) == 1 })
		released := count(t, pool, `SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint`)
		require.NoError(t, blocker.Rollback(t.Context()))
		require.NoError(t, <-done)
		require.Greater(t, count(t, pool, `SELECT (extract(epoch FROM min(recorded_at)) * 1000000)::bigint FROM orders`), released)
	}
}

func TestABrokenTimeStopsNothing(t *testing.T) {
	pool := ledger(t, 10)
	broken := entryOf(2, 1)
	broken.TimeMs = 1 << 62
	commitEach(t, pool, entryOf(1, 1), broken)
	require.EqualValues(t, entryOf(1, 1).TimeMs, count(t, pool, `SELECT (extract(epoch FROM logged_at) * 1000)::bigint FROM partitions`))
}

func TestARefusedConfirmFailsItsOrder(t *testing.T) {
	pool := ledger(t, 3)
	hold := held(2, 2)
	at := commitEach(t, pool, entryOf(1, 2), hold, one(after(hold.Orders[0], 3, engine.StatusConfirmed, 2)))
	require.Contains(t, at.rebuildReason, "refused 1 orders")
	require.EqualValues(t, 1, count(t, pool, `SELECT count(*) FROM orders WHERE status = 'failed' AND version = 2`))
	require.EqualValues(t, 2, count(t, pool, `SELECT sold FROM products`))
}

func TestWhatACancelFreesIsSoldInTheSameBatch(t *testing.T) {
	pool := ledger(t, 1)
	first := entryOf(1, 1)
	commitEach(t, pool, first)
	batch := entryOf(2, 1)
	batch.Orders = append(batch.Orders, after(first.Orders[0], 2, engine.StatusCancelled, 1))
	at := commitEach(t, pool, batch)
	require.Empty(t, at.rebuildReason)
	require.EqualValues(t, 1, count(t, pool, `SELECT cancelled_orders FROM partitions`))
}

// The unit that a cancel frees goes to somebody else in the same batch, and Postgres refuses the cancel's row.
func TestARefusedCancelDoesNotStopTheDrain(t *testing.T) {
	pool := ledger(t, 1)
	exec(t, pool, `ALTER TABLE orders ADD CONSTRAINT no_cancel CHECK (status <> 'cancelled')`)
	first := entryOf(1, 1)
	commitEach(t, pool, first)
	batch := entryOf(2, 1)
	cancel := after(first.Orders[0], 2, engine.StatusCancelled, 1)
	cancel.Record = "x,2"
	batch.Orders = append(batch.Orders, cancel)
	at := commitEach(t, pool, batch)
	require.Contains(t, at.rebuildReason, "refused 1 orders", "Redis has sold what the ledger could not free")
	require.EqualValues(t, 1, count(t, pool, `SELECT sold FROM products`))
	require.EqualValues(t, 1, count(t, pool, `SELECT count(*) FROM dead_letters WHERE record = 'x,2' AND reason LIKE '%no_cancel%'`))
	require.EqualValues(t, 1, count(t, pool, `SELECT count(*) FROM orders WHERE status = 'failed'`))
	require.EqualValues(t, 1, count(t, pool, `SELECT confirmed_orders FROM partitions`))

	commitEach(t, pool, entryOf(3, 1)) // and it goes on, refusing what there is no stock for
	require.EqualValues(t, 2, count(t, pool, `SELECT failed_orders FROM partitions`))
}

func TestDeadLettersCountAsFailedOrdersOnce(t *testing.T) {
	pool := ledger(t, 10)
	exec(t, pool, `ALTER TABLE orders ADD CONSTRAINT no_hold CHECK (status <> 'pending')`)
	hold := held(1, 2)
	unreadable := one(hold.Orders[0])
	unreadable.Sequence, unreadable.Orders[0].Err = 3, errQuantity
	nobody := engine.Entry{Sequence: 4, Orders: []engine.LoggedOrder{{Record: "?", Err: errQuantity}}}
	commitEach(t, pool, hold, one(after(hold.Orders[0], 2, engine.StatusPending, 2)), unreadable, nobody)
	require.EqualValues(t, 4, count(t, pool, `SELECT count(*) FROM dead_letters`))
	require.EqualValues(t, 1, count(t, pool, `SELECT failed_orders FROM partitions`))

	commitEach(t, pool, one(after(after(hold.Orders[0], 5, engine.StatusPending, 2), 5, engine.StatusExpired, 2)))
	require.Zero(t, count(t, pool, `SELECT failed_orders FROM partitions`), "it has a row now")
	require.EqualValues(t, 1, count(t, pool, `SELECT expired_orders FROM partitions`))
}

func TestARetriedOrderInACarefulBatchIsCountedOnce(t *testing.T) {
	pool := ledger(t, 10)
	first := entryOf(1, 2)
	again := entryOf(2, 2)
	again.Orders = append(again.Orders, first.Orders...)
	commitEach(t, pool, first, again)
	require.EqualValues(t, 4, count(t, pool, `SELECT confirmed_orders FROM partitions`))
}
