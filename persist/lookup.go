package persist

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"flashsale/engine"
)

// Order returns an order with its product. It looks in Redis first and then in the ledger: a record leaves Redis only
// after its commit. Of what the ledger has, its own word counts: it may have refused what Redis accepted. It fails with
// the code not_found where neither has the order.
func (s *Store) Order(ctx context.Context, id engine.OrderID) (engine.OrderView, error) {
	view, err := s.lookUp(ctx, id)
	if !errors.Is(err, engine.ErrNoOrder) {
		return view, err
	}
	later, err := s.installLater(ctx, id.Partition())
	if err != nil {
		return view, err
	}
	if later {
		return s.lookUp(ctx, id)
	}
	return view, engine.ErrNoOrder
}

// installLater puts the epoch in force in this process if the ledger names a later one than this process knows, and
// tells whether it did: then Redis has orders that this process looked for in the wrong place.
func (s *Store) installLater(ctx context.Context, partition int) (later bool, err error) {
	if partition >= s.engine.Partitions() {
		return false, nil
	}
	at, err := readPosition(ctx, s.pool, partition)
	if err != nil {
		return false, err
	}
	if at.epoch.Number <= s.engine.State(partition).Epoch.Number {
		return false, nil
	}
	if err := s.engine.Install(partition, at.epoch); err != nil {
		return false, err
	}
	s.engine.Advance(partition, at.watermark())
	_, err = s.engine.Check(ctx, partition)
	return true, err
}

func (s *Store) lookUp(ctx context.Context, id engine.OrderID) (engine.OrderView, error) {
	order, found, err := s.engine.Find(ctx, id)
	if err == nil && found {
		return s.found(ctx, &order), nil
	}
	view, ledgerErr := s.ledgerOrder(ctx, id)
	if ledgerErr != nil && err != nil {
		return view, redisError(err) // Redis may have what the ledger does not have yet: this is no "not found"
	}
	return view, ledgerErr
}

// completeTimeout bounds how long an order that Redis has waits for what the ledger has to say about it.
const completeTimeout = time.Second

// found completes an order that Redis has. A ledger that does not answer takes nothing away from that: then the order
// is not known to be durable, or its product has no name.
func (s *Store) found(ctx context.Context, order *engine.Order) engine.OrderView {
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	view := engine.OrderView{Order: *order}
	if s.engine.Durable(order) {
		row, err := s.ledgerOrder(ctx, order.ID)
		if err == nil {
			return row
		}
		if !errors.Is(err, engine.ErrNoOrder) {
			return view
		}
	}
	const query = `SELECT name, price_cents FROM products WHERE id = $1`
	_ = s.pool.QueryRow(ctx, query, view.Product).Scan(&view.ProductName, &view.PriceCents) // see above
	return view
}

// ledgerOrder returns an order as the ledger has it: its row, with the dead letter that has the last word on it, or the
// dead letter that it became. That a letter is told of is written down first.
func (s *Store) ledgerOrder(ctx context.Context, id engine.OrderID) (engine.OrderView, error) {
	view, untold, err := s.readOrder(ctx, id)
	if err != nil || !untold {
		return view, err
	}
	if err := s.noteTold(ctx, []engine.OrderID{id}); err != nil {
		return view, err
	}
	view, _, err = s.readOrder(ctx, id) // a repair may have been faster
	return view, err
}

// readOrder also says whether the order has failed by a dead letter of which nobody has been told yet.
func (s *Store) readOrder(ctx context.Context, id engine.OrderID) (view engine.OrderView, untold bool, err error) {
	view, untold, err = s.orderRow(ctx, id)
	if errors.Is(err, engine.ErrNoOrder) {
		return s.deadOrder(ctx, id)
	}
	return view, untold, err
}

// lastWord is what a look at an order o needs of a dead letter that has the last word on it, beside deadConfirm.
const lastWord = `coalesce(dead.quantity, o.quantity), CASE WHEN dead.id IS NULL THEN o.status ELSE 'failed' END, o.version,
       coalesce(dead.sequence, o.sequence), coalesce(dead.idx, o.idx)`

func (s *Store) orderRow(ctx context.Context, id engine.OrderID) (view engine.OrderView, untold bool, err error) {
	const query = `
SELECT ` + deadUntold + `, o.product_id, o.user_id, ` + lastWord + `, o.created_at, coalesce(dead.created_at, o.updated_at),
       o.expires_at, coalesce(dead.reason, o.reason, ''), coalesce(o.idempotency_key, ''), coalesce(o.idempotency_request, ''),
       coalesce(p.name, ''), coalesce(p.price_cents, 0)
  FROM orders o LEFT JOIN products p ON p.id = o.product_id LEFT JOIN ` + deadConfirm + ` ON true
 WHERE o.id = $1`
	view = engine.OrderView{Durable: true}
	view.ID = id
	var created, updated time.Time
	var expires *time.Time
	err = s.pool.QueryRow(ctx, query, id).Scan(&untold, &view.Product, &view.User, &view.Quantity, &view.Status, &view.Version,
		&view.Sequence, &view.Index, &created, &updated, &expires, &view.Reason,
		&view.IdempotencyKey, &view.Request, &view.ProductName, &view.PriceCents)
	if err != nil {
		return view, false, orNoOrder(err, id)
	}
	view.CreatedAtMs, view.UpdatedAtMs = created.UnixMilli(), updated.UnixMilli()
	if expires != nil {
		view.ExpiresAtMs = expires.UnixMilli()
	}
	return view, untold, nil
}

func orNoOrder(err error, id engine.OrderID) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return engine.ErrNoOrder
	}
	return ledgerError("order "+id.String(), err)
}

// deadOrder returns an order that could not become a row: it has failed. What nobody could read of it is empty, and
// its times are those of its burial.
func (s *Store) deadOrder(ctx context.Context, id engine.OrderID) (view engine.OrderView, untold bool, err error) {
	const query = `
SELECT ` + letterUntold + `, coalesce(d.product_id, ''), coalesce(d.user_id, ''), coalesce(d.quantity, 0), d.sequence, d.idx, d.created_at,
       d.reason, coalesce(p.name, ''), coalesce(p.price_cents, 0)
  FROM dead_letters d LEFT JOIN products p ON p.id = d.product_id
 WHERE d.order_id = $1
 ORDER BY d.id DESC
 LIMIT 1`
	view = engine.OrderView{Durable: true}
	view.ID, view.Status = id, engine.StatusFailed
	var buried time.Time
	err = s.pool.QueryRow(ctx, query, id).Scan(&untold, &view.Product, &view.User, &view.Quantity, &view.Sequence, &view.Index,
		&buried, &view.Reason, &view.ProductName, &view.PriceCents)
	if err != nil {
		return view, false, orNoOrder(err, id)
	}
	view.CreatedAtMs, view.UpdatedAtMs = buried.UnixMilli(), buried.UnixMilli()
	return view, untold, nil
}
