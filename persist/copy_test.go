package persist

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
)

func TestCopyAndInsertWriteTheSameRows(t *testing.T) {
	pool := ledger(t, 100)
	at := positionOf(t, pool)
	e := entryOf(1, 2)
	e.Orders[0].Order.ExpiresAtMs = 1_700_000_060_123
	e.Orders[0].Order.Status = engine.StatusPending
	e.Orders[1].Order.Reason = "ünïcode"
	e.Orders[1].Order.IdempotencyKey, e.Orders[1].Order.Request = "a|key", engine.RequestText(1, 5000)
	rows := []*engine.Order{&e.Orders[0].Order, &e.Orders[1].Order}

	read := func(write func(*ledgerTx) (int64, error)) []string {
		tx, err := connOf(t, pool).Begin(t.Context())
		require.NoError(t, err)
		defer func() { require.NoError(t, tx.Rollback(t.Context())) }()
		n, err := write(&ledgerTx{Tx: tx, from: at})
		require.NoError(t, err)
		require.EqualValues(t, 2, n)
		found, err := tx.Query(t.Context(), `SELECT (to_jsonb(o) - 'recorded_at')::text FROM orders o ORDER BY idx`)
		require.NoError(t, err)
		defer found.Close()
		var texts []string
		for found.Next() {
			var text string
			require.NoError(t, found.Scan(&text))
			texts = append(texts, text)
		}
		require.NoError(t, found.Err())
		return texts
	}
	copied := read(func(l *ledgerTx) (int64, error) { return l.writeRows(t.Context(), rows) })
	inserted := read(func(l *ledgerTx) (int64, error) { return l.insert(t.Context(), l.Tx, rows) })
	require.Equal(t, inserted, copied)
	require.Contains(t, copied[0], time.UnixMilli(1_700_000_060_123).UTC().Format("2006-01-02T15:04:05.000"))
}

func BenchmarkEncodeCopy(b *testing.B) {
	rows := ordersOf(fold([]engine.Entry{entryOf(1, 1000)}))
	b.ReportAllocs()
	for b.Loop() {
		_, err := io.Copy(io.Discard, &rowReader{epoch: 1, rows: rows})
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
