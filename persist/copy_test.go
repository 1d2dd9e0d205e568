package persist

import (
	"io"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"flashsale/engine"
)

func TestCopyAndInsertWriteTheSameRows(t *testing.T) {
	hold := func(o *engine.Order) { o.ExpiresAtMs, o.Status = 1_700_000_060_123, engine.StatusPending }
	failed := func(o *engine.Order) { o.Reason, o.Status = "ünïcode", engine.StatusFailed }
	keyed := func(o *engine.Order) { o.IdempotencyKey, o.Request = "a|key", engine.RequestText(1, 5000) }
	plain := func(*engine.Order) {}
	for name, c := range map[string]struct {
		orders   []func(*engine.Order)
		columns  []string // beyond those that every batch brings
		contains string
	}{
		"plain":        {[]func(*engine.Order){plain, plain}, nil, `"expires_at": null`},
		"a hold":       {[]func(*engine.Order){hold, plain}, []string{"expires_at"}, "2023-11-14T22:14:20.123"},
		"a failed one": {[]func(*engine.Order){plain, failed}, []string{"reason"}, "ünïcode"},
		"one of a key": {[]func(*engine.Order){plain, keyed, plain}, []string{"idempotency_key", "idempotency_request"}, "a|key"},
		"one of each":  {[]func(*engine.Order){hold, failed, keyed, plain}, []string{"expires_at", "reason", "idempotency_key", "idempotency_request"}, "a|key"},
		"all in one":   {[]func(*engine.Order){func(o *engine.Order) { hold(o); failed(o); keyed(o) }}, []string{"expires_at", "reason", "idempotency_key", "idempotency_request"}, "a|key"},
	} {
		t.Run(name, func(t *testing.T) {
			pool := ledger(t, 100)
			e := entryOf(1, len(c.orders))
			rows := make([]*engine.Order, len(c.orders))
			for i, change := range c.orders {
				rows[i] = &e.Orders[i].Order
				change(rows[i])
			}
			copied := writtenBy(t, pool, rows, func(l *ledgerTx) (int64, error) { return l.writeRows(t.Context(), rows) })
			inserted := writtenBy(t, pool, rows, func(l *ledgerTx) (int64, error) { return l.insert(t.Context(), l.Tx, rows) })
			require.Equal(t, inserted, copied)
			require.Contains(t, strings.Join(copied, "\n"), c.contains)
			var columns []string
			for _, more := range columnsOf(rows) {
				columns = append(columns, more.name)
			}
			require.Equal(t, c.columns, columns)
		})
	}
}

// writtenBy returns rows as they are in the ledger once they were written, which is taken back.
func writtenBy(t *testing.T, pool *pgxpool.Pool, rows []*engine.Order, write func(*ledgerTx) (int64, error)) []string {
	tx, err := connOf(t, pool).Begin(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback(t.Context())) }()
	n, err := write(&ledgerTx{Tx: tx, from: positionOf(t, pool)})
	require.NoError(t, err)
	require.EqualValues(t, len(rows), n)
	found, err := tx.Query(t.Context(), `SELECT (to_jsonb(o) - 'recorded_at')::text FROM orders o ORDER BY idx`)
	require.NoError(t, err)
	texts, err := pgx.CollectRows(found, pgx.RowTo[string])
	require.NoError(t, err)
	return texts
}

func BenchmarkEncodeCopy(b *testing.B) {
	rows := ordersOf(fold([]engine.Entry{entryOf(1, 1000)}))
	b.ReportAllocs()
	for b.Loop() {
		_, err := io.Copy(io.Discard, newRowReader(0, 1, rows))
		require.NoError(b, err)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(rows)), "ns/order")
}

func ordersOf(b batch) (orders []*engine.Order) {
	for _, logged := range b.orders {
		orders = append(orders, &logged.Order)
	}
	return orders
}
