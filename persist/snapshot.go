package persist

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"flashsale/engine"
)

// snapshot loads the partition as one instant of the ledger has it.
func (l *leader) snapshot(ctx context.Context, to *loader) error {
	tx, err := l.beginSnapshot(ctx)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	defer tx.Rollback(ctx) //nolint:errcheck // it has read only
	parts := []struct {
		what string
		load func(context.Context, pgx.Tx, *loader) error
	}{
		{"products", l.loadProducts}, {"buyers", l.loadBuyers}, {"holds", l.loadHolds}, {"idempotency keys", l.loadKeys},
	}
	for _, part := range parts {
		if err := part.load(ctx, tx, to); err != nil {
			return fmt.Errorf("snapshot of %s: %w", part.what, err)
		}
	}
	return to.end(ctx)
}

// beginSnapshot begins a transaction without a limit on how long a statement takes, other than ctx: it reads a whole
// partition while Redis takes in what it reads, and one that was broken off each time would never come to its end.
func (l *leader) beginSnapshot(ctx context.Context) (pgx.Tx, error) {
	tx, err := l.conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, `SET LOCAL statement_timeout = 0`); err != nil {
		return nil, errors.Join(err, tx.Rollback(ctx))
	}
	return tx, nil
}

// What the queries of a rebuild share, each for partition $1.
//
// letters are the last readable dead letters, one an order; open says whether any of the order is. dead are those that have
// the last word on their order (see deadConfirm): where there is no row, unless the letter gave the units back. lost are
// those that count as taken: the open ones.
//
// rooms are the products as of the last change that the log brought, and the units that no sale took. A change under way
// is handed over again, so what it raised at once is left out. Lost orders count as sold, as far as there is stock.
//
// holds are the pending orders but for the dead, by age; those that go beyond what is left, which only a damaged ledger can
// have, don't fit.
const rebuildParts = `
WITH letters AS (
    SELECT DISTINCT ON (order_id) *, bool_or(resolved_at IS NULL) OVER (PARTITION BY order_id) AS open
      FROM dead_letters
     WHERE partition = $1 AND order_id IS NOT NULL AND quantity IS NOT NULL
     ORDER BY order_id, id DESC
), dead AS (
    SELECT l.* FROM letters l
     WHERE l.record !~ '^[xe],' AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.id = l.order_id)
    UNION ALL
    SELECT l.* FROM letters l JOIN orders o ON o.id = l.order_id JOIN ` + deadConfirm + ` ON dead.id = l.id
), lost AS (
    SELECT product_id, user_id, quantity, order_id AS id, created_at FROM dead WHERE open
), rooms AS (
    SELECT p.*, p.initial_stock - coalesce(c.amount, 0) AS initial,
           least(p.sold + coalesce(d.taken, 0), p.initial_stock - coalesce(c.amount, 0))::bigint AS taken
      FROM products p
      LEFT JOIN stock_changes c
             ON c.product_id = p.id AND c.number = p.change_number AND p.change_number > p.change_taken AND c.at_once
      LEFT JOIN (SELECT product_id, sum(quantity) AS taken FROM lost GROUP BY product_id) d ON d.product_id = p.id
     WHERE p.partition = $1 AND p.change_taken > 0
), holds AS (
    SELECT o.*, sum(o.quantity) OVER (PARTITION BY o.product_id ORDER BY o.created_at, o.id) <= r.initial - r.taken AS fits
      FROM orders o JOIN rooms r ON r.id = o.product_id
     WHERE o.partition = $1 AND o.status = 'pending' AND NOT EXISTS (SELECT 1 FROM dead WHERE dead.order_id = o.id)
)`

const rebuildProducts = rebuildParts + `
SELECT r.id, r.initial, r.taken, coalesce(h.held, 0)::bigint, r.change_taken, r.per_user_limit, r.active, r.starts_at,
       r.ends_at, r.hold_seconds
  FROM rooms r
  LEFT JOIN (SELECT product_id, sum(quantity) AS held FROM holds WHERE fits GROUP BY product_id) h ON h.product_id = r.id`

func (l *leader) loadProducts(ctx context.Context, tx pgx.Tx, to *loader) error {
	rows, err := tx.Query(ctx, rebuildProducts, l.partition)
	if err != nil {
		return err
	}
	var id string
	var s engine.Stock
	var t engine.Terms
	var starts, ends *time.Time
	into := []any{
		&id, &s.Initial, &s.Sold, &s.Held, &s.Change, &t.PerUserLimit, &t.Active, &starts, &ends, &t.HoldSeconds,
	}
	_, err = pgx.ForEachRow(rows, into, func() error {
		s.Current = s.Initial - s.Sold - s.Held
		t.StartsAt, t.EndsAt = orZero(starts), orZero(ends)
		if err := to.add(ctx, to.keys.Stock, id, s.String()); err != nil {
			return err
		}
		return to.add(ctx, to.keys.Terms, id, t.String())
	})
	return err
}

// rebuildBuyers has what each buyer bought and holds of each product, and the order that may still lock them. It reads the
// whole table: an index for it would cost every insert of a sale, for what is read once after a disaster.
const rebuildBuyers = rebuildParts + `
SELECT product_id, user_id, least(coalesce(sum(quantity) FILTER (WHERE bought), 0), 1000000000000)::bigint,
       coalesce(sum(quantity) FILTER (WHERE NOT bought), 0)::bigint,
       (array_agg(id ORDER BY created_at DESC, id DESC))[1], max(created_at)
  FROM (SELECT product_id, user_id, quantity, id, created_at, true AS bought
          FROM orders WHERE partition = $1 AND status = 'confirmed'
        UNION ALL
        SELECT product_id, user_id, quantity, id, created_at, false FROM holds WHERE fits
        UNION ALL
        SELECT product_id, user_id, quantity, id, created_at, true FROM lost WHERE user_id IS NOT NULL) o
 GROUP BY product_id, user_id`

func (l *leader) loadBuyers(ctx context.Context, tx pgx.Tx, to *loader) error {
	rows, err := tx.Query(ctx, rebuildBuyers, l.partition)
	if err != nil {
		return err
	}
	var product, user string
	var bought, held int64
	var last engine.OrderID
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&product, &user, &bought, &held, &last, &at}, func() error {
		lockUntil := at.Add(l.config.LockTTL).UnixMilli()
		value := strconv.FormatInt(bought, 10) + "," + strconv.FormatInt(held, 10) + "," +
			strconv.FormatInt(lockUntil, 10) + "," + string(last[:])
		return to.add(ctx, to.keys.Buyers, engine.BuyerField(product, user), value)
	})
	return err
}
