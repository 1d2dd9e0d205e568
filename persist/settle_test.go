package persist_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
	"flashsale/persist"
)

// freezer holds a process up where a question to the ledger has just been answered.
type freezer struct {
	at    string // of the question's text
	armed atomic.Bool
	hit   chan struct{}
	thaw  chan struct{}
}

type sqlKey struct{}

func (f *freezer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	return context.WithValue(ctx, sqlKey{}, d.SQL)
}

func (f *freezer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	sql, _ := ctx.Value(sqlKey{}).(string)
	if strings.Contains(sql, f.at) && f.armed.CompareAndSwap(true, false) {
		close(f.hit)
		<-f.thaw
	}
}

// freezing returns a store of a node that is held up once, behind a question to the ledger.
func (s *stack) freezing(t *testing.T, n *node, at string) (*persist.Store, *freezer) {
	t.Helper()
	config, err := pgxpool.ParseConfig(s.dbURL)
	require.NoError(t, err)
	f := &freezer{at: at, hit: make(chan struct{}), thaw: make(chan struct{})}
	f.armed.Store(true)
	config.ConnConfig.Tracer = f
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return persist.NewStore(pool, n.Engine), f
}

// An order that the ledger takes in just while its job is looked up is no sign of a ledger that is away.
func TestAJobThatIsDrainedWhileItIsLookedUp(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	lock, err := s.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = lock.Exec(t.Context(), `SELECT 1 FROM products FOR UPDATE`) // no commit gets past this
	require.NoError(t, err)
	order, err := n.buy("lamp", "ann", 1)
	require.NoError(t, err)
	store, f := s.freezing(t, n, "SELECT name, price_cents FROM products")
	type answer struct {
		job engine.Job
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		job, err := store.Job(context.Background(), order.ID)
		answers <- answer{job, err}
	}()
	<-f.hit
	require.NoError(t, lock.Rollback(t.Context()))
	eventually(t, "the order to be durable", func() bool { return n.Durable(&order.Order) })
	close(f.thaw)
	got := <-answers
	require.NoError(t, got.err)
	require.Equal(t, engine.JobCompleted, got.job.State)
}

func cancelOf(id engine.OrderID) *engine.Transition {
	x := engine.NewTransition()
	x.ID, x.Action = id, engine.ActionCancel
	return x
}

// Promise 15: a process that was frozen with the ledger's row in its hands, while another cancelled the order and Redis
// forgot it again, comes too late.
func TestALateCancelGivesNothingBack(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	s.config.Timeout = 200 * time.Millisecond
	s.keeper.OrderGrace = 1400 * time.Millisecond // the least that serve admits
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	first, err := n.buy("lamp", "ann", 1)
	require.NoError(t, err)
	_, err = n.buy("lamp", "ann", 1)
	require.NoError(t, err)
	forgotten := func() bool {
		_, found, err := n.Find(t.Context(), first.ID)
		return err == nil && !found
	}
	eventually(t, "the record to leave Redis", forgotten)

	frozen, f := s.freezing(t, n, "FROM orders o LEFT JOIN products p")
	late := make(chan error, 1)
	go func() { late <- frozen.Settle(context.Background(), cancelOf(first.ID)) }()
	<-f.hit

	require.NoError(t, n.store.Settle(t.Context(), cancelOf(first.ID)))
	eventually(t, "the cancelled record to leave Redis", forgotten)
	close(f.thaw)
	require.ErrorIs(t, <-late, engine.ErrTooLate)
	stock, _, err := n.Stock(t.Context(), "lamp")
	require.NoError(t, err)
	require.Equal(t, engine.Stock{Current: 9, Sold: 1, Initial: 10, Change: 1}, stock, "one of two units was cancelled")
	x := cancelOf(first.ID)
	require.NoError(t, n.store.Settle(t.Context(), x))
	require.True(t, x.Repeated, "who asks again finds the outcome")
}

// A row that was read in an epoch that is over is read again: whoever cancels meanwhile is not sent away.
func TestATransitionOutlivesAChangeOfEpoch(t *testing.T) {
	redis := devtest.Redis(t)
	s := newStack(t, redis.URL())
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	order, err := n.buy("lamp", "ann", 1)
	require.NoError(t, err)
	s.awaitLedger(t, n, "lamp", 1)
	partition := n.PartitionOf("lamp")
	keys, err := n.EpochKeys(partition, n.State(partition).Epoch)
	require.NoError(t, err)
	c := client(t, redis.URL())
	require.NoError(t, c.Do(t.Context(), c.B().Hdel().Key(keys.Meta).Field(string(order.ID[:10])).Build()).Error()) // as trim does

	frozen, f := s.freezing(t, n, "FROM orders o LEFT JOIN products p")
	done := make(chan error, 1)
	x := cancelOf(order.ID)
	go func() { done <- frozen.Settle(context.Background(), x) }()
	<-f.hit
	before := n.State(partition).Epoch.Number
	require.NoError(t, c.Do(t.Context(), c.B().Flushall().Build()).Error())
	eventually(t, "the next epoch", func() bool { return n.State(partition).Epoch.Number > before && n.State(partition).Open })
	close(f.thaw)
	require.NoError(t, <-done)
	require.Equal(t, engine.StatusCancelled, x.Order.Status)
	stock, _, err := n.Stock(t.Context(), "lamp")
	require.NoError(t, err)
	require.Equal(t, engine.Stock{Current: 10, Initial: 10, Change: 1}, stock)
}

// A setting that differs between processes, as while they are restarted one by one with another, forgets no keys.
func TestKeysOutliveAProcessWithAnotherTTL(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	a := s.start(t)
	s.config.KeyTTL, s.keeper.IdempotencyTTL = 48*time.Hour, 48*time.Hour
	b := s.start(t)
	a.product(t, "lamp", 10, onSale)
	first, err := a.keyed("lamp", "ann", "k")
	require.NoError(t, err)
	_, err = b.keyed("lamp", "bob", "other")
	require.NoError(t, err)
	again, err := a.keyed("lamp", "ann", "k")
	require.NoError(t, err)
	require.True(t, again.Replayed)
	require.Equal(t, first.Order.ID, again.Order.ID, "one key, one effect")
}

func (n *node) keyed(product, user, key string) (*engine.Reservation, error) {
	r := engine.NewReservation()
	now := time.Now()
	r.Product, r.User, r.Quantity, r.Key = product, user, 1, key
	return r, n.Reserve(r, now)
}

// A hold that only the ledger has, after a damage, holds nothing: it is not confirmed with another's units.
func TestAHoldThatOnlyTheLedgerHasIsGone(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	n := s.start(t)
	n.product(t, "lamp", 5, onSale)
	sound := n.hold(t, "lamp", "ann", "", 4, time.Minute)
	stray := engine.NewOrderID(n.PartitionOf("lamp"), time.Now())
	_, err := s.pool.Exec(t.Context(), `
INSERT INTO orders (id, partition, product_id, user_id, quantity, status, version, epoch, sequence, idx, created_at, updated_at, expires_at)
VALUES ($1, $2, 'lamp', 'ann', 3, 'pending', 1, 1, 1, 0, now(), now(), now() + interval '1 minute')`, stray, n.PartitionOf("lamp"))
	require.NoError(t, err)
	for _, action := range []engine.Action{engine.ActionConfirm, engine.ActionCancel} {
		x := engine.NewTransition()
		x.ID, x.Action = stray, action
		require.ErrorIs(t, n.store.Settle(t.Context(), x), engine.ErrHoldExpired)
	}
	x := engine.NewTransition()
	x.ID, x.Action = sound.ID, engine.ActionConfirm
	require.NoError(t, n.store.Settle(t.Context(), x), "the other hold is untouched")
}
