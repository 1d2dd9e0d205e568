package main

import (
	"bytes"
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
)

const (
	benchProducts = 100
	benchChunk    = 50_000 // rows a statement
)

// sellMany fills the ledger with orders of as many buyers, one in ten of them a hold, and has Redis written anew from it. Ids
// carry their partition, as those that the engine mints.
func sellMany(b *testing.B, s *sharedStores, orders int) {
	b.Helper()
	ids, partitions := make([]string, benchProducts), make([]int16, benchProducts)
	for i := range ids {
		ids[i] = fmt.Sprintf("item-%d", i)
		partitions[i] = int16(engine.PartitionOf(ids[i], 4))
	}
	const products = `
INSERT INTO products (id, partition, name, price_cents, initial_stock, change_number, change_taken)
SELECT id, partition, id, 100, $3, 1, 1 FROM unnest($1::text[], $2::smallint[]) p (id, partition)`
	exec := func(sql string, args ...any) {
		_, err := s.pool.Exec(b.Context(), sql, args...)
		require.NoError(b, err)
	}
	exec(products, ids, partitions, orders)
	const rows = `
INSERT INTO orders (id, partition, product_id, user_id, quantity, status, version, epoch, sequence, idx, created_at, updated_at, expires_at)
SELECT (lpad(to_hex(1764000000000 + i), 12, '0') || '7' || lpad(to_hex(($2::smallint[])[(1 + i % $3::int)::int]::int), 3, '0') || '8' || substr(md5(i::text), 1, 15))::uuid,
       ($2::smallint[])[(1 + i % $3::int)::int], ($1::text[])[(1 + i % $3::int)::int], 'user-' || md5(i::text), 1, CASE WHEN i % 10 = 0 THEN 'pending' ELSE 'confirmed' END, 1, 0, i, 0,
       now(), now(), CASE WHEN i % 10 = 0 THEN now() + interval '1 day' END
  FROM generate_series($4::bigint, $5::bigint) i`
	for from := 1; from <= orders; from += benchChunk {
		exec(rows, ids, partitions, benchProducts, from, min(from+benchChunk-1, orders))
	}
	exec(`
UPDATE products p SET sold = c.sold
  FROM (SELECT product_id, count(*) AS sold FROM orders WHERE status = 'confirmed' GROUP BY product_id) c
 WHERE c.product_id = p.id AND p.id = ANY ($1)`, ids)
	exec(`
UPDATE partitions p SET pending_orders = c.pending, confirmed_orders = c.confirmed
  FROM (SELECT partition, count(*) FILTER (WHERE status = 'pending') AS pending, count(*) FILTER (WHERE status = 'confirmed') AS confirmed
          FROM orders GROUP BY partition) c
 WHERE c.partition = p.partition`)
	exec(`ANALYZE orders`)
	rebuilt := runReconcile(b, s.env(), "--rebuild")
	require.Zero(b, rebuilt.code, rebuilt.problems)
	b.Log(rebuilt.output)
}

// BenchmarkReconcile runs `flashsale reconcile` on what a sale has left behind, and reports the most memory that it took.
func BenchmarkReconcile(b *testing.B) {
	for _, orders := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("orders=%d", orders), func(b *testing.B) {
			s := newStores(b)
			start(b, nil, s.env()...).interrupt() // makes the schema and the partitions
			sellMany(b, s, orders)
			var peak int64
			for b.Loop() {
				cmd := reconcileCommand(b, s.env())
				var output bytes.Buffer
				cmd.Stdout, cmd.Stderr = &output, &output
				require.NoError(b, cmd.Run(), "%s", &output)
				require.Contains(b, output.String(), fmt.Sprintf("%d orders with units", orders))
				usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
				require.True(b, ok)
				peak = max(peak, usage.Maxrss)
				b.Log(output.String())
			}
			b.ReportMetric(float64(peak)/1024, "MB-RSS")
		})
	}
}
