package persist

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"flashsale/engine"
)

// selectUserOrders has a user's orders, newest first, each as where it is looked up by its id. The index has them by time; those
// of one millisecond are put in order as they come, and no more are read than a page and those. Those that only have dead
// letters have failed, and their times are those of their burial.
const selectUserOrders = `
SELECT l.untold, l.id, l.product_id, l.user_id, l.quantity, l.status, l.version, l.sequence, l.idx, l.created_at, l.updated_at,
       l.expires_at, l.reason, coalesce(p.name, ''), coalesce(p.price_cents, 0)
  FROM (
    (SELECT o.id, o.product_id, o.user_id, ` + lastWord + `, o.created_at, coalesce(dead.created_at, o.updated_at),
            o.expires_at, coalesce(dead.reason, o.reason, ''), ` + deadUntold + `
       FROM orders o LEFT JOIN ` + deadConfirm + ` ON true
      WHERE o.user_id = $1 AND (o.created_at, o.id) < ($2, $3)
      ORDER BY o.created_at DESC, o.id DESC
      LIMIT $4)
    UNION ALL
    (SELECT order_id, coalesce(product_id, ''), user_id, coalesce(quantity, 0), 'failed', 0, sequence, idx, buried_at,
            buried_at, NULL, reason, ` + letterUntold + `
       FROM (SELECT DISTINCT ON (order_id) d.*, date_trunc('milliseconds', d.created_at) AS buried_at
               FROM dead_letters d
              WHERE d.user_id = $1 AND d.order_id IS NOT NULL
                AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.id = d.order_id)
              ORDER BY order_id, d.id DESC) d
      WHERE (buried_at, order_id) < ($2, $3)
      ORDER BY buried_at DESC, order_id DESC
      LIMIT $4)) l (id, product_id, user_id, quantity, status, version, sequence, idx, created_at, updated_at, expires_at, reason, untold)
  LEFT JOIN products p ON p.id = l.product_id
 ORDER BY l.created_at DESC, l.id DESC
 LIMIT $4`

// OrdersOf returns at most limit orders of a user, newest first, beginning behind a place. It waits for the ledger to
// have what Redis has, and says how far behind it is where that takes too long.
func (s *Store) OrdersOf(ctx context.Context, user string, after engine.OrderPlace, limit int) (engine.OrderPage, error) {
	lagMs, err := s.catchUp(ctx)
	if err != nil {
		return engine.OrderPage{}, err
	}
	since := time.UnixMilli(after.CreatedAtMs)
	if after == (engine.OrderPlace{}) {
		since = endOfTime
	}
	orders, untold, err := s.readOrdersOf(ctx, user, since, after.ID, limit)
	if err != nil || len(untold) == 0 {
		return engine.OrderPage{Orders: orders, LagMs: lagMs}, err
	}
	if err := s.noteTold(ctx, untold); err != nil {
		return engine.OrderPage{}, err
	}
	orders, _, err = s.readOrdersOf(ctx, user, since, after.ID, limit) // a repair may have been faster
	return engine.OrderPage{Orders: orders, LagMs: lagMs}, err
}

// readOrdersOf also names those that have failed by dead letters of which nobody has been told yet.
func (s *Store) readOrdersOf(ctx context.Context, user string, since time.Time, before engine.OrderID, limit int) (orders []engine.OrderView, untold []engine.OrderID, err error) {
	rows, err := s.pool.Query(ctx, selectUserOrders, user, since, before, limit)
	if err != nil {
		return nil, nil, ledgerError("orders of a user", err)
	}
	orders, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (engine.OrderView, error) {
		view, first, err := scanUserOrder(row)
		if first {
			untold = append(untold, view.ID)
		}
		return view, err
	})
	if err != nil {
		return nil, nil, ledgerError("orders of a user", err)
	}
	return orders, untold, nil
}

// endOfTime is later than any order.
var endOfTime = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)

func scanUserOrder(row pgx.CollectableRow) (view engine.OrderView, untold bool, err error) {
	view.Durable = true
	var created, updated time.Time
	var expires *time.Time
	err = row.Scan(&untold, &view.ID, &view.Product, &view.User, &view.Quantity, &view.Status, &view.Version, &view.Sequence,
		&view.Index, &created, &updated, &expires, &view.Reason, &view.ProductName, &view.PriceCents)
	view.CreatedAtMs, view.UpdatedAtMs = created.UnixMilli(), updated.UnixMilli()
	if expires != nil {
		view.ExpiresAtMs = expires.UnixMilli()
	}
	return view, untold, err
}
