package persist

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"flashsale/engine"
)

// exportPage is how many products are in memory at a time.
const exportPage = 1000

// ExportProducts calls each with every product, by id, as one instant of the ledger has them. Stock.Held, and with it
// Stock.Current, is counted only where withHeld says so: it takes a look at every order. Who takes longer than Postgres
// lets a transaction lie idle gets an error.
func ExportProducts(ctx context.Context, pool *pgxpool.Pool, withHeld bool, each func(p *engine.Product) error) error {
	tx, err := pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return ledgerError("export products", err)
	}
	defer tx.Rollback(ctx) //nolint:errcheck // it has read only
	held := map[string]int64{}
	if withHeld {
		if held, err = heldUnits(ctx, tx); err != nil {
			return ledgerError("export products", err)
		}
	}
	for after, more := "", true; more; {
		page, err := productsAfter(ctx, tx, after, exportPage)
		if err != nil {
			return ledgerError("export products", err)
		}
		for i := range page {
			p := &page[i]
			p.Stock.Held = held[p.ID]
			p.Stock.Current -= p.Stock.Held
			if err := each(p); err != nil {
				return fmt.Errorf("export product %s: %w", p.ID, err)
			}
			after = p.ID
		}
		more = len(page) == exportPage
	}
	return nil
}

func productsAfter(ctx context.Context, db querier, after string, limit int) ([]engine.Product, error) {
	rows, err := db.Query(ctx, selectProduct+` WHERE id > $1 ORDER BY id LIMIT $2`, after, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (engine.Product, error) {
		p, err := scanProduct(row)
		return p.Product, err
	})
}

// heldUnits returns the units of every product that has open holds.
func heldUnits(ctx context.Context, db querier) (map[string]int64, error) {
	const query = `SELECT product_id, sum(quantity)::bigint FROM orders WHERE status = 'pending' GROUP BY product_id`
	rows, err := db.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	held := make(map[string]int64)
	var id string
	var units int64
	_, err = pgx.ForEachRow(rows, []any{&id, &units}, func() error {
		held[id] = units
		return nil
	})
	return held, err
}
