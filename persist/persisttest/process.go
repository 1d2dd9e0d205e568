// Package persisttest gives tests a migrated ledger and flashsale processes without their HTTP front end. Only test files
// may import it; internal/layout holds that.
package persisttest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
	"flashsale/persist"
)

// patience is how long a test waits for what must happen by itself.
const patience = 30 * time.Second

// Ledger returns the URL of a migrated ledger of the test's own.
func Ledger(t testing.TB) string {
	t.Helper()
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

// Connect opens a pool on a ledger for that many partitions, until the test ends.
func Connect(t testing.TB, url string, partitions int) *pgxpool.Pool {
	t.Helper()
	pool, err := persist.Connect(t.Context(), url, partitions)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// Client opens a client of a Redis, until the test ends.
func Client(t testing.TB, url string) rueidis.Client {
	t.Helper()
	client, err := engine.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

// Process is one flashsale process without its HTTP front end.
type Process struct {
	*engine.Engine
	Store *persist.Store
	Pool  *pgxpool.Pool
	Redis rueidis.Client
	Stop  func() // as at SIGTERM: waits until the process has drained and ended
}

// Start runs a process on a Redis and a ledger until the test ends or its Stop is called. It does not wait until the
// process takes orders.
func Start(t testing.TB, redisURL, ledgerURL string, config engine.Config, keeping persist.KeeperConfig) *Process {
	t.Helper()
	client := Client(t, redisURL)
	e, err := engine.New(client, config)
	require.NoError(t, err)
	pool := Connect(t, ledgerURL, e.Partitions())
	require.NoError(t, persist.EnsurePartitions(t.Context(), pool, e.Partitions()))
	require.NoError(t, e.ClaimKeyspace(t.Context()))
	return Run(t, pool, client, e, keeping)
}

// Run is Start on what is there already.
func Run(t testing.TB, pool *pgxpool.Pool, client rueidis.Client, e *engine.Engine, keeping persist.KeeperConfig) *Process {
	t.Helper()
	keeper := persist.NewKeeper(pool, e, keeping)
	p := &Process{Engine: e, Store: persist.NewStore(pool, e), Pool: pool, Redis: client}
	p.Store.WatchDrain(keeper)
	lanes, ledger := Serve(t, e.Run), Serve(t, keeper.Run)
	p.Stop = func() { lanes(); ledger() }
	t.Cleanup(p.Stop)
	return p
}

// AwaitOpen waits until every partition takes orders.
func (p *Process) AwaitOpen(t testing.TB) {
	t.Helper()
	devtest.Eventually(t, patience, "all partitions open", func() bool {
		for partition := range p.Partitions() {
			if !p.State(partition).Open {
				return false
			}
		}
		return true
	})
}

// Product puts a product on sale on those terms.
func (p *Process) Product(t testing.TB, id string, units int64, terms engine.Terms) engine.Product {
	t.Helper()
	made := engine.NewProduct{Product: engine.Product{ID: id, Name: id, Terms: terms}, Actor: "test"}
	made.Stock.Initial = units
	product, err := p.Store.CreateProduct(t.Context(), made)
	require.NoError(t, err)
	return product
}

// Reservation is an order of units of a product by a user, and the instant it comes.
func (p *Process) Reservation(product, user string, quantity int64) (*engine.Reservation, time.Time) {
	r, now := engine.NewReservation(), time.Now()
	r.Product, r.User, r.Quantity = product, user, quantity
	return r, now
}

// Serve starts a service and returns what stops it and waits for its end. It may be called more than once.
func Serve(t testing.TB, service func(context.Context) error) (stop func()) {
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
