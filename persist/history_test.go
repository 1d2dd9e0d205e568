package persist_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
	"flashsale/persist"
	"flashsale/persist/persisttest"
)

// stall keeps every drainer from committing until the function that it returns is called, or the test ends.
func (s *stack) stall(t *testing.T) (release func()) {
	t.Helper()
	tx, err := s.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT 1 FROM partitions FOR UPDATE`)
	require.NoError(t, err)
	release = func() { rollback(t, tx) }
	t.Cleanup(release)
	return release
}

func rollback(t *testing.T, tx pgx.Tx) {
	if err := tx.Rollback(context.Background()); err != nil {
		require.ErrorIs(t, err, pgx.ErrTxClosed)
	}
}

func listedIDs(orders []engine.OrderView) (ids []engine.OrderID) {
	for i := range orders {
		ids = append(ids, orders[i].ID)
	}
	return ids
}

func TestTheOrdersOfAUserAreListedNewestFirst(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	_, err := s.pool.Exec(t.Context(), `ALTER TABLE orders ADD CONSTRAINT no_poison CHECK (quantity <> 13)`)
	require.NoError(t, err)
	n := s.start(t)
	var bought []engine.OrderID // newest first
	for i := range 7 {
		product := fmt.Sprint("lamp-", i) // of both partitions
		n.product(t, product, 100, onSale)
		quantity := int64(1)
		if i == 6 {
			quantity = 13
		}
		r, err := n.buy(product, "ann", quantity)
		require.NoError(t, err)
		bought = append([]engine.OrderID{r.ID}, bought...)
		_, err = n.buy(product, "bob", 1)
		require.NoError(t, err)
	}
	all, err := n.store.OrdersOf(t.Context(), "ann", engine.OrderPlace{}, 100)
	require.NoError(t, err)
	require.Zero(t, all.LagMs)
	require.Equal(t, bought, listedIDs(all.Orders), "every order is there at once, one that only has a dead letter too")
	require.Equal(t, engine.StatusFailed, all.Orders[0].Status)
	require.Contains(t, all.Orders[0].Reason, "no_poison")
	for _, listed := range all.Orders {
		alone, err := n.store.Order(t.Context(), listed.ID)
		require.NoError(t, err)
		require.Equal(t, alone, listed)
	}

	var paged []engine.OrderID
	for after := (engine.OrderPlace{}); ; {
		page, err := n.store.OrdersOf(t.Context(), "ann", after, 2)
		require.NoError(t, err)
		paged = append(paged, listedIDs(page.Orders)...)
		if len(page.Orders) < 2 {
			break
		}
		last := page.Orders[1]
		after = engine.OrderPlace{CreatedAtMs: last.CreatedAtMs, ID: last.ID}
	}
	require.Equal(t, bought, paged)
	nobody, err := n.store.OrdersOf(t.Context(), "carol", engine.OrderPlace{}, 100)
	require.NoError(t, err)
	require.Empty(t, nobody.Orders)
}

func TestAListOnOneNodeWaitsForWhatAnotherAnswered(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	a, b := s.start(t), s.start(t)
	a.product(t, "lamp", 100, onSale)
	release := s.stall(t)
	r, err := a.buy("lamp", "ann", 1)
	require.NoError(t, err)

	type answer struct {
		page engine.OrderPage
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		page, err := b.store.OrdersOf(context.WithoutCancel(t.Context()), "ann", engine.OrderPlace{}, 10)
		answered <- answer{page, err}
	}()
	// It is the last question of its connection, or that somebody waits is, which is said after it.
	const asked = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle' AND (query LIKE '%clock_timestamp() - logged_at%' OR query LIKE 'SELECT pg_notify%') AND pid <> pg_backend_pid()`
	eventually(t, "the list to look where the ledger is", func() bool { return s.count(t, asked) > 0 })
	require.Zero(t, s.count(t, `SELECT count(*) FROM orders`))
	release()
	got := <-answered
	require.NoError(t, got.err)
	require.Zero(t, got.page.LagMs)
	require.Equal(t, []engine.OrderID{r.ID}, listedIDs(got.page.Orders))
}

func TestAListGivesUpWaitingAndSaysHowFarBehindItIs(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	a, b := s.start(t), s.start(t)
	a.product(t, "lamp", 100, onSale)
	first, err := a.buy("lamp", "ann", 1)
	require.NoError(t, err)
	s.awaitLedger(t, a, "lamp", 1)
	s.stall(t)
	_, err = a.buy("lamp", "ann", 1)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 1600*time.Millisecond)
	defer cancel()
	began := time.Now()
	page, err := b.store.OrdersOf(ctx, "ann", engine.OrderPlace{}, 10)
	require.NoError(t, err, "half of the time is kept for the list itself")
	require.Equal(t, []engine.OrderID{first.ID}, listedIDs(page.Orders))
	require.GreaterOrEqual(t, page.LagMs, int64(700), "the order that is missing is at least as old as the wait")
	require.LessOrEqual(t, page.LagMs, time.Since(began).Milliseconds()+1000)
}

func TestAListWithoutRedisIsTheLedgers(t *testing.T) {
	redis := devtest.Redis(t)
	s := newStack(t, redis.URL())
	n := s.start(t)
	n.product(t, "lamp", 100, onSale)
	r, err := n.buy("lamp", "ann", 1)
	require.NoError(t, err)
	s.awaitLedger(t, n, "lamp", 1)
	require.NoError(t, redis.Kill())
	began := time.Now()
	page, err := n.store.OrdersOf(t.Context(), "ann", engine.OrderPlace{}, 10)
	require.NoError(t, err)
	require.Equal(t, []engine.OrderID{r.ID}, listedIDs(page.Orders))
	require.Positive(t, page.LagMs, "what was answered after the last entry may be missing")
	require.Less(t, time.Since(began), 3*time.Second)
	require.NoError(t, redis.Restart(t.Context()))
}

func TestAListOfAnEmptiedRedisSaysThatItMayLackSomething(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	n := s.start(t)
	n.product(t, "lamp", 100, onSale)
	n.stop()
	c := client(t, s.redisURL)
	require.NoError(t, c.Do(t.Context(), c.B().Flushall().Build()).Error())
	page, err := n.store.OrdersOf(t.Context(), "ann", engine.OrderPlace{}, 10)
	require.NoError(t, err)
	require.Positive(t, page.LagMs)
	require.Empty(t, page.Orders)
}

func TestOrdersOfOneInstantArePagedByTheirIDs(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	n := s.start(t)
	const insert = `
INSERT INTO orders (id, partition, product_id, user_id, quantity, status, version, epoch, sequence, idx, created_at, updated_at)
SELECT gen_random_uuid(), 0, 'lamp', 'ann', 1, 'confirmed', 1, 1, 1, 0, 'epoch', 'epoch' FROM generate_series(1, 9)`
	_, err := s.pool.Exec(t.Context(), insert)
	require.NoError(t, err)
	seen := make(map[engine.OrderID]bool)
	after := engine.OrderPlace{}
	for range 3 {
		page, err := n.store.OrdersOf(t.Context(), "ann", after, 3)
		require.NoError(t, err)
		require.Len(t, page.Orders, 3)
		for _, id := range listedIDs(page.Orders) {
			require.False(t, seen[id], "listed twice")
			seen[id] = true
			after = engine.OrderPlace{ID: id}
		}
	}
	page, err := n.store.OrdersOf(t.Context(), "ann", after, 3)
	require.NoError(t, err)
	require.Empty(t, page.Orders)
}

// A list may be the first in its process to see how far the ledger has come. What waits for the ledger is answered by that, and
// need not be looked up as if Redis had another history.
func TestAListAnswersWhatWaitsForTheLedger(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	drainer := s.start(t)
	drainer.product(t, "lamp", 10, onSale)
	e, err := engine.New(client(t, s.redisURL), s.config) // a process that hears of no commit
	require.NoError(t, err)
	t.Cleanup(persisttest.Serve(t, e.Run))
	partition := e.PartitionOf("lamp")
	require.NoError(t, e.Install(partition, drainer.State(partition).Epoch))
	guard, err := e.Check(t.Context(), partition)
	require.NoError(t, err)
	require.Equal(t, engine.GuardOK, guard)

	outcome := make(chan error, 1)
	r, now := (&persisttest.Process{Engine: e}).Reservation("lamp", "ann", 1)
	r.Durability = engine.DurabilityLedger
	go func() { outcome <- e.Reserve(r, now) }()
	s.awaitLedger(t, drainer, "lamp", 1)
	page, err := persist.NewStore(s.pool, e).OrdersOf(t.Context(), "ann", engine.OrderPlace{}, 10)
	require.NoError(t, err)
	require.Equal(t, []engine.OrderID{r.ID}, listedIDs(page.Orders))
	require.NoError(t, <-outcome)
}
