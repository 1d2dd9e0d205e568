package persist

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"flashsale/engine"
)

const rebuildKeys = `
SELECT id, product_id, user_id, created_at, idempotency_key, coalesce(idempotency_request, '')
  FROM orders
 WHERE partition = $1 AND idempotency_key IS NOT NULL AND created_at >= $2
 ORDER BY created_at, id`

// rebuildDeadKeys has the dead letters of orders without a row, dealt with or not: an order was answered to its key all the
// same. An order is older than its burial, so what was buried too long ago was made too long ago.
const rebuildDeadKeys = `
SELECT d.order_id, d.record
  FROM dead_letters d
 WHERE d.partition = $1 AND d.created_at >= $2 AND d.order_id IS NOT NULL
   AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.id = d.order_id)
 ORDER BY d.id`

// generationOf returns the generation of idempotency keys that a time, by the clock of Redis, falls into. Even ones and odd
// ones have a hash each, so that a whole generation can be forgotten at once.
func (l *leader) generationOf(ms int64) int64 { return ms / l.config.IdempotencyTTL.Milliseconds() }

// loadKeys brings the idempotency keys of this generation and of the one before, each into its own hash.
func (l *leader) loadKeys(ctx context.Context, tx pgx.Tx, to *loader) error {
	since := time.UnixMilli((to.generation - 1) * l.config.IdempotencyTTL.Milliseconds())
	rows, err := tx.Query(ctx, rebuildKeys, l.partition, since)
	if err != nil {
		return err
	}
	var o engine.Order
	var created time.Time
	into := []any{&o.ID, &o.Product, &o.User, &created, &o.IdempotencyKey, &o.Request}
	_, err = pgx.ForEachRow(rows, into, func() error {
		o.CreatedAtMs = created.UnixMilli()
		return l.addKey(ctx, to, &o)
	})
	if err != nil {
		return err
	}
	return l.loadDeadKeys(ctx, tx, to, since)
}

// loadDeadKeys brings the keys of orders that only have dead letters, of those that can be read.
func (l *leader) loadDeadKeys(ctx context.Context, tx pgx.Tx, to *loader, since time.Time) error {
	rows, err := tx.Query(ctx, rebuildDeadKeys, l.partition, since)
	if err != nil {
		return err
	}
	var id engine.OrderID
	var record string
	_, err = pgx.ForEachRow(rows, []any{&id, &record}, func() error {
		o, err := engine.ParseRecord(id, record)
		if err != nil || o.IdempotencyKey == "" || o.CreatedAtMs < since.UnixMilli() {
			return nil //nolint:nilerr // what nobody can read has no key that could be told
		}
		return l.addKey(ctx, to, &o)
	})
	return err
}

// addKey puts a key into the hash of its generation. One from ahead of this server's clock goes with this generation: it is
// looked for there now and when the next one has begun, which would empty its own hash.
func (l *leader) addKey(ctx context.Context, to *loader, o *engine.Order) error {
	target := to.keys.Even
	if min(l.generationOf(o.CreatedAtMs), to.generation)%2 == 1 {
		target = to.keys.Odd
	}
	return to.add(ctx, target, engine.IdempotencyField(o.Product, o.User, o.IdempotencyKey), engine.IdempotencyValue(o))
}
