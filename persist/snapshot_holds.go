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
