package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"

	"flashsale/persist"
	"flashsale/persist/sheet"
)

type productsExport struct {
	stores

	File  string `arg:"" optional:"" help:"CSV file to write, replaced once all is written; - is standard output, the default." default:"-"`
	Stock bool   `help:"Add currentStock, heldStock and soldStock as the ledger has them. An import refuses these columns."`
}

// Run writes all products.
func (e *productsExport) Run(ctx context.Context) error {
	return e.withSchema(ctx, func(pool *pgxpool.Pool) error {
		if e.File == standardStream {
			return e.write(ctx, pool, os.Stdout)
		}
		return replaceFile(e.File, func(file *os.File) error { return e.write(ctx, pool, file) })
	})
}

func (e *productsExport) write(ctx context.Context, pool *pgxpool.Pool, file *os.File) error {
	out := bufio.NewWriter(file)
	table := sheet.NewWriter(out, e.Stock)
	if err := persist.ExportProducts(ctx, pool, e.Stock, table.Write); err != nil {
		return err
	}
	if err := errors.Join(table.Flush(), out.Flush()); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// partSuffix names a file while it is written.
const partSuffix = ".part"

// replaceFile writes a file under another name first: what is there stays as it is unless all is written. What is no
// file, such as a pipe, is written to as it is.
func replaceFile(name string, write func(*os.File) error) (err error) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return writeFile(name, os.O_WRONLY, write)
	}
	part := name + partSuffix
	if err := writeFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, write); err != nil {
		if removed := os.Remove(part); !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
		return err
	}
	return os.Rename(part, name)
}

func writeFile(name string, flags int, write func(*os.File) error) error {
	file, err := os.OpenFile(name, flags, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}
