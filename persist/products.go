package persist

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"flashsale/engine"
)

var (
	errProductExists  = &engine.Error{Code: engine.CodeInvalidState, Field: "id", Detail: "a product with this id exists already"}
	errVersion        = &engine.Error{Code: engine.CodeVersionConflict, Field: "If-Match", Detail: "the product was changed by somebody else; read it again"}
	errTooFewLeft     = &engine.Error{Code: engine.CodeInvalidState, Field: "adjustStock", Detail: "fewer units are left than are to be taken away"}
	errTooMany        = engine.Invalid("adjustStock", "must not raise the stock above 1000000000000")
	errChangeUnderWay = &engine.Error{
		Code: engine.CodeUnavailable, RetryAfter: time.Second,
		Detail: "an earlier change of this product is not in force yet",
	}
	errChangeUnknown = &engine.Error{
		Code:   engine.CodeOutcomeUnknown,
		Detail: "the change may be recorded, and come into force yet; read the product again",
	}
)

// settleTimeout bounds how long a change waits to be in force.
const settleTimeout = 3 * time.Second

// CreateProduct records a product and its first units and returns it once Redis sells it and the ledger knows so.
func (s *Store) CreateProduct(ctx context.Context, p engine.NewProduct) (engine.Product, error) {
	const insert = `
WITH product AS (
    INSERT INTO products (id, partition, name, price_cents, initial_stock, per_user_limit, active, starts_at, ends_at,
                          hold_seconds, change_number)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $12, 1)
    RETURNING id
)
INSERT INTO stock_changes (product_id, number, kind, amount, at_once, name, price_cents, per_user_limit, active, starts_at,
                           ends_at, hold_seconds, actor, reason)
SELECT id, 1, 'add', $5, true, $3, $4, $6, $7, $8, $9, $12, $10, $11 FROM product`
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return engine.Product{}, ledgerError("create product "+p.ID, err)
	}
	defer tx.Rollback(ctx) //nolint:errcheck // after a commit there is nothing to roll back
	_, err = tx.Exec(ctx, insert, p.ID, s.engine.PartitionOf(p.ID), p.Name, p.PriceCents, p.Stock.Initial,
		p.Terms.PerUserLimit, p.Terms.Active, orNil(p.Terms.StartsAt), orNil(p.Terms.EndsAt), p.Actor, p.Reason,
		p.Terms.HoldSeconds)
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == pgerrcode.UniqueViolation {
		return engine.Product{}, errProductExists
	}
	if err != nil {
		return engine.Product{}, ledgerError("create product "+p.ID, err)
	}
	if err := commitChange(ctx, tx); err != nil {
		return engine.Product{}, fmt.Errorf("create product %s: %w", p.ID, err)
	}
	if err := s.settle(ctx, p.ID); err != nil {
		return engine.Product{}, unknown(err)
	}
	return s.readBack(ctx, p.ID)
}

// unknown wraps what went wrong after a change may have been committed: that is no refusal, whatever it was.
func unknown(err error) error { return fmt.Errorf("%w (%w)", errChangeUnknown, err) }

// commitChange commits a change of a product. Its outcome is definite only where Postgres itself says that it was not
// committed; an error that ended the session may have come after that.
func commitChange(ctx context.Context, tx pgx.Tx) error {
	err := tx.Commit(ctx)
	var pgErr *pgconn.PgError
	if err == nil || errors.Is(err, pgx.ErrTxCommitRollback) || errors.As(err, &pgErr) && pgErr.SeverityUnlocalized == "ERROR" {
		return err
	}
	return unknown(err)
}

// readBack returns a product after a change of it was committed.
func (s *Store) readBack(ctx context.Context, id string) (engine.Product, error) {
	p, err := s.Product(ctx, id)
	if err != nil {
		return engine.Product{}, unknown(err)
	}
	return p, nil
}

// ChangeProduct gives a change its number, in one transaction with its audit row, and returns the product once the
// change is in force and the ledger knows so. An increase is in force in the ledger first, a decrease in Redis first,
// so Redis never has more than the ledger.
func (s *Store) ChangeProduct(ctx context.Context, id string, c engine.ProductChange) (engine.Product, error) {
	number, err := s.recordNext(ctx, id, c)
	if err != nil {
		return engine.Product{}, err
	}
	if err := s.settle(ctx, id); err != nil {
		return engine.Product{}, unknown(err)
	}
	if err := s.outcome(ctx, id, number); err != nil {
		return engine.Product{}, err
	}
	return s.readBack(ctx, id)
}

// notSettled says why a change has not been begun: the ledger is away, or an earlier one is not in force.
func notSettled(err error) error {
	if errors.Is(err, errLedgerAway) {
		return err
	}
	return fmt.Errorf("%w (%w)", errChangeUnderWay, err)
}

// recordNext waits for the changes of others to be in force, one change of a product at a time, and records this one.
func (s *Store) recordNext(ctx context.Context, id string, c engine.ProductChange) (number int64, err error) {
	for {
		if err := s.settle(ctx, id); err != nil {
			return 0, notSettled(err)
		}
		number, err = s.record(ctx, id, c)
		if !errors.Is(err, errChangeUnderWay) || ctx.Err() != nil {
			return number, err
		}
	}
}

// record writes the change and its audit row, and what is in force at once.
func (s *Store) record(ctx context.Context, id string, c engine.ProductChange) (number int64, err error) {
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return 0, ledgerError("change product "+id, err)
	}
	defer tx.Rollback(ctx) //nolint:errcheck // after a commit there is nothing to roll back
	row, err := scanProduct(tx.QueryRow(ctx, selectProduct+` WHERE id = $1 FOR NO KEY UPDATE`, id))
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, engine.ErrUnknownProduct
	}
	if err != nil {
		return 0, ledgerError("change product "+id, err)
	}
	if c.IfVersion != 0 && c.IfVersion != row.Version {
		return 0, errVersion
	}
	if row.changeNumber != row.changeTaken {
		return 0, errChangeUnderWay // somebody's came between our settling and our lock
	}
	lower, amount, err := s.stockAmount(ctx, row.Product, c)
	if err != nil {
		return 0, err
	}
	next := merge(row.Product, c)
	if err := next.Terms.CheckWindow(); err != nil {
		return 0, err
	}
	number = row.changeNumber + 1
	if err := writeChange(ctx, tx, next, number, lower, amount, c); err != nil {
		return 0, fmt.Errorf("change product %s: %w", id, err)
	}
	return number, commitChange(ctx, tx)
}

// stockAmount turns what is asked for into what Redis is told: units to add, or units to be left.
func (s *Store) stockAmount(ctx context.Context, p engine.Product, c engine.ProductChange) (lower bool, amount int64, err error) {
	switch {
	case c.AdjustStock != nil:
		amount = *c.AdjustStock
	case c.CurrentStock != nil:
		counted := p
		if err := s.count(ctx, &counted); err != nil {
			return false, 0, err
		}
		amount = *c.CurrentStock - counted.Stock.Current
		if amount <= 0 {
			return true, *c.CurrentStock, nil
		}
	}
	if p.Stock.Initial+amount > engine.MaxStock {
		return false, 0, errTooMany
	}
	return false, amount, nil
}

func merge(p engine.Product, c engine.ProductChange) engine.Product {
	set(&p.Name, c.Name)
	set(&p.PriceCents, c.PriceCents)
	set(&p.Terms.PerUserLimit, c.PerUserLimit)
	set(&p.Terms.Active, c.Active)
	set(&p.Terms.StartsAt, c.StartsAt)
	set(&p.Terms.EndsAt, c.EndsAt)
	set(&p.Terms.HoldSeconds, c.HoldSeconds)
	return p
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

func writeChange(ctx context.Context, tx pgx.Tx, p engine.Product, number int64, lower bool, amount int64, c engine.ProductChange) error {
	kind := "add"
	if lower {
		kind = "lower"
	}
	atOnce := !lower && amount >= 0
	const audit = `
INSERT INTO stock_changes (product_id, number, kind, amount, at_once, name, price_cents, per_user_limit, active, starts_at,
                           ends_at, hold_seconds, actor, reason)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`
	_, err := tx.Exec(ctx, audit, p.ID, number, kind, amount, atOnce, p.Name, p.PriceCents, p.Terms.PerUserLimit,
		p.Terms.Active, orNil(p.Terms.StartsAt), orNil(p.Terms.EndsAt), p.Terms.HoldSeconds, c.Actor, c.Reason)
	if err != nil {
		return err
	}
	if !atOnce {
		_, err = tx.Exec(ctx, `UPDATE products SET change_number = $2, updated_at = now() WHERE id = $1`, p.ID, number)
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE products SET change_number = $2, initial_stock = initial_stock + $3 WHERE id = $1`, p.ID, number, amount)
	if err != nil {
		return err
	}
	return putInForce(ctx, tx, p.ID, number)
}

// putInForce copies what a change sets, stock aside, into the product.
func putInForce(ctx context.Context, tx pgx.Tx, product string, number int64) error {
	const update = `
UPDATE products p
   SET name = c.name, price_cents = c.price_cents, per_user_limit = c.per_user_limit, active = c.active,
       starts_at = c.starts_at, ends_at = c.ends_at, hold_seconds = c.hold_seconds, version = p.version + 1, updated_at = now()
  FROM stock_changes c
 WHERE p.id = $1 AND c.product_id = p.id AND c.number = $2`
	_, err := tx.Exec(ctx, update, product, number)
	return err
}

// settle hands over the change of a product that Redis has not taken yet, if there is one, and waits until the ledger
// knows that it has.
func (s *Store) settle(ctx context.Context, product string) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	change, pending, err := pendingChange(ctx, s.pool, product)
	if err != nil || !pending {
		return err
	}
	done, err := s.engine.Apply(ctx, change)
	if err != nil {
		return err
	}
	_, err = s.engine.WaitDurable(ctx, s.engine.PartitionOf(product), done.Epoch, done.Sequence)
	return err
}

const selectPending = `
SELECT c.product_id, c.number, c.kind = 'lower', c.amount, c.per_user_limit, c.active, c.starts_at, c.ends_at,
       c.hold_seconds
  FROM products p JOIN stock_changes c ON c.product_id = p.id AND c.number = p.change_number
 WHERE p.change_number > p.change_taken`

func pendingChange(ctx context.Context, db querier, product string) (change engine.Change, pending bool, err error) {
	change, err = scanChange(db.QueryRow(ctx, selectPending+` AND p.id = $1`, product))
	if errors.Is(err, pgx.ErrNoRows) {
		return change, false, nil
	}
	if err != nil {
		return change, false, ledgerError("change under way of "+product, err)
	}
	return change, true, nil
}

func scanChange(row pgx.Row) (engine.Change, error) {
	var c engine.Change
	var starts, ends *time.Time
	err := row.Scan(&c.Product, &c.Number, &c.Lower, &c.Amount, &c.Terms.PerUserLimit, &c.Terms.Active, &starts, &ends,
		&c.Terms.HoldSeconds)
	c.Terms.StartsAt, c.Terms.EndsAt = orZero(starts), orZero(ends)
	return c, err
}

// outcome tells whether a change that has settled was refused.
func (s *Store) outcome(ctx context.Context, product string, number int64) error {
	var outcome *string
	const query = `SELECT outcome FROM stock_changes WHERE product_id = $1 AND number = $2`
	if err := s.pool.QueryRow(ctx, query, product, number).Scan(&outcome); err != nil {
		return unknown(fmt.Errorf("outcome of change %d of %s: %w", number, product, err))
	}
	switch {
	case outcome == nil:
		return errChangeUnknown
	case *outcome == "refused":
		return errTooFewLeft
	}
	return nil
}
