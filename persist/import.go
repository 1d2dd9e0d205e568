package persist

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"flashsale/engine"
)

// ErrImportClash says that somebody else made a product of the import after it was checked. Nothing was recorded.
var ErrImportClash = errors.New("somebody else has made a product of the import in the meantime")

// ImportProducts records new products and their first units, all of them or none, in one transaction. Whichever process
// leads a product's partition hands it over to Redis; see [Untaken]. A ledger that no process has used yet is given as many
// partitions as the setting says; elsewhere the ledger's own number counts. An error with the code outcome_unknown means
// that all may be recorded.
func ImportProducts(ctx context.Context, pool *pgxpool.Pool, partitions int, products []engine.NewProduct) error {
	// In the order of their ids, so two imports of the same never wait for each other in a circle.
	products = slices.Clone(products)
	slices.SortFunc(products, func(a, b engine.NewProduct) int { return strings.Compare(a.ID, b.ID) })
	tx, err := pool.Begin(ctx)
	if err != nil {
		return ledgerError("import products", err)
	}
	defer tx.Rollback(ctx) //nolint:errcheck // after a commit there is nothing to roll back
	if partitions, err = partitionsOf(ctx, tx, partitions); err != nil {
		return fmt.Errorf("import products: %w", err)
	}
	if err := copyProducts(ctx, tx, partitions, products); err != nil {
		return fmt.Errorf("import products: %w", err)
	}
	if err := commitChange(ctx, tx); err != nil {
		return fmt.Errorf("import products: %w", err)
	}
	return nil
}

// partitionsOf returns the ledger's number of partitions, which is the setting's where it has none yet.
func partitionsOf(ctx context.Context, tx pgx.Tx, setting int) (int, error) {
	recorded, err := countPartitions(ctx, tx)
	if err != nil || recorded > 0 {
		return recorded, err
	}
	return setting, EnsurePartitions(ctx, tx, setting)
}

// importColumn is a column of a table and what an import puts there.
type importColumn struct {
	name  string
	value func(p *engine.NewProduct) any
}

// describing are the columns by which both tables say what the product is like.
var describing = []importColumn{
	{"name", func(p *engine.NewProduct) any { return p.Name }},
	{"price_cents", func(p *engine.NewProduct) any { return p.PriceCents }},
	{"per_user_limit", func(p *engine.NewProduct) any { return p.Terms.PerUserLimit }},
	{"active", func(p *engine.NewProduct) any { return p.Terms.Active }},
	{"starts_at", func(p *engine.NewProduct) any { return orNil(p.Terms.StartsAt) }},
	{"ends_at", func(p *engine.NewProduct) any { return orNil(p.Terms.EndsAt) }},
	{"hold_seconds", func(p *engine.NewProduct) any { return p.Terms.HoldSeconds }},
}

// firstChange is the number of the change that makes a product.
const firstChange = 1

// copyProducts writes what CreateProduct writes, for many products.
func copyProducts(ctx context.Context, tx pgx.Tx, partitions int, products []engine.NewProduct) error {
	inProducts := slices.Concat([]importColumn{
		{"id", func(p *engine.NewProduct) any { return p.ID }},
		{"partition", func(p *engine.NewProduct) any { return engine.PartitionOf(p.ID, partitions) }},
		{"initial_stock", func(p *engine.NewProduct) any { return p.Stock.Initial }},
		{"change_number", func(*engine.NewProduct) any { return firstChange }},
	}, describing)
	inChanges := slices.Concat([]importColumn{
		{"product_id", func(p *engine.NewProduct) any { return p.ID }},
		{"number", func(*engine.NewProduct) any { return firstChange }},
		{"kind", func(*engine.NewProduct) any { return "add" }},
		{"amount", func(p *engine.NewProduct) any { return p.Stock.Initial }},
		{"at_once", func(*engine.NewProduct) any { return true }},
		{"actor", func(p *engine.NewProduct) any { return p.Actor }},
		{"reason", func(p *engine.NewProduct) any { return p.Reason }},
	}, describing)
	err := copyTable(ctx, tx, "products", inProducts, products)
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == pgerrcode.UniqueViolation {
		return fmt.Errorf("%w (%w)", ErrImportClash, err)
	}
	if err != nil {
		return err
	}
	return copyTable(ctx, tx, "stock_changes", inChanges, products)
}

func copyTable(ctx context.Context, tx pgx.Tx, table string, columns []importColumn, products []engine.NewProduct) error {
	names := make([]string, len(columns))
	for i := range columns {
		names[i] = columns[i].name
	}
	row := make([]any, len(columns))
	rows := pgx.CopyFromSlice(len(products), func(at int) ([]any, error) {
		for i := range columns {
			row[i] = columns[i].value(&products[at])
		}
		return row, nil
	})
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{table}, names, rows); err != nil {
		return fmt.Errorf("copy into %s: %w", table, err)
	}
	return nil
}

// ExistingProducts returns those ids that a product has already.
func ExistingProducts(ctx context.Context, pool *pgxpool.Pool, ids []string) ([]string, error) {
	return selectIDs(ctx, pool, `SELECT id FROM products WHERE id = ANY ($1)`, ids)
}

// Untaken returns those ids whose product Redis has not taken yet, as far as the ledger knows: it can't be bought.
func Untaken(ctx context.Context, pool *pgxpool.Pool, ids []string) ([]string, error) {
	return selectIDs(ctx, pool, `
SELECT id FROM products WHERE change_number > change_taken AND change_taken = 0 AND id = ANY ($1)`, ids)
}

func selectIDs(ctx context.Context, pool *pgxpool.Pool, query string, ids []string) ([]string, error) {
	rows, err := pool.Query(ctx, query, ids)
	if err != nil {
		return nil, ledgerError("products", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, ledgerError("products", err)
	}
	return found, nil
}
