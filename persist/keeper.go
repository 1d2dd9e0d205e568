package persist

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"flashsale/engine"
)

// KeeperConfig are the settings of a keeper. Zero values become the defaults.
type KeeperConfig struct {
	BatchOrders    int           // orders a transaction, about; default 5000
	OrderGrace     time.Duration // how long a drained order stays in Redis; default 10 s
	LockTTL        time.Duration // buyer lock, to be restored by a rebuild; 0 = off
	IdempotencyTTL time.Duration // how long a request is known by its key, to be restored by a rebuild; default 24 h
	LeaderSilence  time.Duration // after which Postgres ends the session of a leader that asks nothing; default 10 s
	GatherPause    time.Duration // for which a leader lets orders gather where nobody waits for the ledger; default 25 ms
	Logger         *slog.Logger  // nil = slog.Default()

	// Settings are those that answers depend on, by name: the processes of a ledger compare them and log what differs. nil =
	// this one does not.
	Settings map[string]string
	Metrics  *metrics.Set // nil = a set of its own
}

const (
	defaultBatchOrders    = 5000
	defaultOrderGrace     = 10 * time.Second
	defaultIdempotencyTTL = 24 * time.Hour
	defaultLeaderSilence  = 10 * time.Second
)

func (c KeeperConfig) withDefaults() KeeperConfig {
	if c.BatchOrders == 0 {
		c.BatchOrders = defaultBatchOrders
	}
	if c.OrderGrace == 0 {
		c.OrderGrace = defaultOrderGrace
	}
	if c.IdempotencyTTL < time.Millisecond {
		c.IdempotencyTTL = defaultIdempotencyTTL
	}
	if c.LeaderSilence < time.Millisecond {
		c.LeaderSilence = defaultLeaderSilence
	}
	if c.GatherPause == 0 {
		c.GatherPause = defaultGatherPause
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Metrics == nil {
		c.Metrics = metrics.NewSet()
	}
	return c
}

// Keeper keeps every partition of a process on the epoch in force and, where it leads, drains it and brings it in line.
type Keeper struct {
	pool    *pgxpool.Pool
	engine  *engine.Engine
	config  KeeperConfig
	metrics *keeperMetrics
	hands   *hands
	leads   []atomic.Bool   // the partitions
	hurry   []chan struct{} // of each partition: has a token after some process said that somebody there waits for the ledger
	others  acquaintance
}

// NewKeeper returns a keeper on a pool made by [Connect] and the engine of the same process.
func NewKeeper(pool *pgxpool.Pool, e *engine.Engine, config KeeperConfig) *Keeper {
	config = config.withDefaults()
	k := &Keeper{
		pool: pool, engine: e, config: config, metrics: newKeeperMetrics(config.Metrics), hands: newHands(e.Partitions()),
		leads: make([]atomic.Bool, e.Partitions()), hurry: make([]chan struct{}, e.Partitions()),
		others: acquaintance{self: selfWith(config.Settings)},
	}
	for partition := range k.hurry {
		k.hurry[partition] = make(chan struct{}, 1)
	}
	k.registerGauges(config.Metrics)
	return k
}

// Run follows all partitions until ctx ends. Faults of Redis and Postgres do not end it.
func (k *Keeper) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return k.listen(ctx) })
	for partition := range k.engine.Partitions() {
		group.Go(func() error {
			f := &follower{Keeper: k, partition: partition, log: k.config.Logger.With("partition", partition)}
			return f.run(ctx)
		})
	}
	return group.Wait()
}

const (
	// followInterval is how often the epoch in force is read again.
	followInterval = time.Second
	// alarmPause keeps a storm of refusals from becoming a storm of questions to the ledger.
	alarmPause = 20 * time.Millisecond
	// faultPause is how long a follower waits after a fault before it tries again.
	faultPause = 200 * time.Millisecond
)

// follower is what a process does for one partition.
type follower struct {
	*Keeper
	partition int
	log       *slog.Logger
	fault     string // the last one; "" = there is none
	told      int    // how many different ones since there was none, of which the first are logged
}

// maxFaultsTold is how many lines one trouble makes: a store that hangs fails now here, now there, and each time on another port.
const maxFaultsTold = 4

// run follows the partition until ctx ends, and leads it whenever nobody else does.
func (f *follower) run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := f.follow(ctx)
		if err == nil {
			err = f.tryLead(ctx)
		}
		f.report(ctx, err)
		pause := alarmPause
		if err != nil {
			pause = faultPause
		}
		if !wait(ctx, pause) || !f.rest(ctx, followInterval-pause) {
			return nil
		}
	}
	return nil
}

// report logs a fault when it begins, what it turns into, up to a point, and when it has passed.
func (f *follower) report(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case err == nil && f.fault != "":
		f.log.Info("partition recovered", "from", f.fault)
		f.fault, f.told = "", 0
	case err != nil && err.Error() != f.fault:
		f.metrics.faults.Inc()
		f.fault = err.Error()
		if f.told++; f.told <= maxFaultsTold {
			f.log.Error("partition in trouble", "error", err)
		}
	}
}

// follow takes the epoch in force and the watermark from the ledger and asks Redis whether it takes orders. That the ledger
// has gone back may be known to this process and not to the one that leads.
func (f *follower) follow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ledgerTimeout)
	defer cancel()
	known := f.engine.Watermark(f.partition) // before the position is read, which can only be further
	at, err := readPosition(ctx, f.pool, f.partition)
	if err != nil {
		return err
	}
	if at.epoch.Held == "" && wentBack(at, known) {
		return f.handToOperator(ctx, f.pool, at, howFarBack(at, known))
	}
	_, err = f.install(ctx, at)
	return err
}

// ledgerTimeout bounds every short question to the ledger or to Redis.
const ledgerTimeout = 5 * time.Second

// install puts a position's epoch in force in this process and asks Redis about it.
func (f *follower) install(ctx context.Context, at position) (engine.Guard, error) {
	if err := f.engine.Install(f.partition, at.epoch); err != nil {
		return "", err
	}
	f.engine.Advance(f.partition, at.watermark())
	return f.engine.Check(ctx, f.partition)
}

// advisoryClass is the first key of the advisory locks by which a partition's leader is elected.
const advisoryClass = 0x666c6173 // "flas"

// tryLead leads the partition if nobody else does, until ctx ends or something goes wrong. The lock lives and dies
// with the connection that every transaction of the leader runs on.
func (f *follower) tryLead(ctx context.Context) error {
	conn, err := f.acquire(ctx)
	if err != nil {
		return fmt.Errorf("elect: %w", err)
	}
	defer conn.Release()
	elected, err := f.elect(ctx, conn)
	if err != nil || !elected {
		return err
	}
	defer resign(context.WithoutCancel(ctx), conn.Conn(), f.partition)
	f.leads[f.partition].Store(true)
	defer f.leads[f.partition].Store(false)
	l := &leader{follower: f, conn: conn.Conn()}
	return l.lead(ctx)
}

func (f *follower) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, ledgerTimeout)
	defer cancel()
	return f.pool.Acquire(ctx)
}

// elect tells whether the connection has the lock that makes its process the partition's leader.
func (f *follower) elect(ctx context.Context, conn *pgxpool.Conn) (elected bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, ledgerTimeout)
	defer cancel()
	const lock = `SELECT pg_try_advisory_lock($1, $2)`
	if err := conn.QueryRow(ctx, lock, advisoryClass, f.partition).Scan(&elected); err != nil {
		return false, fmt.Errorf("elect: %w", err)
	}
	return elected, nil
}

// resignTimeout bounds how long a leader takes leave.
const resignTimeout = time.Second

// resign gives the advisory lock up. A connection that can't say so is closed, which gives it up too.
func resign(ctx context.Context, conn *pgx.Conn, partition int) {
	ctx, cancel := context.WithTimeout(ctx, resignTimeout)
	defer cancel()
	if conn.IsClosed() {
		return
	}
	_, err := conn.Exec(ctx, `SELECT pg_advisory_unlock($1, $2)`, advisoryClass, partition)
	if err == nil {
		_, err = conn.Exec(ctx, `RESET idle_session_timeout`) // in the pool it may be idle for as long as it likes
	}
	if err != nil {
		_ = conn.Close(ctx) // it is given back to the pool, which drops it
	}
}

// wait pauses for d; false means that ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// listen shows the watermarks that the drainers of all processes announce. The followers read them from the ledger
// once a second anyway, so a broken connection only makes them late.
func (k *Keeper) listen(ctx context.Context) error {
	broken := false // logged when it begins and when it has passed
	listening := func() {
		if broken {
			k.config.Logger.Info("watermarks are in time again: listening to the ledger")
		}
		broken = false
	}
	for ctx.Err() == nil {
		err := k.listenOnce(ctx, listening)
		if ctx.Err() == nil && !broken {
			k.config.Logger.Warn("watermarks are late: listening to the ledger broke off", "error", err)
			broken = true
		}
		wait(ctx, faultPause)
	}
	return nil
}

// openListener returns a connection that hears the announcements. It is not of the pool any more, which must not have
// one with a LISTEN on it.
func (k *Keeper) openListener(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, ledgerTimeout)
	defer cancel()
	conn, err := k.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	raw := conn.Hijack()
	if _, err := raw.Exec(ctx, "LISTEN "+watermarkChannel+"; LISTEN "+settingsChannel+"; LISTEN "+hurryChannel); err != nil {
		closeWithin(context.WithoutCancel(ctx), raw, resignTimeout)
		return nil, err
	}
	return raw, nil
}

// closeWithin closes a connection whose server may say nothing any more.
func closeWithin(ctx context.Context, conn *pgx.Conn, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_ = conn.Close(ctx) // nothing to be done
}

// listenOnce takes announcements in until the connection breaks. It calls listening once they can arrive.
func (k *Keeper) listenOnce(ctx context.Context, listening func()) error {
	raw, err := k.openListener(ctx)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer closeWithin(context.WithoutCancel(ctx), raw, resignTimeout)
	if err := k.introduce(ctx, raw, false); err != nil {
		return err
	}
	listening()
	for {
		n, err := raw.WaitForNotification(ctx)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		if err := k.hear(ctx, raw, n); err != nil {
			return err
		}
	}
}

// hear takes in what another process, or this one, announced.
func (k *Keeper) hear(ctx context.Context, conn *pgx.Conn, n *pgconn.Notification) error {
	switch n.Channel {
	case settingsChannel:
		return k.meet(ctx, conn, n.Payload)
	case hurryChannel:
		k.hurryUp(n.Payload)
		return nil
	}
	partition, w, err := parseAnnouncement(n.Payload)
	if err != nil {
		return err
	}
	if partition < k.engine.Partitions() {
		k.engine.Advance(partition, w)
	}
	return nil
}
