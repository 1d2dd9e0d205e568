package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/rueidis"

	"flashsale/engine"
	"flashsale/internal/pause"
	"flashsale/persist"
	"flashsale/persist/reconcile"
)

type reconcileCmd struct {
	stores
	hot

	Product []string       `help:"Compare this product only; may be repeated; not with --apply." placeholder:"ID"`
	Apply   bool           `help:"Repair what can be repaired. Without it nothing is changed."`
	JSON    bool           `help:"Print the report as JSON; with --watch one line a round."`
	Watch   *time.Duration `help:"Go on: a round each interval, one line a round, until a signal." placeholder:"INTERVAL"`
	Actor   string         `help:"Who does this, for the audit. Default: the user of the operating system." placeholder:"NAME"`

	Rebuild     bool `help:"Compare nothing: shut, drain and write anew from the ledger what Redis has, by hand."`
	Partition   *int `help:"With --rebuild: this partition only. Default: all." placeholder:"N"`
	ReleaseHold bool `help:"With --rebuild: also where an operator's hold keeps a partition shut. The ledger is the truth then."`
}

// Exit codes of reconcile.
const (
	exitDrift   = 1
	exitUnknown = 2
)

// exitError ends the program with a code of its own.
type exitError struct {
	code int
	error
}

// Unwrap returns what went wrong.
func (e exitError) Unwrap() error { return e.error }

var errWatchRebuild = errors.New("--partition and --release-hold go with --rebuild, --watch, --apply and --product without it")

var errWatchInterval = errors.New("--watch needs an interval above 0, such as 5m")

var errApplyProduct = fmt.Errorf("--apply goes without --product: %w", reconcile.ErrApplyPart)

func (c *reconcileCmd) check() error {
	switch {
	case c.Watch != nil && *c.Watch <= 0:
		return errWatchInterval
	case c.Rebuild && (c.Watch != nil || c.Apply || c.Product != nil), !c.Rebuild && (c.ReleaseHold || c.Partition != nil):
		return errWatchRebuild
	case c.Apply && c.Product != nil:
		return errApplyProduct
	case !engine.ValidText(c.Actor, 0, maxActor):
		return errActor
	}
	for _, id := range c.Product {
		if !engine.ValidProductID(id) {
			return fmt.Errorf("--product %q: %s", id, engine.ProductIDRule)
		}
	}
	return c.checkPartitions()
}

// Run compares, and says by its exit code what it found: 0 nothing, 1 drift, 2 it could not tell.
func (c *reconcileCmd) Run(ctx context.Context) error {
	err := c.run(ctx)
	var exit exitError
	if err == nil || errors.As(err, &exit) {
		return err
	}
	return exitError{exitUnknown, err}
}

func (c *reconcileCmd) run(ctx context.Context) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	if c.Dev {
		stack, err := startStackSaying(ctx, os.Stderr, &c.stores, false)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stack.Close()) }()
	}
	pool, err := persist.Connect(ctx, c.databaseURL(), c.Partitions)
	if err != nil {
		return fmt.Errorf("DATABASE_URL or DATABASE_HOST: %w", err)
	}
	defer pool.Close()
	if err := prepareSchema(ctx, pool, false); err != nil {
		return err
	}
	redis, err := engine.Connect(ctx, c.redisURL())
	if err != nil {
		return fmt.Errorf("REDIS_URL or REDIS_HOST: %w", err)
	}
	defer redis.Close()
	return c.onStores(ctx, pool, redis)
}

// onStores does the work. Where something is to be written anew, whoever leads a partition does that: a server, or this
// process where none runs.
func (c *reconcileCmd) onStores(ctx context.Context, pool *pgxpool.Pool, redis rueidis.Client) error {
	config := c.engineConfig(c.Partitions)
	e, err := engine.New(redis, config)
	if err != nil {
		return err
	}
	if !c.Apply && !c.Rebuild {
		return c.work(ctx, pool, e)
	}
	keeper := persist.NewKeeper(pool, e, persist.KeeperConfig{
		BatchOrders: c.DrainBatch, OrderGrace: c.OrderGrace, LockTTL: config.LockTTL, IdempotencyTTL: config.KeyTTL,
		Settings: c.shared(),
	})
	return runInOrder(ctx, func(ctx context.Context) error { return c.work(ctx, pool, e) }, keeper.Run)
}

func (c *reconcileCmd) work(ctx context.Context, pool *pgxpool.Pool, e *engine.Engine) error {
	actor := c.Actor
	if actor == "" {
		actor = systemUser()
	}
	config := reconcile.Config{Products: c.Product, Apply: c.Apply, Actor: actor}
	if c.Watch == nil && !c.Rebuild {
		bar := newCompareBar(os.Stderr)
		defer bar.end()
		config.Progress = bar.show
	}
	r := reconcile.New(pool, e, config)
	defer r.Close()
	switch {
	case c.Rebuild:
		return c.rebuild(ctx, r, e.Partitions())
	case c.Watch != nil:
		return c.watch(ctx, r, *c.Watch)
	}
	report, err := r.Run(ctx)
	return errors.Join(c.print(os.Stdout, &report), verdict(&report, err))
}

func (c *reconcileCmd) print(out io.Writer, report *reconcile.Report) error {
	if c.JSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(report)
	}
	_, err := io.WriteString(out, reportText(report))
	return err
}

// verdict turns what a run found into an exit code.
func verdict(report *reconcile.Report, err error) error {
	switch {
	case err != nil:
		return exitError{exitUnknown, err}
	case report.Outcome == engine.ReconciledDrift:
		return exitError{exitDrift, fmt.Errorf("%s", countText(report.Unrepaired(), "drift"))}
	}
	return nil
}

// watch compares again and again until a signal. It ends as its rounds did: with the drift that any of them found, else with
// what the last one could not tell.
func (c *reconcileCmd) watch(ctx context.Context, r *reconcile.Reconciler, interval time.Duration) error {
	var drift, last error
	for going := true; going; going = pause.For(ctx, interval) {
		report, err := r.Run(ctx)
		if ctx.Err() != nil { // it was broken off
			break
		}
		if err := c.printRound(os.Stdout, &report); err != nil {
			return err
		}
		if last = verdict(&report, err); report.Outcome == engine.ReconciledDrift {
			drift = last
		}
	}
	return cmp.Or(drift, last)
}

func (c *reconcileCmd) printRound(out io.Writer, report *reconcile.Report) error {
	if c.JSON {
		return json.NewEncoder(out).Encode(report)
	}
	_, err := io.WriteString(out, roundText(report)+"\n")
	return err
}

// rebuild writes partitions anew, one after the other, so that the others go on selling.
func (c *reconcileCmd) rebuild(ctx context.Context, r *reconcile.Reconciler, partitions int) error {
	first, last := 0, partitions-1
	if c.Partition != nil {
		first, last = *c.Partition, *c.Partition
	}
	for partition := first; partition <= last; partition++ {
		done, err := r.Rebuild(ctx, partition, c.ReleaseHold)
		if err != nil {
			return fmt.Errorf("partition %d: %w", partition, err)
		}
		if c.JSON {
			if err := json.NewEncoder(os.Stdout).Encode(done); err != nil {
				return err
			}
			continue
		}
		say(os.Stdout, "partition %d is written anew from the ledger and open, in epoch %d, after %s\n", partition, done.Epoch, done.Took.Round(time.Millisecond))
		if done.Released != "" {
			say(os.Stdout, "  the operator's hold on it is released: %s\n", done.Released)
		}
	}
	return nil
}
