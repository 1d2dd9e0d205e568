package persist_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
	"flashsale/persist"
)

func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }

// patience is how long a test waits for what must happen by itself.
const patience = 20 * time.Second

// node is one flashsale process without its HTTP front end.
type node struct {
	*engine.Engine
	store *persist.Store
	stop  func() // as at SIGTERM: waits until the process has drained and ended
}

// stack is a Redis and a ledger that nodes share.
type stack struct {
	redisURL string
	dbURL    string
	pool     *pgxpool.Pool // for looking into the ledger
	config   engine.Config
	keeper   persist.KeeperConfig
}

// newLedger returns the URL of a migrated ledger of its own.
func newLedger(t testing.TB) string {
	return devtest.DatabaseFrom(t, "flashsale_persist", func(url string) error {
		ctx := context.Background()
		pool, err := persist.Connect(ctx, url, 1)
		if err != nil {
			return err
		}
		defer pool.Close()
		_, err = persist.MigrateUp(ctx, pool)
		return err
	})
}

func newStack(t testing.TB, redisURL string) *stack {
	t.Helper()
	s := &stack{redisURL: redisURL, dbURL: newLedger(t), config: engine.Config{Partitions: 2, Timeout: 5 * time.Second}}
	s.pool = connect(t, s.dbURL)
	return s
}

func connect(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := persist.Connect(t.Context(), url, 2)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func client(t testing.TB, url string) rueidis.Client {
	t.Helper()
	c, err := engine.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// start runs a node until the test ends or its stop is called, and waits until it takes orders.
func (s *stack) start(t testing.TB) *node {
	t.Helper()
	n := s.startShut(t)
	n.awaitOpen(t)
	return n
}

// startShut runs a node without waiting for anything.
func (s *stack) startShut(t testing.TB) *node {
	t.Helper()
	e, err := engine.New(client(t, s.redisURL), s.config)
	require.NoError(t, err)
	pool := connect(t, s.dbURL)
	require.NoError(t, persist.EnsurePartitions(t.Context(), pool, e.Partitions()))
	require.NoError(t, e.ClaimKeyspace(t.Context()))
	keeper := persist.NewKeeper(pool, e, s.keeper)

	lanes := run(t, e.Run)
	ledger := run(t, keeper.Run)
	n := &node{Engine: e, store: persist.NewStore(pool, e)}
	n.store.WatchDrain(keeper)
	n.stop = func() { lanes(); ledger() }
	t.Cleanup(n.stop)
	return n
}

// run starts a service and returns what stops it and waits for its end. It may be called more than once.
func run(t testing.TB, service func(context.Context) error) func() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := service(ctx); err != nil {
			t.Errorf("service ended: %v", err)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// awaitOpen waits until every partition takes orders.
func (n *node) awaitOpen(t testing.TB) {
	t.Helper()
	eventually(t, "all partitions open", func() bool {
		for p := range n.Partitions() {
			if !n.State(p).Open {
				return false
			}
		}
		return true
	})
}

// eventually polls until a condition holds, and fails the test if it does not within patience.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	devtest.Eventually(t, patience, what, holds)
}

func (n *node) product(t testing.TB, id string, units int64, terms engine.Terms) engine.Product {
	t.Helper()
	p := engine.NewProduct{Product: engine.Product{ID: id, Name: id, Terms: terms}, Actor: "test"}
	p.Stock.Initial = units
	made, err := n.store.CreateProduct(t.Context(), p)
	require.NoError(t, err)
	return made
}

func (n *node) buy(product, user string, quantity int64) (*engine.Reservation, error) {
	r := engine.NewReservation()
	now := time.Now()
	r.ID, r.Product, r.User, r.Quantity = n.NewOrderID(product, now), product, user, quantity
	return r, n.Reserve(r, now)
}

// count asks the ledger for a number.
func (s *stack) count(t testing.TB, query string, args ...any) int64 {
	t.Helper()
	var n int64
	require.NoError(t, s.pool.QueryRow(t.Context(), query, args...).Scan(&n))
	return n
}

var onSale = engine.Terms{Active: true}
