package persist

import (
	"math"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"flashsale/engine"
)

func poison(record string) engine.LoggedOrder {
	return engine.LoggedOrder{Record: record, Err: errQuantity, Order: engine.Order{ID: engine.OrderID{1}, Sequence: 1}}
}

func TestADeadLetterTakesWhatIsNoText(t *testing.T) {
	huge := strings.Repeat("x", 3*maxDeadText)
	cases := map[string]struct{ record, want string }{
		"text":          {"c,1,2", "c,1,2"},
		"invalid UTF-8": {"\xff\xfe", `"\xff\xfe"`},
		"NUL":           {"a\x00b", `"a\x00b"`},
		"too long":      {huge, `"` + huge[:maxDeadText-1]},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			pool := ledger(t, 10)
			entry := entryOf(1, 1)
			entry.Orders = append(entry.Orders, poison(c.record))
			_, err := commit(t.Context(), connOf(t, pool), 0, positionOf(t, pool), []engine.Entry{entry})
			require.NoError(t, err)
			require.EqualValues(t, 1, count(t, pool, `SELECT count(*) FROM orders`))
			var record string
			require.NoError(t, pool.QueryRow(t.Context(), `SELECT record FROM dead_letters`).Scan(&record))
			require.Equal(t, c.want, record)
		})
	}
}

// An entry that nobody can read counts as one order until the next one says how many were before it.
func TestTheNextEntrySaysHowManyOrdersADamagedOneHad(t *testing.T) {
	damaged := engine.Entry{Sequence: 1, Orders: []engine.LoggedOrder{poison("what had three")}}
	next := entryOf(2, 2)
	next.Counted = 5
	b := fold([]engine.Entry{damaged, next})
	require.EqualValues(t, 5, b.moves(0))
	require.False(t, b.uncounted)
	require.True(t, fold([]engine.Entry{next, damaged}).uncounted)

	pool := ledger(t, 10)
	conn := connOf(t, pool)
	at, err := commit(t.Context(), conn, 0, positionOf(t, pool), []engine.Entry{damaged})
	require.NoError(t, err)
	require.EqualValues(t, 1, at.orders)
	at, err = commit(t.Context(), conn, 0, at, []engine.Entry{next})
	require.NoError(t, err)
	require.EqualValues(t, 5, at.orders)
	require.EqualValues(t, 5, count(t, pool, `SELECT orders FROM partitions`))
}

func TestAChangeThatNobodyCanReadStopsOnlyItself(t *testing.T) {
	pool := ledger(t, 10)
	bad := engine.Entry{Sequence: 1, Change: &engine.TakenChange{Product: "\xff", Record: "1,1,APPLIED", Err: errQuantity}}
	b := fold([]engine.Entry{bad, entryOf(2, 1)})
	require.Equal(t, []string{"lamp"}, b.products(), "it concerns no product")
	_, err := commit(t.Context(), connOf(t, pool), 0, positionOf(t, pool), []engine.Entry{bad, entryOf(2, 1)})
	require.NoError(t, err)
	require.EqualValues(t, 1, count(t, pool, `SELECT count(*) FROM orders`))
	require.EqualValues(t, 1, count(t, pool, `SELECT count(*) FROM dead_letters WHERE sequence = 1 AND record LIKE '%1,1,APPLIED'`))
	require.EqualValues(t, 1, count(t, pool, `SELECT refused FROM partitions`))
}

func TestQuantitiesWhoseSumOverflowsAreBuried(t *testing.T) {
	pool := ledger(t, 10)
	at, err := commit(t.Context(), connOf(t, pool), 0, positionOf(t, pool), []engine.Entry{entryOf(1, 5)})
	require.NoError(t, err)
	entry := entryOf(2, 3)
	entry.Orders[0].Order.Quantity, entry.Orders[1].Order.Quantity = math.MaxInt64, math.MaxInt64
	_, err = commit(t.Context(), connOf(t, pool), 0, at, []engine.Entry{entry})
	require.NoError(t, err)
	require.EqualValues(t, 6, count(t, pool, `SELECT sold FROM products`))
	require.EqualValues(t, 2, count(t, pool, `SELECT count(*) FROM dead_letters`))
}

// decrease is the log entry of change 2 of the product "lamp", which is on its way.
func decrease(t *testing.T, conn *pgx.Conn, sequence uint64, units int64) engine.Entry {
	t.Helper()
	for _, statement := range []string{
		`INSERT INTO stock_changes (product_id, number, kind, amount, at_once, name, price_cents, per_user_limit, active, actor)
		 VALUES ('lamp', 2, 'add', -5, false, 'new name', 0, 0, true, 'test')`,
		`UPDATE products SET change_number = 2`,
	} {
		_, err := conn.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	return engine.Entry{Sequence: sequence, Change: &engine.TakenChange{Product: "lamp", Number: 2, Applied: -units}}
}

func TestADecreaseBelowWhatWasSoldIsRefused(t *testing.T) {
	pool := ledger(t, 10)
	conn := connOf(t, pool)
	taken := decrease(t, conn, 2, 5)
	to, err := commit(t.Context(), conn, 0, positionOf(t, pool), []engine.Entry{entryOf(1, 8), taken, entryOf(3, 1)})
	require.NoError(t, err)
	require.Contains(t, to.rebuildReason, "lower the stock of product lamp by 5")
	require.Equal(t, to, positionOf(t, pool), "and it is recorded: Redis ran ahead")
	require.EqualValues(t, 9, count(t, pool, `SELECT count(*) FROM orders WHERE status = 'confirmed'`), "the rest lands")
	require.EqualValues(t, 1, count(t, pool, `SELECT count(*) FROM products
		WHERE sold = 9 AND initial_stock = 10 AND change_taken = 2 AND version = 1 AND name = 'lamp'`))
	require.EqualValues(t, 1, count(t, pool, `SELECT count(*) FROM stock_changes WHERE outcome = 'refused' AND applied = 0`))
}

func TestADecreaseThatLeavesWhatWasSoldIsTaken(t *testing.T) {
	pool := ledger(t, 10)
	conn := connOf(t, pool)
	taken := decrease(t, conn, 2, 5)
	to, err := commit(t.Context(), conn, 0, positionOf(t, pool), []engine.Entry{entryOf(1, 5), taken, taken2(taken)})
	require.NoError(t, err)
	require.Empty(t, to.rebuildReason)
	require.EqualValues(t, 1, count(t, pool, `SELECT count(*) FROM products
		WHERE sold = 5 AND initial_stock = 5 AND change_taken = 2 AND version = 2 AND name = 'new name'`))
}

// taken2 is the same change once more, which counts for nothing.
func taken2(e engine.Entry) engine.Entry {
	return engine.Entry{Sequence: e.Sequence + 1, Change: e.Change}
}

func TestABatchIsCutAtAWholeEntry(t *testing.T) {
	entries := []engine.Entry{entryOf(1, 3), entryOf(2, 3), entryOf(3, 3)}
	for orders, want := range map[int]int{1: 1, 3: 1, 5: 1, 6: 2, 8: 2, 9: 3, 100: 3} {
		require.Len(t, cut(entries, orders), want, "up to %d orders", orders)
	}
}

func TestAReadIsBoundedAfterOrdersThatCameAlone(t *testing.T) {
	var r readAhead
	r.learn([]engine.Entry{entryOf(1, 1)})
	require.EqualValues(t, maxRead, r.count(defaultBatchOrders))
	r.learn([]engine.Entry{entryOf(1, 100)})
	require.EqualValues(t, defaultBatchOrders/100, r.count(defaultBatchOrders))
}

func TestASnapshotOutlastsTheStatementTimeout(t *testing.T) {
	pool := ledger(t, 10)
	l := &leader{follower: &follower{partition: 0}, conn: connOf(t, pool), last: t.Context()}
	_, err := l.conn.Exec(t.Context(), `SET statement_timeout = '50ms'`)
	require.NoError(t, err)
	tx, err := l.beginSnapshot(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT pg_sleep(0.2)`)
	require.NoError(t, err)
	require.NoError(t, tx.Rollback(t.Context()))
	_, err = l.conn.Exec(t.Context(), `SELECT pg_sleep(0.2)`)
	require.ErrorContains(t, err, "statement timeout", "only the snapshot may take long")
}
