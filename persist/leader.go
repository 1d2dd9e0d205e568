package persist

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"flashsale/engine"
)

// leader drains a partition and brings it in line, of all processes the one that holds the advisory lock.
type leader struct {
	*follower
	conn    *pgx.Conn
	last    context.Context // ends lastDrain after the process was told to stop; what is asked of the ledger goes on till then
	link    *engine.Link
	ahead   readAhead
	noted   string    // namespace that this leader has written down in Redis as the one in force
	suspect string    // why the partition is to be brought in line although Redis takes orders; "" = it is not
	hurried time.Time // when another process last said that somebody there waits for the ledger

	uncounted bool // what was read last of orders can't be read, so nobody knows how many they are
}

// lead works until ctx ends or something goes wrong that a new start may cure. When ctx ends it drains what is there.
func (l *leader) lead(ctx context.Context) error {
	link, err := l.engine.Connect(ctx, l.partition)
	if err != nil {
		return err
	}
	defer link.Close()
	l.link = link
	last, cancel := outlast(ctx, lastDrain)
	defer cancel()
	l.last = last
	if err := l.allowSilence(ctx, l.config.LeaderSilence); err != nil {
		return err
	}
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
	if err := l.drainLast(last); err != nil {
		l.log.Error("stopped before the log was drained: the next leader goes on", "error", err)
	}
	return nil
}

// allowSilence says for how long this leader may ask its session nothing, 0 = for ever: then Postgres ends the session, and
// another process takes the partition over. A leader that works asks at least once every followInterval; a process that is
// frozen, its machine awake, keeps its connections and with them the lock for as long as that lasts.
func (l *leader) allowSilence(ctx context.Context, limit time.Duration) error {
	const set = `SELECT set_config('idle_session_timeout', $1, false)`
	if _, err := l.exec(ctx, set, strconv.FormatInt(limit.Milliseconds(), 10)); err != nil {
		return fmt.Errorf("allow silence: %w", err)
	}
	return nil
}

// outlast returns a context that ends a while after ctx.
func outlast(ctx context.Context, while time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	forget := context.AfterFunc(ctx, func() { time.AfterFunc(while, cancel) })
	return longer, func() {
		forget()
		cancel()
	}
}

// lasting returns the context of a question to the ledger that ends with its limit, not when the process is told to
// stop: pgx closes a connection whose question is broken off, and the last drain needs it.
func (l *leader) lasting(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	forget := context.AfterFunc(l.last, cancel)
	return longer, func() {
		forget()
		cancel()
	}
}

// exec runs a short statement to its end.
func (l *leader) exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	ctx, cancel := l.lasting(ctx, ledgerTimeout)
	defer cancel()
	return l.conn.Exec(ctx, sql, args...)
}

func (l *leader) position(ctx context.Context) (position, error) {
	ctx, cancel := l.lasting(ctx, ledgerTimeout)
	defer cancel()
	return readPosition(ctx, l.conn, l.partition)
}

// lastDrain bounds how long a process that stops goes on draining, what was under way included.
const lastDrain = 2 * time.Second

// drainLast brings what is in the log into the ledger before the process ends.
func (l *leader) drainLast(ctx context.Context) error {
	at, err := l.position(ctx)
	if err != nil || at.epoch.Namespace == "" || at.epoch.Held != "" {
		return err
	}
	keys, err := l.engine.EpochKeys(l.partition, at.epoch)
	if err != nil {
		return err
	}
	for done := false; !done; {
		if ctx.Err() != nil {
			return fmt.Errorf("drain within %s: %w", lastDrain, ctx.Err())
		}
		if at, done, err = l.step(ctx, keys, at, reading{}); err != nil {
			return err
		}
	}
	return nil
}

// round reads the position again, brings the partition in line if it must, and drains for a while.
func (l *leader) round(ctx context.Context) error {
	known := l.engine.Watermark(l.partition) // before the position is read, which can only be further
	at, err := l.position(ctx)
	if err != nil {
		return err
	}
	guard, err := l.install(ctx, at)
	if err != nil {
		return err
	}
	switch {
	case at.epoch.Held != "":
		wait(ctx, followInterval)
		return nil
	case wentBack(at, known):
		return l.hold(ctx, at, howFarBack(at, known))
	case guard != engine.GuardOK || at.rebuildReason != "" || l.suspect != "":
		return l.alignPatiently(ctx, at, guard)
	}
	if err := l.note(ctx, at); err != nil {
		return err
	}
	if err := l.dropStale(ctx, at); err != nil {
		return err
	}
	enough, handOverErr := l.handOver(ctx)
	// A change that fails is no reason to leave orders undrained, nor to forget what is wrong with the log.
	if err := l.drain(ctx, at, enough); err != nil || l.suspect != "" {
		return err
	}
	return handOverErr
}

// alignPatiently brings the partition in line. Redis may write its file for minutes meanwhile, and the ledger hears nothing.
func (l *leader) alignPatiently(ctx context.Context, at position, guard engine.Guard) error {
	if err := l.allowSilence(ctx, 0); err != nil {
		return err
	}
	if err := l.align(ctx, at, guard); err != nil {
		return err
	}
	return l.allowSilence(ctx, l.config.LeaderSilence)
}

// drainBlock is how long a drainer waits for entries before it looks around.
const drainBlock = 250 * time.Millisecond

// drain brings the log into the ledger until it is time to look around again, or at once when it is there up to the
// sequence enough, if that is not 0.
func (l *leader) drain(ctx context.Context, at position, enough uint64) error {
	keys, err := l.engine.EpochKeys(l.partition, at.epoch)
	if err != nil {
		return err
	}
	l.ahead.begin()
	defer l.ahead.end()
	// At least one step: a storm of alarms must not keep the ledger from getting anywhere.
	for until := time.Now().Add(followInterval); time.Now().Before(until) && ctx.Err() == nil; {
		before := at.orders
		at, _, err = l.step(ctx, keys, at, reading{block: drainBlock})
		switch {
		case errors.Is(err, errMoved):
			return nil
		case errors.Is(err, errGap), errors.Is(err, errOtherHistory):
			l.suspect = err.Error()
			return nil
		case err != nil:
			return err
		case at.rebuildReason != "", enough > 0 && at.sequence >= enough:
			return nil
		case l.alarmed():
			wait(ctx, alarmPause)
			return nil
		case worthWaiting(at.orders-before, l.config.BatchOrders):
			l.gather(ctx)
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

// reading is how a log is read.
type reading struct {
	block time.Duration // for which entries are waited for
	// shut says that the namespace is shut, so nobody adds to what is there: it is drained whatever the server's history, for
	// that is what it is brought in line by.
	shut bool
}

// step drains what is there, up to a batch, and returns the position after it. done is true where nothing was.
func (l *leader) step(ctx context.Context, keys engine.Keys, at position, how reading) (to position, done bool, err error) {
	read, err := l.ahead.take(at.sequence, func(after uint64) (portion, error) { return l.readLog(ctx, keys, after, how.block) })
	if err != nil || len(read.entries) == 0 {
		return at, err == nil, err
	}
	if !contiguous(read.entries, at.sequence) {
		return at, false, errGap
	}
	if read.replid != at.epoch.Replid && !how.shut {
		return at, false, fmt.Errorf("partition %d: %w", l.partition, errOtherHistory)
	}
	if read.more {
		l.ahead.start(read.batch.last, func(after uint64) (portion, error) { return l.readLog(ctx, keys, after, 0) })
	}
	to, err = l.bring(ctx, at, &read)
	return to, false, err
}

// readLog reads a portion of the log. The replid is asked after the entries came, so they are of this history.
func (l *leader) readLog(ctx context.Context, keys engine.Keys, after uint64, block time.Duration) (read portion, err error) {
	n := l.ahead.count(l.config.BatchOrders)
	if read.entries, err = l.link.ReadLog(ctx, keys, after, n, block); err != nil || len(read.entries) == 0 {
		return read, err
	}
	if read.replid, err = l.link.Replid(ctx); err != nil {
		return read, err
	}
	// What was read beyond a transaction's bound is read again, in smaller portions.
	all := len(read.entries)
	read.entries = cut(read.entries, l.config.BatchOrders)
	read.more = int64(all) == n || len(read.entries) < all
	read.batch = fold(read.entries)
	l.recount(ctx, keys, &read.batch)
	return read, nil
}

// recount asks Redis for the running count where the last entries with orders can't be read, so that their orders don't seem to
// wait for the ledger for ever. Where more has been logged since, or nobody answers, the next entry says it, or the next batch
// asks again: changes of products say nothing of orders.
func (l *leader) recount(ctx context.Context, keys engine.Keys, b *batch) {
	l.uncounted = b.uncounted || l.uncounted && b.counted == 0
	if !l.uncounted {
		return
	}
	if sequence, orders, err := l.link.Logged(ctx, keys); err == nil && sequence == b.last {
		b.counted, l.uncounted = orders, false
	}
}

// bring commits a portion. A commit that was begun is brought to its end, as far as there is time: nobody gains by not
// knowing.
func (l *leader) bring(ctx context.Context, at position, read *portion) (to position, err error) {
	began := time.Now()
	commitCtx, cancel := l.lasting(ctx, carefulTimeout)
	defer cancel()
	l.hands.take(l.partition, at.epoch.Number, read.entries)
	to, err = commitBatch(commitCtx, l.conn, l.partition, at, read.batch)
	l.hands.release(l.partition)
	if err != nil {
		return at, err
	}
	delay := time.Duration(l.engine.RedisNow(l.partition)-read.entries[0].TimeMs) * time.Millisecond
	l.metrics.committed(read.batch.logged, time.Since(began), delay)
	l.tellRefused(to.oversold-at.oversold, to.buried-at.buried)
	l.engine.Advance(l.partition, to.watermark())
	return to, nil
}

// tellRefused says what the ledger did not take of what Redis had granted: buyers may have been told yes.
func (l *leader) tellRefused(oversold, buried int64) {
	if oversold > 0 {
		l.metrics.refused.AddInt64(oversold)
		l.log.Error("the ledger refused orders that Redis had granted, for more was sold than there is; flashsale reconcile names them", "orders", oversold)
	}
	if buried > 0 {
		l.log.Error("the ledger could not record what Redis had logged; flashsale reconcile names it and why", "dead_letters", buried)
	}
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
	for wait(ctx, trimInterval) {
		for more := true; more && ctx.Err() == nil; {
			n, err := l.engine.Trim(ctx, l.partition, l.config.OrderGrace, trimEntries)
			more = err == nil && n == trimEntries
		}
	}
	return nil
}
