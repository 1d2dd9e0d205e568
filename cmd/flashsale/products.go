package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"
)

type productsCmd struct {
	Import productsImport `cmd:"" help:"Record the products of a CSV file, all of them or none; a running server puts them on sale."`
	Export productsExport `cmd:"" help:"Write all products as CSV, in the form that an import takes."`
}

// standardStream is how a file is named that is standard input or output.
const standardStream = "-"

// withSchema opens the ledger and refuses one whose schema is behind. Standard output is left to the command.
func (s *stores) withSchema(ctx context.Context, use func(*pgxpool.Pool) error) error {
	return s.withLedgerSaying(ctx, os.Stderr, func(pool *pgxpool.Pool) error {
		if err := prepareSchema(ctx, pool, false); err != nil {
			if s.Dev && errors.Is(err, errSchemaBehind) {
				return fmt.Errorf("%w; here with --dev", err)
			}
			return err
		}
		return use(pool)
	})
}
