package persist

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"flashsale/migrations"
)

// Migration is one step of the ledger's schema.
type Migration struct {
	Version int64
	Name    string
	Applied bool
}

// MigrateUp brings the ledger's schema to the newest version. Several processes may try at the same time.
func MigrateUp(ctx context.Context, pool *pgxpool.Pool) ([]Migration, error) {
	var done []Migration
	err := withGoose(pool, func(p *goose.Provider) error {
		results, err := p.Up(ctx)
		for _, r := range results {
			done = append(done, Migration{Version: r.Source.Version, Name: r.Source.Path, Applied: true})
		}
		return err
	})
	return done, err
}

// MigrateDown takes the newest step back, with all its data.
func MigrateDown(ctx context.Context, pool *pgxpool.Pool) (Migration, error) {
	var undone Migration
	err := withGoose(pool, func(p *goose.Provider) error {
		r, err := p.Down(ctx)
		if err == nil {
			undone = Migration{Version: r.Source.Version, Name: r.Source.Path}
		}
		return err
	})
	return undone, err
}

// MigrateStatus lists every step and whether it is applied.
func MigrateStatus(ctx context.Context, pool *pgxpool.Pool) ([]Migration, error) {
	var all []Migration
	err := withGoose(pool, func(p *goose.Provider) error {
		steps, err := p.Status(ctx)
		for _, s := range steps {
			all = append(all, Migration{Version: s.Source.Version, Name: s.Source.Path, Applied: s.State == goose.StateApplied})
		}
		return err
	})
	return all, err
}

func withGoose(pool *pgxpool.Pool, use func(*goose.Provider) error) (err error) {
	db := stdlib.OpenDBFromPool(pool)
	defer closeInto(&err, db)
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, migrations.Files, goose.WithSessionLocker(locker))
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if err := use(provider); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

func closeInto(err *error, db *sql.DB) {
	if closeErr := db.Close(); *err == nil {
		*err = closeErr
	}
}
