package persist

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
)

const (
	benchRebuildOrders = 1_000_000 // each of a buyer of their own, a hundredth of them with an idempotency key
	benchRebuildHolds  = 100_000
	benchPartitions    = 4
)

// fillLedger makes confirmed orders and holds of all partitions, a buyer each.
const fillLedger = `
INSERT INTO orders (id, partition, product_id, user_id, quantity, status, version, epoch, sequence, idx, created_at,
                    updated_at, expires_at, idempotency_key, idempotency_request)
SELECT gen_random_uuid(), n % $3, 'lamp-' || n % $3, 'user-' || lpad(n::text, 16, '0'), 1,
       CASE WHEN n > $1 THEN 'pending' ELSE 'confirmed' END, 1, 1, 0, 0, now(), now(),
       CASE WHEN n > $1 THEN now() + interval '1 hour' END, CASE WHEN n % 100 = 0 THEN 'key-' || n END,
       CASE WHEN n % 100 = 0 THEN '1;0' END
  FROM generate_series(1, $1::int + $2::int) n`

// BenchmarkRebuild is how long it takes from a Redis that holds nothing until all partitions are published again, each by a
// leader of its own, all at once: a million orders and 100,000 holds.
func BenchmarkRebuild(b *testing.B) {
	rig := newDrainRig(b, benchPartitions, "appendonly yes")
	exec(b, rig.pool, fillLedger, benchRebuildOrders, benchRebuildHolds, benchPartitions)
	exec(b, rig.pool, `UPDATE products SET sold = (SELECT count(*) FROM orders WHERE product_id = products.id AND status = 'confirmed')`)
	exec(b, rig.pool, `ANALYZE`)
	for b.Loop() {
		rig.inParallel(b, func(ctx context.Context, p int) error {
			l := rig.leaders[p]
			at, err := l.position(ctx)
			if err != nil {
				return err
			}
			if err := l.align(ctx, at, engine.GuardMissing); err != nil {
				return err
			}
			if at, err = l.position(ctx); err != nil {
				return err
			}
			return l.engine.Install(p, at.epoch)
		})
		b.StopTimer()
		require.EqualValues(b, benchPartitions, count(b, rig.pool, `SELECT count(*) FROM partitions WHERE sequence = 0 AND rebuild_reason IS NULL`))
		rig.flush(b)
		exec(b, rig.pool, `UPDATE partitions SET rebuild_reason = 'again'`)
		b.StartTimer()
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/rebuild")
	b.ReportMetric(0, "ns/op")
}
