package persist

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"flashsale/engine"
)

// Store reads orders and products, wherever they are now, and changes products.
type Store struct {
	pool   *pgxpool.Pool
	engine *engine.Engine
	hands  *hands // of the drainer of the same process; nil = it has none
}

// WatchDrain shows what the drainers of the same process have in hand. It is called before the store is used.
func (s *Store) WatchDrain(k *Keeper) { s.hands = k.hands }

// NewStore returns a store on a pool made by [Connect] and the engine of the same process.
func NewStore(pool *pgxpool.Pool, e *engine.Engine) *Store { return &Store{pool: pool, engine: e} }

// Ping asks the ledger for a sign of life.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.pool.Ping(ctx); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	return nil
}

const selectProduct = `
SELECT id, name, price_cents, initial_stock, sold, per_user_limit, active, starts_at, ends_at, hold_seconds, version,
       change_number, change_taken, created_at
  FROM products`

// productRow is a product as the ledger has it.
type productRow struct {
	engine.Product
	changeNumber int64
	changeTaken  int64
}

func scanProduct(row pgx.Row) (productRow, error) {
	var p productRow
	var starts, ends *time.Time
	err := row.Scan(&p.ID, &p.Name, &p.PriceCents, &p.Stock.Initial, &p.Stock.Sold, &p.Terms.PerUserLimit,
		&p.Terms.Active, &starts, &ends, &p.Terms.HoldSeconds, &p.Version, &p.changeNumber, &p.changeTaken, &p.CreatedAt)
	if err != nil {
		return p, err
	}
	p.Terms.StartsAt, p.Terms.EndsAt = orZero(starts), orZero(ends)
	p.Stock.Current = p.Stock.Initial - p.Stock.Sold
	return p, nil
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// orNil makes the zero time NULL.
func orNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Product returns a product with the counters that Redis has now. It fails with the code not_found.
func (s *Store) Product(ctx context.Context, id string) (engine.Product, error) {
	row, err := scanProduct(s.pool.QueryRow(ctx, selectProduct+` WHERE id = $1`, id))
	if errors.Is(err, pgx.ErrNoRows) {
		return engine.Product{}, engine.ErrUnknownProduct
	}
	if err != nil {
		return engine.Product{}, ledgerError("product "+id, err)
	}
	err = s.count(ctx, &row.Product)
	return row.Product, err
}

// Products returns up to limit products whose ids come after one, by id, with the counters that Redis has now.
func (s *Store) Products(ctx context.Context, after string, limit int) ([]engine.Product, error) {
	products, err := productsAfter(ctx, s.pool, after, limit)
	if err != nil {
		return nil, ledgerError("products", err)
	}
	return products, s.countAll(ctx, products)
}

// Recount replaces the counters of products by those that Redis has now. It does without the ledger.
func (s *Store) Recount(ctx context.Context, products []engine.Product) error {
	return s.countAll(ctx, products)
}

// count replaces a product's counters by those that Redis has. One that Redis has not taken yet keeps the ledger's.
func (s *Store) count(ctx context.Context, p *engine.Product) error {
	stock, found, err := s.engine.Stock(ctx, p.ID)
	if err != nil {
		return redisError(err)
	}
	if found {
		p.Stock = stock
	}
	return nil
}

func (s *Store) countAll(ctx context.Context, products []engine.Product) error {
	stocks, err := s.engine.Stocks(ctx, products)
	if err != nil {
		return redisError(err)
	}
	for i := range products {
		if stocks[i] != nil {
			products[i].Stock = *stocks[i]
		}
	}
	return nil
}
