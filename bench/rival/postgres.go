package rival

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Tables of a schema of its own. The check keeps the stock from being oversold, whatever is written.
const createRows = `
CREATE SCHEMA IF NOT EXISTS rival;
CREATE TABLE IF NOT EXISTS rival.products (id text PRIMARY KEY, stock bigint NOT NULL CONSTRAINT enough CHECK (stock >= 0)) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS rival.buyers (product_id text, user_id text, bought bigint NOT NULL, PRIMARY KEY (product_id, user_id));
CREATE TABLE IF NOT EXISTS rival.orders (id uuid PRIMARY KEY, product_id text NOT NULL, user_id text NOT NULL, quantity bigint NOT NULL, created_at timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS rival.drained (LIKE rival.orders INCLUDING ALL)`

// sellRow is a whole order in one statement and one transaction: the buyer's limit, the order, and last, for that is what
// all wait for, the stock. A stock that would fall below zero fails it, and with it all the rest.
const sellRow = `
WITH buyer AS (
  INSERT INTO rival.buyers AS b (product_id, user_id, bought) SELECT $2, $3, $4 WHERE $4 <= $6::bigint
  ON CONFLICT (product_id, user_id) DO UPDATE SET bought = b.bought + excluded.bought WHERE b.bought + excluded.bought <= $6
  RETURNING 1),
placed AS (
  INSERT INTO rival.orders (id, product_id, user_id, quantity, created_at)
  SELECT $1, $2, $3, $4, $5 FROM buyer RETURNING quantity)
UPDATE rival.products p SET stock = p.stock - placed.quantity FROM placed WHERE p.id = $2`

// maxConns is how many orders Postgres has under way at once; more only queue for the same row.
const maxConns = 16

// Postgres sells by a row update in a transaction.
type Postgres struct{ pool *pgxpool.Pool }

// NewPostgres connects to a database and makes its tables there. Close ends it and leaves them.
func NewPostgres(ctx context.Context, url string) (*Postgres, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("postgres address: %w", err)
	}
	config.MaxConns = maxConns
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to postgres: %w", err)
	}
	if _, err := pool.Exec(ctx, createRows); err != nil {
		pool.Close()
		return nil, fmt.Errorf("create tables: %w", err)
	}
	return &Postgres{pool: pool}, nil
}

// Close ends the connections.
func (p *Postgres) Close() { p.pool.Close() }

// Name says how it sells.
func (p *Postgres) Name() string { return "Postgres row in a transaction" }

// Stock puts a product on sale.
func (p *Postgres) Stock(ctx context.Context, product string, units int64) error {
	if _, err := p.pool.Exec(ctx, "INSERT INTO rival.products (id, stock) VALUES ($1, $2)", product, units); err != nil {
		return fmt.Errorf("put on sale: %w", err)
	}
	return nil
}

// Sell runs the statement.
func (p *Postgres) Sell(ctx context.Context, o *Order) error {
	done, err := p.pool.Exec(ctx, sellRow, o.ID, o.Product, o.User, o.Quantity, o.At, PerUser)
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused) && refused.ConstraintName == "enough":
		return ErrSoldOut
	case err != nil:
		return fmt.Errorf("sell: %w", err)
	case done.RowsAffected() == 0:
		return ErrLimit
	}
	return nil
}

// Books adds up the rows.
func (p *Postgres) Books(ctx context.Context, product string) (books Books, err error) {
	rows, err := p.pool.Query(ctx, `
SELECT p.stock,
       (SELECT count(*) FROM rival.orders o WHERE o.product_id = p.id) AS orders,
       (SELECT coalesce(sum(bought), 0)::bigint FROM rival.buyers b WHERE b.product_id = p.id) AS units
  FROM rival.products p WHERE p.id = $1`, product)
	if err != nil {
		return books, fmt.Errorf("books: %w", err)
	}
	books, err = pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (b Books, err error) {
		return b, row.Scan(&b.Left, &b.Orders, &b.Units)
	})
	if err != nil {
		return books, fmt.Errorf("books: %w", err)
	}
	return books, nil
}
