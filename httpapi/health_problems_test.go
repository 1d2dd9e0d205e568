package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/httpapi"
)

func TestHealthSaysWhatIsWrong(t *testing.T) {
	var redis, postgres error
	h := start(t, httpapi.Config{RequestTimeout: 20 * time.Millisecond, Clock: leaping()},
		httpapi.Check{Name: "redis", Probe: func(context.Context) error { return redis }, Meanwhile: "no order is decided"},
		httpapi.Check{Name: "postgres", Probe: func(context.Context) error { return postgres }, Meanwhile: "orders wait", OrdersGoOn: true})
	all := map[int]string{0: "a", 1: "b", 2: "c", 3: "d"}
	for name, c := range map[string]struct {
		redis, postgres error
		shut, fault     map[int]string
		lag             time.Duration
		status          string
		problems        []any
	}{
		"nothing":                  {status: "ok", problems: []any{}},
		"a lag that a rush brings": {lag: 10 * time.Second, status: "ok", problems: []any{}},
		"the ledger lags": {
			lag: 3_723_500 * time.Millisecond, status: "degraded",
			problems: []any{"the ledger is 44 orders behind, the oldest of them for 3,723 seconds"},
		},
		"a partition is shut": {
			shut: map[int]string{2: "Redis was restarted or failed over"}, status: "degraded",
			problems: []any{"partition 2 is shut: Redis was restarted or failed over"},
		},
		"all are shut": {
			shut: all, status: "down",
			problems: []any{"partition 0 is shut: a", "partition 1 is shut: b", "partition 2 is shut: c", "partition 3 is shut: d"},
		},
		"all are shut for one reason": {
			shut: map[int]string{0: "a", 1: "a", 2: "a", 3: "a"}, status: "down", problems: []any{"all 4 partitions are shut: a"},
		},
		"some are shut for one reason": {
			shut: map[int]string{0: "a", 1: "b", 2: "a", 3: "a"}, status: "down",
			problems: []any{"partitions 0, 2 and 3 are shut: a", "partition 1 is shut: b"},
		},
		"orders of a partition fail": {
			fault: map[int]string{1: "the last orders failed"}, status: "degraded",
			problems: []any{"partition 1 is open, but the last orders failed"},
		},
		"postgres is silent": {
			postgres: context.DeadlineExceeded, status: "degraded", problems: []any{"Postgres does not answer; orders wait"},
		},
		"postgres is silent, and no partition is open": {
			postgres: context.DeadlineExceeded, shut: map[int]string{0: "a", 1: "a", 2: "a", 3: "a"}, status: "down",
			problems: []any{"Postgres does not answer", "all 4 partitions are shut: a"},
		},
		"both are away": {
			redis: errors.New("10.0.0.7"), postgres: errors.New("10.0.0.8"), status: "down",
			problems: []any{"Redis does not work; the log says why; no order is decided", "Postgres does not work; the log says why"},
		},
		"both are ended": {
			redis:    fmt.Errorf("ping: %w", &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}),
			postgres: &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}, status: "down",
			problems: []any{"Redis can't be reached; no order is decided", "Postgres can't be reached"},
		},
		"redis is silent, as its driver says it": {
			redis: fmt.Errorf("read: %w", os.ErrDeadlineExceeded), status: "down", problems: []any{"Redis does not answer; no order is decided"},
		},
		"redis is silent, and so orders fail": {
			redis: context.DeadlineExceeded, fault: map[int]string{1: "the last orders failed"}, status: "down",
			problems: []any{"Redis does not answer; no order is decided"},
		},
		"redis fails, and more": {
			redis: errors.New("10.0.0.7"), shut: map[int]string{3: "it is"}, lag: 11 * time.Second, status: "down",
			problems: []any{
				"Redis does not work; the log says why; no order is decided", "partition 3 is shut: it is",
				"the ledger is 44 orders behind, the oldest of them for 11 seconds",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			redis, postgres, h.reserver.shut, h.reserver.fault = c.redis, c.postgres, c.shut, c.fault
			h.reserver.lag = map[int]time.Duration{1: c.lag, 2: c.lag / 2}
			got := h.send("GET", "/monitoring/health", "")
			health := got.json(t)
			require.Equal(t, c.status == "down", got.status == 503)
			require.Equal(t, c.status, health["status"])
			require.Equal(t, got.status, h.send("GET", "/readyz", "").status, "orders are sent here as long as any can be placed")
			require.Equal(t, c.problems, health["problems"])
			require.Equal(t, map[string]any{"lagOrders": 44.0, "lagSeconds": c.lag.Seconds()}, health["ledger"])
			require.Equal(t, c.lag.Seconds()/2, health["partitions"].([]any)[2].(map[string]any)["lagSeconds"])
		})
	}
}

// A queue that is full is no trouble of a store's or a partition's, and turns orders away all the same.
func TestHealthSaysThatOrdersFail(t *testing.T) {
	h, clock := startTimed(t, httpapi.Config{})
	requireFailing := func(problems ...any) {
		t.Helper()
		got := h.send("GET", "/monitoring/health", "")
		require.Equal(t, 200, got.status)
		health := got.json(t)
		require.Equal(t, append([]any{}, problems...), health["problems"])
		require.Equal(t, len(problems) > 0, health["ordersFail"])
		require.Equal(t, map[bool]string{true: "degraded", false: "ok"}[len(problems) > 0], health["status"])
	}
	requireFailing()
	h.orders(1, engine.ErrQueueFull)
	requireFailing() // of a process that has just started
	clock.advance(10 * time.Second)
	h.orders(198, engine.ErrSoldOut)
	h.orders(2, engine.ErrQueueFull)
	requireFailing() // not more than one in a hundred
	h.orders(1, engine.ErrQueueFull)
	requireFailing("1.5 % of order requests fail: overloaded")
	h.orders(9, engine.ErrOutcomeUnknown)
	requireFailing("5.7 % of order requests fail: outcome unknown")
	clock.advance(10 * time.Second)
	h.orders(1, nil)
	requireFailing()
	h.orders(1, engine.ErrQueueFull)
	requireFailing() // one in more than five seconds
	h.orders(2, engine.ErrQueueFull)
	requireFailing("75 % of order requests fail: overloaded")
	for range 400 { // a flood of what nobody could decide does not hide it
		h.send("POST", "/orders", "{}")
	}
	requireFailing("75 % of order requests fail: overloaded")
}

// Where none can be placed that is said, and not how many fail of it.
func TestHealthDoesNotCountWhileNoneCanBePlaced(t *testing.T) {
	h, _ := startTimed(t, httpapi.Config{})
	h.reserver.shut = map[int]string{0: "a", 1: "a", 2: "a", 3: "a"}
	h.orders(10, engine.ErrPartitionClosed)
	health := h.send("GET", "/monitoring/health", "").json(t)
	require.Equal(t, []any{"all 4 partitions are shut: a"}, health["problems"])
	require.Equal(t, true, health["ordersFail"])
}

// leaping is a clock that is a second further at every look: nothing is told twice.
func leaping() func() time.Time {
	var looks atomic.Int64
	return func() time.Time { return time.Unix(looks.Add(1), 0) }
}

// However many ask, and for whatever, the stores are asked once a second.
func TestHealthIsLookedAtOnceForAll(t *testing.T) {
	var runs, at atomic.Int64
	began, end := make(chan struct{}, 1), make(chan struct{})
	h := start(t, httpapi.Config{Clock: func() time.Time { return time.UnixMilli(at.Load()) }},
		httpapi.Check{Name: "postgres", Probe: func(context.Context) error {
			if runs.Add(1) == 1 {
				began <- struct{}{}
				<-end
			}
			return nil
		}})
	at.Store(1_700_000_000_000)
	var crowd sync.WaitGroup
	for i := range 20 {
		path := []string{"/readyz", "/monitoring/health", "/metrics"}[i%3]
		crowd.Go(func() { assert.Equal(t, 200, h.send("GET", path, "").status, path) })
	}
	<-began
	close(end)
	crowd.Wait()
	require.EqualValues(t, 1, runs.Load())
	at.Add(999)
	h.send("GET", "/readyz", "")
	require.EqualValues(t, 1, runs.Load())
	at.Add(1)
	h.send("GET", "/readyz", "")
	require.EqualValues(t, 2, runs.Load(), "never older than a second")
}

func TestHealthShowsTheLastReconciliation(t *testing.T) {
	h := start(t, httpapi.Config{})
	health := h.send("GET", "/monitoring/health", "").json(t)
	require.Contains(t, health, "reconciliation")
	require.Nil(t, health["reconciliation"])
	for name, c := range map[string]struct {
		drift    int64
		outcome  engine.ReconcileOutcome
		status   string
		problems []any
	}{
		"clean":               {0, engine.ReconciledClean, "ok", []any{}},
		"it could not tell":   {0, engine.ReconciledUnknown, "ok", []any{}},
		"one drift":           {1, engine.ReconciledDrift, "degraded", []any{"the last reconciliation found 1 thing on which Redis and the ledger differ"}},
		"more than a handful": {1234, engine.ReconciledDrift, "degraded", []any{"the last reconciliation found 1,234 things on which Redis and the ledger differ"}},
	} {
		t.Run(name, func(t *testing.T) {
			finished := time.Now().Add(-time.Minute)
			h.reserver.reconciled = engine.Reconciled{Run: 7, Outcome: c.outcome, Drift: c.drift, Repaired: 3, FinishedAt: finished}
			health := h.send("GET", "/monitoring/health", "").json(t)
			require.Equal(t, c.status, health["status"])
			require.Equal(t, c.problems, health["problems"])
			shown := health["reconciliation"].(map[string]any)
			require.InDelta(t, 60, shown["ageSeconds"], waitLimit.Seconds())
			delete(shown, "ageSeconds")
			require.Equal(t, map[string]any{
				"run": 7.0, "outcome": string(c.outcome), "drift": float64(c.drift), "repaired": 3.0,
				"finishedAt": finished.UTC().Format("2006-01-02T15:04:05.000Z"),
			}, shown)
		})
	}
}
