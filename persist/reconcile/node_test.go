package reconcile_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
	"flashsale/persist"
	"flashsale/persist/persisttest"
	"flashsale/persist/reconcile"
)

func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }

// patience is how long a test waits for what must happen by itself.
const patience = 30 * time.Second

// shop is one flashsale process without its HTTP front end, on a Redis keyspace and a ledger of its own.
type shop struct {
	*persisttest.Process
	second *engine.Engine
}

// grace is how long the shop keeps drained orders in Redis.
const grace = 300 * time.Millisecond

func newShop(t testing.TB, prefix string, partitions int) *shop {
	t.Helper()
	return newShopWith(t, prefix, partitions, grace)
}

// newShopWith has drained orders stay in Redis for so long.
func newShopWith(t testing.TB, prefix string, partitions int, grace time.Duration) *shop {
	t.Helper()
	config := engine.Config{Prefix: prefix, Partitions: partitions, Timeout: 5 * time.Second, LateConfirm: time.Minute, MaxExtensions: 3}
	p := persisttest.Start(t, devtest.SharedRedis(t), persisttest.Ledger(t), config, persist.KeeperConfig{OrderGrace: grace})
	second, err := engine.New(p.Redis, config)
	require.NoError(t, err)
	s := &shop{Process: p, second: second}
	t.Cleanup(func() {
		s.Stop()
		s.dropKeys(t)
	})
	p.AwaitOpen(t)
	return s
}

// dropKeys leaves nothing of the shop in the Redis that tests share.
func (s *shop) dropKeys(t testing.TB) {
	for partition := range s.Partitions() {
		require.NoError(t, s.Drop(context.Background(), s.keys(t, partition)))
	}
}

// keys are those of the epoch in force.
func (s *shop) keys(t testing.TB, partition int) engine.Keys {
	t.Helper()
	var epoch engine.Epoch
	const query = `SELECT epoch, namespace FROM partitions WHERE partition = $1`
	require.NoError(t, s.Pool.QueryRow(context.Background(), query, partition).Scan(&epoch.Number, &epoch.Namespace))
	keys, err := s.EpochKeys(partition, epoch)
	require.NoError(t, err)
	return keys
}

func (s *shop) product(t testing.TB, id string, units int64) {
	t.Helper()
	s.Product(t, id, units, engine.Terms{Active: true})
}

func (s *shop) order(product, user string, quantity int64, holdFor time.Duration) (engine.OrderID, error) {
	r, now := s.Reservation(product, user, quantity)
	r.HoldMs = holdFor.Milliseconds()
	return r.ID, s.Reserve(r, now)
}

func (s *shop) buy(t testing.TB, product, user string, quantity int64) engine.OrderID {
	t.Helper()
	id, err := s.order(product, user, quantity, 0)
	require.NoError(t, err)
	return id
}

func (s *shop) hold(t testing.TB, product, user string, quantity int64) engine.OrderID {
	t.Helper()
	id, err := s.order(product, user, quantity, 10*time.Minute)
	require.NoError(t, err)
	return id
}

func (s *shop) settle(ctx context.Context, id engine.OrderID, action engine.Action, quantity int64) error {
	x := engine.NewTransition()
	x.ID, x.Action, x.Quantity = id, action, quantity
	return s.Store.Settle(ctx, x)
}

// drained waits until the ledger has everything and the orders that are over have left Redis.
func (s *shop) drained(t testing.TB) {
	t.Helper()
	for partition := range s.Partitions() {
		keys := s.keys(t, partition)
		devtest.Eventually(t, patience, "the log to be drained and trimmed", func() bool {
			n, err := s.Redis.Do(t.Context(), s.Redis.B().Xlen().Key(keys.Log).Build()).AsInt64()
			return err == nil && n == 0
		})
	}
}

// say gives Redis a command, as somebody would who should not.
func (s *shop) say(t testing.TB, command string, args ...string) {
	t.Helper()
	require.NoError(t, s.Redis.Do(t.Context(), s.Redis.B().Arbitrary(command).Args(args...).Build()).Error())
}

// tell gives the ledger a statement, as somebody would who should not.
func (s *shop) tell(t testing.TB, sql string, args ...any) {
	t.Helper()
	_, err := s.Pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

func (s *shop) count(t testing.TB, sql string, args ...any) (n int64) {
	t.Helper()
	require.NoError(t, s.Pool.QueryRow(t.Context(), sql, args...).Scan(&n))
	return n
}

// reconcile runs once, in what might be another process.
func (s *shop) reconcile(t testing.TB, config reconcile.Config) reconcile.Report {
	t.Helper()
	config.Actor = "test"
	r := reconcile.New(s.Pool, s.second, config)
	defer r.Close()
	report, err := r.Run(t.Context())
	require.NoError(t, err)
	return report
}

// requireInvariants holds the shop against invariants 1 and 2.
func (s *shop) requireInvariants(t testing.TB) {
	t.Helper()
	products, err := s.Store.Products(t.Context(), "", 1000)
	require.NoError(t, err)
	for i := range products {
		stock := products[i].Stock
		require.Equal(t, stock.Initial, stock.Current+stock.Held+stock.Sold, "%s: %v", products[i].ID, stock)
		require.GreaterOrEqual(t, min(stock.Current, stock.Held, stock.Sold), int64(0), "%s: %v", products[i].ID, stock)
	}
	const wrong = `
SELECT count(*) FROM products p
 WHERE p.sold > p.initial_stock OR p.sold <> (SELECT coalesce(sum(quantity), 0) FROM orders o WHERE o.product_id = p.id AND o.status = 'confirmed')`
	require.Zero(t, s.count(t, wrong), "products whose counter is not the sum of their orders")
}
