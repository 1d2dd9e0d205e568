package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"flashsale/internal/devstack/devtest"
)

// slack is what a caller may wait past the timeout on a busy machine.
const slack = 400 * time.Millisecond

// wave has n buyers buy a unit at once and returns their reservations with what they got. It fails the test where one
// waited too long.
func (n *node) wave(t *testing.T, product string, buyers int) ([]*Reservation, []error) {
	t.Helper()
	orders, outcomes := make([]*Reservation, buyers), make([]error, buyers)
	var group sync.WaitGroup
	for i := range buyers {
		group.Go(func() {
			began := time.Now()
			orders[i], outcomes[i] = n.buy(product, "u"+strconv.Itoa(i), 1)
			if took := time.Since(began); took > n.Timeout()+slack {
				t.Errorf("buyer %d was answered after %s: %v", i, took, outcomes[i])
			}
		})
	}
	group.Wait()
	return orders, outcomes
}

// Promises 3 and 22: everybody is answered in time, nobody is told no who may have a yes, and what sat in the frozen
// server's socket does not come true when it thaws.
func TestFrozenRedis(t *testing.T) {
	server := devtest.Redis(t, "appendonly no")
	before := goleak.IgnoreCurrent()
	client, err := Connect(t.Context(), server.URL())
	require.NoError(t, err)
	n := startNode(t, client, Config{Timeout: 300 * time.Millisecond, BatchSize: 16})
	n.product(t, "a", 10_000, onSale)
	_, outcomes := n.wave(t, "a", 50)
	for _, outcome := range outcomes {
		require.NoError(t, outcome, "before the fault")
	}
	require.NoError(t, server.Pause())
	var lost []*Reservation
	calm := runtime.NumGoroutine()
	for range 5 {
		orders, outcomes := n.wave(t, "a", 200)
		for i, outcome := range outcomes {
			require.True(t, errors.Is(outcome, ErrOutcomeUnknown) || errors.Is(outcome, ErrTooLate) || errors.Is(outcome, ErrUnavailable),
				"an order on a frozen server ended with %v", outcome)
			if errors.Is(outcome, ErrOutcomeUnknown) {
				lost = append(lost, orders[i])
			}
		}
		require.LessOrEqual(t, runtime.NumGoroutine(), calm+50, "goroutines after a wave of 200 orders, %d before the fault", calm)
	}
	require.NotEmpty(t, lost, "what was sent has an unknown outcome")
	require.NoError(t, server.Resume())

	eventually(t, "sales after the thaw", func() bool {
		_, err := n.buy("a", "later", 1)
		return err == nil
	})
	happened := 0
	for _, r := range lost {
		_, found, err := n.Find(t.Context(), r.ID)
		require.NoError(t, err)
		if found {
			happened++
		}
	}
	require.Zero(t, happened, "batches that came late must be refused unexecuted")
	require.Equal(t, int64(50+1), n.stock(t, "a").Sold, "units sold = orders answered with yes")

	n.stop()
	n.drop(t, n.keys(0))
	client.Close()
	goleak.VerifyNone(t, before)
}

// Promise 3: an order that may have happened is never refused, and the stock tells the same story as the answers.
func TestFreezesDuringSales(t *testing.T) {
	server := devtest.Redis(t, "appendonly no")
	n := startNode(t, connectTo(t, server.URL()), Config{Timeout: 250 * time.Millisecond, BatchSize: 16})
	n.product(t, "a", 1_000_000, onSale)
	var yes, unknown int64
	for range 3 {
		paused := make(chan error, 1)
		go func() {
			_, err := n.buy("a", "first", 1) // so that the freeze meets orders on their way
			paused <- errors.Join(err, server.Pause())
		}()
		orders, outcomes := n.wave(t, "a", 300)
		require.NoError(t, <-paused)
		yes++
		require.NoError(t, server.Resume())
		eventually(t, "a sign of life", func() bool { return n.Ping(t.Context()) == nil })
		for i, outcome := range outcomes {
			_, found, err := n.Find(t.Context(), orders[i].ID)
			require.NoError(t, err)
			switch {
			case outcome == nil:
				require.True(t, found, "an order answered with yes is not there")
				yes++
			case errors.Is(outcome, ErrOutcomeUnknown):
				if found {
					unknown++
				}
			default:
				require.False(t, found, "an order refused with %v is there", outcome)
			}
		}
	}
	require.Equal(t, yes+unknown, n.stock(t, "a").Sold, "units sold = %d answered with yes + %d unknown that happened", yes, unknown)
}

// Promise 2: Redis executes, the reply is lost, the retry finds the order by its id.
func TestLostReply(t *testing.T) {
	server := devtest.Redis(t, "appendonly no")
	between := newProxy(t, server.URL())
	n := startNode(t, connectTo(t, between.url()), Config{Timeout: patience})
	n.product(t, "a", 10, onSale)
	_, err := n.buy("a", "warm", 1)
	require.NoError(t, err)
	for lost := range int64(4) {
		between.lost.Store(0)
		between.loseReplies(lost)
		before := n.stock(t, "a")
		r, err := n.buy("a", "u"+text(lost), 2)
		require.NoError(t, err, "after %d lost replies", lost)
		require.Equal(t, lost, between.lost.Load(), "replies that the proxy swallowed")
		require.Equal(t, r.ID, r.Order.ID)
		after := n.stock(t, "a")
		require.Equal(t, before.Sold+2, after.Sold, "one decrement, after %d lost replies", lost)
		require.Equal(t, after.Current, r.Left)
		found, ok, err := n.Find(t.Context(), r.ID)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, found, r.Order, "the order that the caller got and the one in Redis")
	}
}

// Invariant 7: once an attempt is unknown, a no to the next attempt is unknown too.
func TestRefusalAfterALostReplyIsUnknown(t *testing.T) {
	server := devtest.Redis(t, "appendonly no")
	between := newProxy(t, server.URL())
	n := startNode(t, connectTo(t, between.url()), Config{Timeout: patience})
	n.product(t, "a", 1, onSale)
	_, err := n.buy("a", "first", 1)
	require.NoError(t, err)
	between.loseReplies(1)
	pastTheGate := time.Now().Add(time.Second)
	err = n.Reserve(n.order("a", "second", 1), pastTheGate)
	require.Equal(t, int64(1), between.lost.Load())
	require.Equal(t, ErrOutcomeUnknown, err, "sold out, but the first attempt's answer was lost")
	err = n.Reserve(n.order("a", "third", 1), pastTheGate.Add(time.Second))
	require.Equal(t, ErrSoldOut, err, "nothing was lost of this one")
}

// So it is where the later attempts could not even be sent.
func TestDeathAfterALostReplyIsUnknown(t *testing.T) {
	server := devtest.Redis(t, "appendonly no")
	between := newProxy(t, server.URL())
	n := startNode(t, connectTo(t, between.url()), Config{Timeout: 600 * time.Millisecond})
	n.product(t, "a", 5, onSale)
	_, err := n.buy("a", "first", 1)
	require.NoError(t, err)
	between.die.Store(true)
	between.loseReplies(1)
	_, err = n.buy("a", "second", 1)
	require.Equal(t, ErrOutcomeUnknown, err, "Redis has executed it")
	sold, err := connectTo(t, server.URL()).Do(t.Context(), n.client.B().Hget().Key(n.keys(0).Stock).Field("a").Build()).ToString()
	require.NoError(t, err)
	require.Equal(t, "3,0,2,5,1", sold)
}

// A client that outstays the deadline holds up nobody.
func TestDeadlineHoldsWhateverTheClientDoes(t *testing.T) {
	release := make(chan struct{})
	taps := &tap{Client: connectTo(t, devtest.SharedRedis(t))}
	n := startNode(t, taps, Config{Prefix: "outstay", Timeout: 400 * time.Millisecond})
	n.product(t, "a", 5, onSale)
	taps.mu.Lock()
	taps.hold = func([]string) { <-release }
	taps.mu.Unlock()
	answer := make(chan error, 1)
	go func() {
		_, err := n.buy("a", "u", 1)
		answer <- err
	}()
	require.Equal(t, ErrOutcomeUnknown, next(t, answer, "the answer of a call that never ends"))
	close(release)
	require.Zero(t, n.stock(t, "a").Sold)
}

func TestDefinite(t *testing.T) {
	require.NoError(t, definite(nil, false))
	require.NoError(t, definite(nil, true), "a yes is a yes")
	require.Equal(t, ErrSoldOut, definite(ErrSoldOut, false))
	require.Equal(t, ErrOutcomeUnknown, definite(ErrSoldOut, true))
}

func TestMaybeExecuted(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	reset := &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"refused connection": {fmt.Errorf("reserve.lua: %w", refused), false},
		"reset connection":   {fmt.Errorf("reserve.lua: %w", reset), true},
		"deadline":           {fmt.Errorf("reserve.lua: %w", context.DeadlineExceeded), true},
		"client closing":     {rueidis.ErrClosing, true},
		"unreadable reply":   {errors.New("reply ends after 3 fields"), true},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, maybeExecuted(test.err)) })
	}
}

// The words of a real server, whatever brought it to say them.
func TestErrorRepliesThatAreADefiniteNo(t *testing.T) {
	client := connectTo(t, devtest.SharedRedis(t))
	for reply, want := range map[string]bool{
		"MOVED 42 127.0.0.1:7001": false, "ASK 42 127.0.0.1:7001": false, "TRYAGAIN Multiple keys request during rehashing of slot": false,
		"LOADING Redis is loading the dataset in memory": false, "WRONGTYPE Operation against a key holding the wrong kind of value": true,
		"ERR user_script:1: Script attempted to access a non local key": true,
	} {
		eval := client.B().Eval().Script("return redis.error_reply(ARGV[1])").Numkeys(0).Arg(reply).Build()
		err := client.Do(t.Context(), eval).Error()
		require.Error(t, err)
		require.Equal(t, want, maybeExecuted(fmt.Errorf("reserve.lua: %w", err)), reply)
	}
}

// Promise 3: what Redis refuses before it runs the script is a definite no, and nothing has changed.
func TestDefiniteRefusals(t *testing.T) {
	server := devtest.Redis(t, "appendonly no")
	n := startNode(t, connectTo(t, server.URL()), Config{Timeout: patience})
	n.product(t, "a", 10, onSale)
	_, err := n.buy("a", "u", 1)
	require.NoError(t, err)
	for name, fault := range map[string]struct{ on, off []string }{
		"OOM":        {[]string{"CONFIG", "SET", "maxmemory", "1"}, []string{"CONFIG", "SET", "maxmemory", "0"}},
		"NOREPLICAS": {[]string{"CONFIG", "SET", "min-replicas-to-write", "1"}, []string{"CONFIG", "SET", "min-replicas-to-write", "0"}},
		"READONLY":   {[]string{"REPLICAOF", "127.0.0.1", "1"}, []string{"REPLICAOF", "NO", "ONE"}},
	} {
		t.Run(name, func(t *testing.T) {
			before := dumpKeys(t, n.client, "*")
			n.do(t, fault.on...)
			_, err := n.buy("a", "u", 1)
			n.do(t, fault.off...)
			require.Equal(t, ErrUnavailable, err)
			require.Equal(t, before, dumpKeys(t, n.client, "*"), "nothing may have changed")
		})
	}
}

// A script that may have written is never called refused: here it is the type of a key that stops it.
func TestScriptErrorIsUnknown(t *testing.T) {
	n := startNode(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "scripterror", Timeout: 400 * time.Millisecond})
	n.product(t, "a", 10, onSale)
	n.do(t, "SET", n.keys(0).Buyers, "of the wrong type")
	_, err := n.buy("a", "u", 1)
	require.Equal(t, ErrOutcomeUnknown, err)
	require.Zero(t, n.stock(t, "a").Sold)
}

// A server that refuses connections has executed nothing.
func TestDeadRedisIsUnavailable(t *testing.T) {
	server := devtest.Redis(t, "appendonly no")
	n := startNode(t, connectTo(t, server.URL()), Config{Timeout: 200 * time.Millisecond})
	n.product(t, "a", 10, onSale)
	require.NoError(t, server.Kill())
	refused := 0
	eventually(t, "refused connections", func() bool { // every connection that was open has to be found broken first
		refused++
		if _, err := n.buy("a", "u", 1); !errors.Is(err, ErrUnavailable) {
			refused = 0
		}
		return refused == 32
	})
	for range 4 {
		_, outcomes := n.wave(t, "a", 20)
		for _, outcome := range outcomes {
			require.True(t, errors.Is(outcome, ErrUnavailable) || errors.Is(outcome, ErrTooLate),
				"an order that could not even be sent ended with %v", outcome)
		}
	}
}

func TestForgottenScriptsAreTransparent(t *testing.T) {
	server := devtest.Redis(t, "appendonly no")
	n := startNode(t, connectTo(t, server.URL()), Config{Timeout: patience})
	n.product(t, "a", 10, onSale)
	for i := range 3 {
		n.do(t, "SCRIPT", "FLUSH")
		_, err := n.buy("a", "u", 1)
		require.NoError(t, err)
		require.Equal(t, int64(i+1), n.stock(t, "a").Sold)
	}
	require.Zero(t, n.metrics.failedCalls.Get(), "NOSCRIPT is no lost reply")
}
