package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"

	"flashsale/persist"
)

type migrateCmd struct {
	Up     migrateUp     `cmd:"" help:"Apply every step that is not applied."`
	Down   migrateDown   `cmd:"" help:"Take the newest step back, with all its data."`
	Status migrateStatus `cmd:"" help:"List the steps."`
}

type (
	migrateUp     struct{ stores }
	migrateStatus struct{ stores }
	migrateDown   struct {
		stores
		Yes bool `help:"Needed: the step's tables go with all that is in them."`
	}
)

// Run applies every step that is not applied.
func (m *migrateUp) Run(ctx context.Context) error {
	return m.withLedger(ctx, func(pool *pgxpool.Pool) error {
		done, err := persist.MigrateUp(ctx, pool)
		for _, step := range done {
			fmt.Println("applied", step.Name)
		}
		if err == nil && len(done) == 0 {
			fmt.Println("nothing to do: the schema is at its newest step")
		}
		return err
	})
}

var errNotConfirmed = errors.New("migrate down deletes the newest step's tables with all that is in them: say --yes")

// Run takes the newest step back.
func (m *migrateDown) Run(ctx context.Context) error {
	if !m.Yes {
		return errNotConfirmed
	}
	return m.withLedger(ctx, func(pool *pgxpool.Pool) error {
		undone, err := persist.MigrateDown(ctx, pool)
		if err == nil {
			fmt.Println("taken back", undone.Name)
		}
		return err
	})
}

// Run lists the steps.
func (m *migrateStatus) Run(ctx context.Context) error {
	return m.withLedger(ctx, func(pool *pgxpool.Pool) error {
		steps, err := persist.MigrateStatus(ctx, pool)
		for _, step := range steps {
			state := "pending"
			if step.Applied {
				state = "applied"
			}
			fmt.Println(state, step.Name)
		}
		return err
	})
}

// withLedger opens the ledger, of the development stack where that is asked for.
func (s *stores) withLedger(ctx context.Context, use func(*pgxpool.Pool) error) error {
	return s.withLedgerSaying(ctx, os.Stdout, use)
}

// withLedgerSaying says on out which development stack it is.
func (s *stores) withLedgerSaying(ctx context.Context, out io.Writer, use func(*pgxpool.Pool) error) (err error) {
	if s.Dev {
		stack, startErr := startStackSaying(ctx, out, s, true)
		if startErr != nil {
			return startErr
		}
		defer func() { err = errors.Join(err, stack.Close()) }()
	}
	pool, err := persist.Connect(ctx, s.databaseURL(), 1)
	if err != nil {
		return fmt.Errorf("DATABASE_URL or DATABASE_HOST (--dev starts one): %w", err)
	}
	defer pool.Close()
	return use(pool)
}
