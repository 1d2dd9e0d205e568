package rival

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// LedgerOrders counts a product's confirmed orders in the engine's ledger, row by row, as an auditor would.
func LedgerOrders(ctx context.Context, ledger *pgxpool.Pool, product string) (orders int64, err error) {
	err = ledger.QueryRow(ctx, "SELECT count(*) FROM orders WHERE product_id = $1 AND status = 'confirmed'", product).Scan(&orders)
	if err != nil {
		return 0, fmt.Errorf("count the ledger's orders: %w", err)
	}
	return orders, nil
}
