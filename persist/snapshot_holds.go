package persist

import (
	"context"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"flashsale/engine"
)

const rebuildHolds = rebuildParts + `
SELECT id, product_id, user_id, quantity, version, created_at, updated_at, coalesce(expires_at, updated_at),
       coalesce(idempotency_key, ''), coalesce(idempotency_request, ''), fits
  FROM holds`

// loadHolds gives every hold its record and its place among those that expire. One for which there is no stock left is
// told to the log and left out: nobody can confirm it, and its buyer is told so.
func (l *leader) loadHolds(ctx context.Context, tx pgx.Tx, to *loader) error {
	rows, err := tx.Query(ctx, rebuildHolds, l.partition)
	if err != nil {
		return err
	}
	o := engine.Order{Status: engine.StatusPending}
	var created, updated, expires time.Time
	var fits bool
	into := []any{
		&o.ID, &o.Product, &o.User, &o.Quantity, &o.Version, &created, &updated, &expires, &o.IdempotencyKey, &o.Request, &fits,
	}
	_, err = pgx.ForEachRow(rows, into, func() error {
		if !fits {
			l.log.Error("a hold is left out: the ledger has no stock for it", "order", o.ID.String(), "product", o.Product)
			return nil
		}
		o.CreatedAtMs, o.UpdatedAtMs, o.ExpiresAtMs = created.UnixMilli(), updated.UnixMilli(), expires.UnixMilli()
		if err := to.add(ctx, to.keys.Orders, string(o.ID[:]), o.Record()); err != nil {
			return err
		}
		return to.add(ctx, to.keys.Expiry, strconv.FormatInt(o.ExpiresAtMs, 10), string(o.ID[:]))
	})
	return err
}

const rebuildKeys = `
SELECT id, product_id, user_id, created_at, idempotency_key, coalesce(idempotency_request, '')
  FROM orders
 WHERE partition = $1 AND idempotency_key IS NOT NULL AND created_at >= $2
 ORDER BY created_at, id`

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
		target := to.keys.Even
		if l.generationOf(o.CreatedAtMs)%2 == 1 {
			target = to.keys.Odd
		}
		return to.add(ctx, target, engine.IdempotencyField(o.Product, o.User, o.IdempotencyKey), engine.IdempotencyValue(&o))
	})
	return err
}
