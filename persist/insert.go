package persist

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"flashsale/engine"
)

// insertOrders adds new orders and brings the rows of changed ones along, never backwards.
const insertOrders = `
INSERT INTO orders (id, partition, product_id, user_id, quantity, status, version, epoch, sequence, idx, created_at,
                    updated_at, expires_at, reason, idempotency_key, idempotency_request)
SELECT id, $1, product_id, user_id, quantity, status, version, $2, sequence, idx, created_at, updated_at, expires_at,
       nullif(reason, ''), nullif(key, ''), nullif(request, '')
  FROM unnest($3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::bigint[], $9::bigint[], $10::int[],
              $11::timestamptz[], $12::timestamptz[], $13::timestamptz[], $14::text[],
              $15::text[], $16::text[])
       AS o (id, product_id, user_id, quantity, status, version, sequence, idx, created_at, updated_at, expires_at, reason,
             key, request)
ON CONFLICT (id) DO UPDATE
   SET quantity = excluded.quantity, status = excluded.status, version = excluded.version, epoch = excluded.epoch,
       sequence = excluded.sequence, idx = excluded.idx, updated_at = excluded.updated_at,
       expires_at = excluded.expires_at, reason = excluded.reason,
       recorded_at = clock_timestamp()
 WHERE orders.version < excluded.version`

// insert writes rows and returns how many it wrote.
func (t *ledgerTx) insert(ctx context.Context, tx pgx.Tx, rows []*engine.Order) (int64, error) {
	c := newColumns(len(rows))
	for i := range rows {
		c.add(rows[i])
	}
	tag, err := tx.Exec(ctx, insertOrders, t.partition, t.from.epoch.Number, c.ids, c.products, c.users, c.quantities,
		c.statuses, c.versions, c.sequences, c.indexes, c.created, c.updated, c.expires, c.reasons,
		c.keys, c.requests)
	if err != nil {
		return 0, fmt.Errorf("insert orders: %w", err)
	}
	return tag.RowsAffected(), nil
}

// columns are rows turned sideways, as unnest takes them.
type columns struct {
	ids                             []engine.OrderID
	products, users, statuses       []string
	quantities, versions, sequences []int64
	indexes                         []int32
	created, updated                []time.Time
	expires                         []*time.Time
	reasons, keys, requests         []string
}

func newColumns(n int) *columns {
	return &columns{
		ids: make([]engine.OrderID, 0, n), products: make([]string, 0, n), users: make([]string, 0, n),
		statuses: make([]string, 0, n), quantities: make([]int64, 0, n), versions: make([]int64, 0, n),
		sequences: make([]int64, 0, n), indexes: make([]int32, 0, n), created: make([]time.Time, 0, n),
		updated: make([]time.Time, 0, n), expires: make([]*time.Time, 0, n), reasons: make([]string, 0, n),
		keys: make([]string, 0, n), requests: make([]string, 0, n),
	}
}

func (c *columns) add(o *engine.Order) {
	c.ids = append(c.ids, o.ID)
	c.products = append(c.products, o.Product)
	c.users = append(c.users, o.User)
	c.statuses = append(c.statuses, string(o.Status))
	c.quantities = append(c.quantities, o.Quantity)
	c.versions = append(c.versions, o.Version)
	c.sequences = append(c.sequences, int64(o.Sequence))
	c.indexes = append(c.indexes, int32(o.Index))
	c.created = append(c.created, time.UnixMilli(o.CreatedAtMs))
	c.updated = append(c.updated, time.UnixMilli(o.UpdatedAtMs))
	c.reasons = append(c.reasons, o.Reason)
	c.keys = append(c.keys, o.IdempotencyKey)
	c.requests = append(c.requests, o.Request)
	var expires *time.Time
	if o.ExpiresAtMs != 0 {
		t := time.UnixMilli(o.ExpiresAtMs)
		expires = &t
	}
	c.expires = append(c.expires, expires)
}
