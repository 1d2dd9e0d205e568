package persist

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"flashsale/engine"
)

// leader drains a partition and brings it in line, of all processes the one that holds the advisory lock.
type leader struct {
	*follower
	conn    *pgx.Conn
	link    *engine.Link
	read    readAhead
	suspect string // why the partition is to be brought in line although Redis takes orders; "" = it is not
}

// lead works until ctx ends or something goes wrong that a new start may cure. When ctx ends it drains what is there.
func (l *leader) lead(ctx context.Context) error {
	link, err := l.engine.Connect(ctx, l.partition)
	if err != nil {
		return err
	}
	defer link.Close()
	l.link = link
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.trim(groupCtx) })
	group.Go(func() error {
		for groupCtx.Err() == nil {
			if err := l.round(groupCtx); err != nil {
				return err
			}
		}
		return groupCtx.Err()
	})
	if err := group.Wait(); ctx.Err() == nil {
		return err
	}
	return l.drainLast(ctx)
}

// lastDrain bounds how long a process that stops goes on draining.
const lastDrain = 2 * time.Second

// drainLast brings what is in the log into the ledger before the process ends.
func (l *leader) drainLast(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastDrain)
	defer cancel()
	at, err := readPosition(ctx, l.conn, l.partition)
	if err != nil || at.epoch.Namespace == "" || at.epoch.Held != "" {
		return err
	}
	keys, err := l.engine.EpochKeys(l.partition, at.epoch)
	if err != nil {
		return err
	}
	for done := false; !done && ctx.Err() == nil; {
		if at, done, err = l.step(ctx, keys, at, 0); err != nil {
			return err
		}
	}
	return nil
}

// round reads the position again, brings the partition in line if it must, and drains for a while.
func (l *leader) round(ctx context.Context) error {
	known := l.engine.Watermark(l.partition) // before the position is read, which can only be further
	at, err := readPosition(ctx, l.conn, l.partition)
	if err != nil {
		return err
	}
	guard, err := l.install(ctx, at)
	if err != nil {
		return err
	}
	switch {
	case at.epoch.Held != "":
		wait(ctx, followInterval, nil)
		return nil
	case behind(at, known):
		return l.hold(ctx, at, fmt.Sprintf("the ledger is at epoch %d, sequence %d, but was at epoch %d, sequence %d",
			at.epoch.Number, at.sequence, known.Epoch, known.Sequence))
	case guard != engine.GuardOK || at.rebuildReason != "" || l.suspect != "":
		return l.align(ctx, at, guard)
	}
	if err := l.dropStale(ctx, at); err != nil {
		return err
	}
	if err := l.handOver(ctx); err != nil {
		return err
	}
	return l.drain(ctx, at)
}

// behind tells whether the ledger has gone back: it was restored, or failed over to an older state.
func behind(at position, known engine.Watermark) bool {
	return known.Epoch > at.epoch.Number || known.Epoch == at.epoch.Number && known.Sequence > at.sequence
}

// handOver gives Redis the changes of products that it has not taken: their process may have died in between.
func (l *leader) handOver(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ledgerTimeout)
	defer cancel()
	rows, err := l.conn.Query(ctx, selectPending+` AND p.partition = $1`, l.partition)
	if err != nil {
		return fmt.Errorf("changes under way: %w", err)
	}
	changes, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (engine.Change, error) { return scanChange(row) })
	if err != nil {
		return fmt.Errorf("changes under way: %w", err)
	}
	for _, c := range changes {
		if _, err := l.engine.Apply(ctx, c); err != nil {
			return fmt.Errorf("hand over change %d of %s: %w", c.Number, c.Product, err)
		}
	}
	return nil
}

// drainBlock is how long a drainer waits for entries before it looks around.
const drainBlock = 250 * time.Millisecond

// drain brings the log into the ledger until it is time to look around again.
func (l *leader) drain(ctx context.Context, at position) error {
	keys, err := l.engine.EpochKeys(l.partition, at.epoch)
	if err != nil {
		return err
	}
	for until := time.Now().Add(followInterval); time.Now().Before(until) && ctx.Err() == nil && !l.alarmed(); {
		at, _, err = l.step(ctx, keys, at, drainBlock)
		switch {
		case errors.Is(err, errMoved):
			return nil
		case errors.Is(err, errGap), errors.Is(err, errOtherHistory):
			l.suspect = err.Error()
			return nil
		case err != nil:
			return err
		case at.rebuildReason != "":
			return nil
		}
	}
	return nil
}

// alarmed tells whether a script of this process was refused since the last look.
func (l *leader) alarmed() bool {
	select {
	case <-l.engine.Alarm(l.partition):
		return true
	default:
		return false
	}
}

// step drains what is there, up to a batch, and returns the position after it. done is true where nothing was.
func (l *leader) step(ctx context.Context, keys engine.Keys, at position, block time.Duration) (to position, done bool, err error) {
	entries, err := l.link.ReadLog(ctx, keys, at.sequence, l.read.count(l.config.BatchOrders), block)
	if err != nil || len(entries) == 0 {
		return at, err == nil, err
	}
	if !contiguous(entries, at.sequence) {
		return at, false, errGap
	}
	// The replid is asked after the entries came, so they are of this history.
	replid, err := l.link.Replid(ctx)
	if err != nil {
		return at, false, err
	}
	if replid != at.epoch.Replid && block > 0 {
		return at, false, fmt.Errorf("partition %d: %w", l.partition, errOtherHistory)
	}
	l.read.learn(entries)
	began := time.Now()
	// A commit that was begun is brought to its end: nobody gains by not knowing.
	to, err = commit(context.WithoutCancel(ctx), l.conn, l.partition, at, entries)
	if err != nil {
		return at, false, err
	}
	l.metrics.committed(to.orders-at.orders, time.Since(began))
	l.engine.Advance(l.partition, to.watermark())
	return to, false, nil
}

var (
	errGap          = errors.New("the log does not go on where the ledger ends")
	errOtherHistory = errors.New("the server has another history than the ledger names")
)

const (
	// trimInterval is how often Redis is relieved of what is in the ledger.
	trimInterval = 200 * time.Millisecond
	// trimEntries is how many log entries one call of the script removes: it holds Redis up for about a millisecond.
	trimEntries = 32
)

// trim has Redis forget what is in the ledger and past the grace. What it can't do now it does the next time.
func (l *leader) trim(ctx context.Context) error {
	for wait(ctx, trimInterval, nil) {
		for more := true; more && ctx.Err() == nil; {
			n, err := l.engine.Trim(ctx, l.partition, l.config.OrderGrace, trimEntries)
			more = err == nil && n == trimEntries
		}
	}
	return nil
}

// readAhead sizes reads of the log so that one brings about as many orders as a transaction is to hold.
type readAhead struct {
	perEntry int // orders an entry, in the last read
}

// firstRead is how many entries are asked for before anything is known of their size.
const firstRead = 64

func (r *readAhead) count(orders int) int64 {
	if r.perEntry == 0 {
		return firstRead
	}
	return int64(max(1, orders/r.perEntry))
}

func (r *readAhead) learn(entries []engine.Entry) {
	orders := 0
	for i := range entries {
		orders += len(entries[i].Orders)
	}
	r.perEntry = max(1, orders/len(entries))
}
