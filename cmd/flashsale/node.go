package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/rueidis"

	"flashsale/engine"
	"flashsale/httpapi"
	"flashsale/persist"
)

// node is one process: its connections and its services.
type node struct {
	redis   rueidis.Client
	pool    *pgxpool.Pool
	engine  *engine.Engine
	store   *persist.Store
	keeper  *persist.Keeper
	watch   *persist.ReconcileWatch
	metrics *metrics.Set
	door    door
	level   *logLevel

	connected chan struct{} // closed once all of the above are there
	redisAway away
	poolAway  away
	demoAway  atomic.Bool // there is to be a demo product, and it is not on sale yet
}

// away is what keeps a store from being used before the process has opened.
type away struct{ why atomic.Pointer[string] }

// note takes in how an attempt went, and logs what is new.
func (a *away) note(store string, err error) {
	if err == nil {
		a.why.Store(nil)
		return
	}
	text := oneLine(err)
	if old := a.why.Swap(&text); old == nil || *old != text {
		slog.Warn("waiting for a store", "store", store, "error", text)
	}
}

func (a *away) err() error {
	if why := a.why.Load(); why != nil {
		return fmt.Errorf("%s: %w", *why, context.DeadlineExceeded) // as one that does not answer
	}
	return nil
}

// waitingNode has connected to nothing yet; work does.
func (s *serveCmd) waitingNode(ctx context.Context) (*node, error) {
	if err := s.checkPartitions(); err != nil {
		return nil, err
	}
	n := &node{
		metrics: metrics.NewSet(), connected: make(chan struct{}),
		level: newLogLevel(slog.LevelInfo, true), // serve has its own
	}
	notAsked := "not asked yet"
	n.redisAway.why.Store(&notAsked)
	n.poolAway.why.Store(&notAsked)
	var err error
	n.door, err = s.newDoor(ctx)
	return n, err
}

// newNode connects to both stores, which must be there, and checks that they belong together.
func (s *serveCmd) newNode(ctx context.Context) (*node, error) {
	n, err := s.waitingNode(ctx)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(n.connectLedger(ctx, s), n.connectRedis(ctx, s)); err != nil {
		n.close()
		return nil, err
	}
	n.assemble(s)
	return n, nil
}

const (
	// storePause is how long a store that is away is left alone between two attempts.
	storePause = 250 * time.Millisecond
	// storeTimeout bounds one attempt: a server that is frozen accepts connections and says nothing.
	storeTimeout = 10 * time.Second
)

// awaitStores connects to both stores, whichever comes first, and waits for what is away. It fails where waiting is of no
// use: a setting is wrong, or a server is not fit for it.
func (n *node) awaitStores(ctx context.Context, s *serveCmd) error {
	for ctx.Err() == nil {
		ledgerErr, redisErr := n.attempt(ctx, s, n.connectLedger), n.attempt(ctx, s, n.connectRedis)
		switch {
		case ctx.Err() != nil: // what was broken off says nothing
		case ledgerErr != nil && !persist.Away(ledgerErr):
			return ledgerErr
		case redisErr != nil && !engine.Away(redisErr):
			return redisErr
		}
		n.poolAway.note("postgres", ledgerErr)
		n.redisAway.note("redis", redisErr)
		if ledgerErr == nil && redisErr == nil {
			return nil
		}
		select {
		case <-time.After(storePause):
		case <-ctx.Done():
		}
	}
	return nil
}

func (n *node) attempt(ctx context.Context, s *serveCmd, connect func(context.Context, *serveCmd) error) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return connect(ctx, s)
}

// connectLedger opens the ledger and brings it to where this version can use it. What is done already is not done again.
func (n *node) connectLedger(ctx context.Context, s *serveCmd) (err error) {
	if n.pool != nil {
		return nil
	}
	pool, err := persist.Connect(ctx, s.databaseURL(), s.Partitions)
	if err != nil {
		return fmt.Errorf("DATABASE_URL or DATABASE_HOST (--dev starts one): %w", err)
	}
	if err = prepareSchema(ctx, pool, s.NodeEnv != production); err == nil {
		err = persist.EnsurePartitions(ctx, pool, s.Partitions)
	}
	if err != nil {
		pool.Close()
		return err
	}
	n.pool = pool
	return nil
}

// connectRedis opens Redis and checks that it is fit for what is asked of it.
func (n *node) connectRedis(ctx context.Context, s *serveCmd) error {
	if n.engine != nil {
		return nil
	}
	client, err := engine.Connect(ctx, s.redisURL())
	if err != nil {
		return fmt.Errorf("REDIS_URL or REDIS_HOST (--dev starts one): %w", err)
	}
	e, err := n.checkRedis(ctx, s, client)
	if err != nil {
		client.Close()
		return err
	}
	n.redis, n.engine = client, e
	return nil
}

func (n *node) checkRedis(ctx context.Context, s *serveCmd, client rueidis.Client) (*engine.Engine, error) {
	config := s.engineConfig(s.Partitions)
	probe, err := engine.New(client, config) // its metrics are its own: an attempt may fail and be made again
	if err != nil {
		return nil, err
	}
	if err := probe.CheckRights(ctx); err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	if err := probe.ClaimKeyspace(ctx); err != nil {
		return nil, err
	}
	if probe.Durability() == engine.DurabilityReplicated {
		if err := probe.RequireReplicas(ctx); err != nil {
			return nil, fmt.Errorf("DURABILITY: %w", err)
		}
	}
	config.Metrics = n.metrics
	return engine.New(client, config)
}

// assemble makes the services that need both stores.
func (n *node) assemble(s *serveCmd) {
	n.store = persist.NewStore(n.pool, n.engine)
	n.keeper = persist.NewKeeper(n.pool, n.engine, persist.KeeperConfig{
		BatchOrders: s.DrainBatch, OrderGrace: s.OrderGrace, LockTTL: time.Duration(s.LockTTL) * time.Millisecond,
		IdempotencyTTL: s.IdempotencyTTL, Metrics: n.metrics, Settings: s.shared(),
	})
	n.store.WatchDrain(n.keeper)
	n.watch = persist.NewReconcileWatch(n.pool, n.metrics)
	close(n.connected)
}

// work waits for the stores where they are not there yet, opens the server, and takes and drains orders until ctx ends.
func (n *node) work(ctx context.Context, s *serveCmd, server *httpapi.Server) error {
	if n.engine == nil || n.pool == nil {
		if err := n.awaitStores(ctx, s); err != nil || ctx.Err() != nil {
			return err
		}
		n.assemble(s)
	}
	server.Open(httpapi.Deps{
		Reserver: persist.NewReserver(n.store), Transitions: n.store, Orders: n.store, Catalog: n.store,
		Reconciled: n.watch.Last,
		Gauges:     n.store, TopProducts: s.MetricsProducts,
	})
	slog.Info("both stores are there")
	return runInOrder(ctx, n.engine.Run, n.keeper.Run, n.watch.Run)
}

// preparing says what is missing beside stores and partitions until orders can be sent here; "" = nothing.
func (n *node) preparing() string {
	if n.demoAway.Load() {
		return "the demo product is not on sale yet"
	}
	return ""
}

func (n *node) pingRedis(ctx context.Context) error {
	if !n.assembled() {
		return n.redisAway.err()
	}
	return n.engine.Ping(ctx)
}

func (n *node) pingLedger(ctx context.Context) error {
	if !n.assembled() {
		return n.poolAway.err()
	}
	return n.store.Ping(ctx)
}

func (n *node) assembled() bool {
	select {
	case <-n.connected:
		return true
	default:
		return false
	}
}

func (n *node) close() {
	if n.redis != nil {
		n.redis.Close()
	}
	if n.pool != nil {
		n.closePool()
	}
}

// partWithin bounds how long a process that stops takes leave of Postgres. All that had to be written is; a Postgres that says
// nothing would be waited for in vain, a connection for 15 s.
const partWithin = 2 * time.Second

func (n *node) closePool() {
	closed := make(chan struct{})
	go func() {
		n.pool.Close()
		close(closed)
	}()
	late := time.NewTimer(partWithin)
	defer late.Stop()
	select {
	case <-closed:
	case <-late.C:
		slog.Warn("the connections to Postgres are left open: it does not answer", "after", partWithin)
	}
}
