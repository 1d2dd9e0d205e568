package persist_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
	"flashsale/persist"
)

// buyAs places an order of a mode, with the ledger's last word.
func (n *node) buyAs(mode engine.Durability, product, user, key string) (*engine.Reservation, error) {
	r := engine.NewReservation()
	now := time.Now()
	r.Product, r.User, r.Quantity, r.Durability, r.Key = product, user, 1, mode, key
	return r, persist.NewReserver(n.store).Reserve(r, now)
}

// crowd places orders of a mode at once and returns the ids of those that were granted.
func (n *node) crowd(t *testing.T, mode engine.Durability, product string, size int) []engine.OrderID {
	t.Helper()
	var mu sync.Mutex
	var granted []engine.OrderID
	var buyers sync.WaitGroup
	for i := range size {
		buyers.Go(func() {
			r, err := n.buyAs(mode, product, fmt.Sprint("buyer-", i), "")
			if err != nil {
				t.Errorf("buyer %d: %v", i, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			granted = append(granted, r.Order.ID)
		})
	}
	buyers.Wait()
	return granted
}

// rows counts how many of the orders the ledger has as confirmed.
func (s *stack) rows(t testing.TB, ids []engine.OrderID) int64 {
	t.Helper()
	return s.count(t, `SELECT count(*) FROM orders WHERE status = 'confirmed' AND id = ANY ($1)`, ids)
}

// Promise 7, mode ledger: what was answered is a row, whatever becomes of Redis in the next instant, and whichever process
// drains.
func TestModeLedgerLosesNothingWithRedis(t *testing.T) {
	t.Parallel()
	redis := devtest.Redis(t, "appendonly no")
	s := newStack(t, redis.URL())
	s.config.Durability = engine.DurabilityLedger
	drainer := s.start(t)
	drainer.product(t, "lamp", 1000, onSale)
	other := s.start(t) // leads nothing
	c := client(t, redis.URL())
	for name, disaster := range map[string]func() error{
		"flushed": func() error { return c.Do(t.Context(), c.B().Flushall().Build()).Error() },
		"killed":  redis.Kill, // and without a file it comes back empty
	} {
		eventually(t, "sales to go on", func() bool {
			_, err := other.buyAs(engine.DurabilityDefault, "lamp", name, name)
			return err == nil
		})
		granted := other.crowd(t, engine.DurabilityDefault, "lamp", 100)
		require.NoError(t, disaster(), name)
		require.Len(t, granted, 100, name)
		require.EqualValues(t, 100, s.rows(t, granted), "%s: rows of what was answered", name)
		if name == "killed" {
			require.NoError(t, redis.Restart(t.Context()))
		}
	}
	require.EqualValues(t, 202, s.count(t, `SELECT sold FROM products`))
}

// Nobody drains: the answer is unknown within the deadline, and once somebody does, the order is there, and whoever sends
// the same again is told so.
func TestModeLedgerWithoutADrainerIsUnknown(t *testing.T) {
	t.Parallel()
	s := newStack(t, devtest.Redis(t).URL())
	s.config.Partitions, s.config.Timeout = 1, time.Second
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	release := s.lockLedger(t)
	began := time.Now()
	r, err := n.buyAs(engine.DurabilityLedger, "lamp", "ann", "key")
	require.ErrorIs(t, err, engine.ErrOutcomeUnknown)
	require.Less(t, time.Since(began), 2*time.Second)
	// Its wait is counted from when Redis was asked, a little after the order came: right after the answer it may still be under
	// the timeout, and the next order would be let in.
	eventually(t, "the order to have waited for longer than a request may", func() bool { return n.State(0).Lag > s.config.Timeout })
	_, err = n.buyAs(engine.DurabilityLedger, "lamp", "bob", "")
	require.ErrorIs(t, err, engine.ErrLedgerBehind, "it is known that it would wait in vain: %+v", n.State(0))
	release()
	s.awaitLedger(t, n, "lamp", 1)
	again, err := n.buyAs(engine.DurabilityLedger, "lamp", "ann", "key")
	require.NoError(t, err)
	require.True(t, again.Replayed)
	require.Equal(t, r.ID, again.Order.ID)
	require.EqualValues(t, 1, s.rows(t, []engine.OrderID{r.ID}))
}

// lockLedger keeps every drainer from committing until it is released.
func (s *stack) lockLedger(t testing.TB) (release func()) {
	t.Helper()
	tx, err := s.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `LOCK TABLE orders IN ACCESS EXCLUSIVE MODE`)
	require.NoError(t, err)
	release = sync.OnceFunc(func() { assert.NoError(t, tx.Rollback(context.WithoutCancel(t.Context()))) })
	t.Cleanup(release) // a test that fails meanwhile would wait for ever for the pool to be closed
	return release
}

// Redis ran ahead of the ledger: whom the ledger refuses is told no, not yes, and the others yes.
func TestModeLedgerAnswersWhatTheLedgerSays(t *testing.T) {
	t.Parallel()
	s := newStack(t, devtest.Redis(t).URL())
	_, err := s.pool.Exec(t.Context(), `ALTER TABLE orders ADD CONSTRAINT no_poison CHECK (user_id <> 'poison')`)
	require.NoError(t, err)
	n := s.start(t)
	n.product(t, "lamp", 3, onSale)
	_, err = n.buyAs(engine.DurabilityLedger, "lamp", "poison", "")
	require.ErrorContains(t, err, "can't record the order")
	s.tamper(t, n, "lamp", stockKey, "lamp", "9,0,1,10,1") // seven units that nobody has

	outcomes := make(chan error, 5)
	for i := range 5 {
		go func() {
			_, err := n.buyAs(engine.DurabilityLedger, "lamp", fmt.Sprint("buyer-", i), "key")
			outcomes <- err
		}()
	}
	sold := 0
	for range 5 {
		if err := <-outcomes; err == nil {
			sold++
		} else {
			require.ErrorContains(t, err, "the ledger refused the order")
		}
	}
	require.Equal(t, 3, sold)
	n.AwaitOpen(t)
	require.EqualValues(t, 3, s.count(t, `SELECT sold FROM products WHERE id = 'lamp'`))
}

// Redis lost the order before the ledger had it, and was brought in line while the answer waited: nobody has it, so that is
// a definite no.
func TestModeLedgerSaysNoToWhatWasLostOnTheWay(t *testing.T) {
	t.Parallel()
	redis := devtest.Redis(t)
	s := newStack(t, redis.URL())
	s.config.Partitions = 1
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	hold := engine.NewReservation()
	hold.Product, hold.User, hold.Quantity, hold.HoldMs = "lamp", "carol", 1, 60_000
	require.NoError(t, n.Reserve(hold, time.Now()))
	eventually(t, "the hold in the ledger", func() bool { return s.count(t, `SELECT count(*) FROM orders`) == 1 })

	release := s.lockLedger(t)
	outcomes := make(chan error, 2)
	go func() {
		_, err := n.buyAs(engine.DurabilityLedger, "lamp", "ann", "")
		outcomes <- err
	}()
	go func() {
		confirm := engine.NewTransition()
		confirm.ID, confirm.Action, confirm.Durability = hold.ID, engine.ActionConfirm, engine.DurabilityLedger
		outcomes <- n.store.Settle(t.Context(), confirm)
	}()
	eventually(t, "both in Redis", func() bool {
		stock, _, err := n.Stock(t.Context(), "lamp")
		require.NoError(t, err)
		return stock.Sold == 2
	})
	s.awaitStuckDrainer(t)
	c := client(t, redis.URL())
	require.NoError(t, c.Do(t.Context(), c.B().Flushall().Build()).Error())
	s.cutDrainers(t)
	release()
	require.ErrorIs(t, <-outcomes, engine.ErrPartitionClosed)
	require.ErrorIs(t, <-outcomes, engine.ErrPartitionClosed)
	n.AwaitOpen(t)
	require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM orders WHERE status = 'pending'`))
	require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM orders`))
}

const stuckDrainers = `FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`

// awaitStuckDrainer waits until a drainer has read something and waits for the ledger's lock with it.
func (s *stack) awaitStuckDrainer(t testing.TB) {
	t.Helper()
	eventually(t, "a drainer at the lock", func() bool { return s.count(t, `SELECT count(*) `+stuckDrainers) > 0 })
}

// cutDrainers ends the ledger connections that wait for a lock, so that what they were to commit is lost.
func (s *stack) cutDrainers(t testing.TB) {
	t.Helper()
	eventually(t, "a drainer cut off", func() bool {
		return s.count(t, `SELECT count(pg_terminate_backend(pid)) `+stuckDrainers) > 0
	})
}

// Promise 7, mode replicated: what was answered is on the replica, so a promotion keeps it.
func TestModeReplicatedSurvivesThePrimary(t *testing.T) {
	t.Parallel()
	port := strconv.Itoa(devtest.FreePort(t))
	primary := devtest.Redis(t, "bind 127.0.0.1", "port "+port, "repl-diskless-sync-delay 0", "appendonly no")
	replica := devtest.Redis(t, "replicaof 127.0.0.1 "+port, "repl-diskless-sync-delay 0")
	s := newStack(t, primary.URL())
	s.config.Partitions = 1
	first := s.start(t)
	first.product(t, "lamp", 1000, onSale)
	awaitReplica(t, client(t, primary.URL()), client(t, replica.URL()), first)
	eventually(t, "the mode to be had", func() bool {
		_, err := first.buyAs(engine.DurabilityReplicated, "lamp", "ann", "ann")
		return err == nil
	})

	release := s.lockLedger(t) // the ledger has none of them yet
	granted := first.crowd(t, engine.DurabilityReplicated, "lamp", 100)
	require.Len(t, granted, 100)
	require.NoError(t, primary.Kill())
	first.stop()
	require.EqualValues(t, "OK", said(t, client(t, replica.URL()), "REPLICAOF", "NO", "ONE"))
	release()

	onReplica := *s
	onReplica.redisURL = replica.URL()
	second := onReplica.start(t) // adopts the promoted server
	s.awaitLedger(t, second, "lamp", 101)
	require.EqualValues(t, 100, s.rows(t, granted))
}

func said(t testing.TB, c rueidis.Client, command ...string) string {
	t.Helper()
	reply, err := c.Do(t.Context(), c.B().Arbitrary(command...).Build()).ToString()
	require.NoError(t, err)
	return reply
}
