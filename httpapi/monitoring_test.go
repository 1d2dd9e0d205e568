package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/httpapi"
	"flashsale/internal/devstack/devtest"
)

// percentileError is the relative error that the documentation promises.
const percentileError = 0.01

// testClock goes only when it is told to.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *testClock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// startTimed serves with a clock of the test's own, which begins at a whole second.
func startTimed(t *testing.T, config httpapi.Config) (*harness, *testClock) {
	t.Helper()
	h, clock := start(t, config), &testClock{now: time.UnixMilli(1_700_000_000_000)}
	h.server.SetClock(clock.read)
	return h, clock
}

func (h *harness) figures(path string) map[string]any {
	h.t.Helper()
	got := h.send("GET", path, "")
	require.Equal(h.t, 200, got.status, got.body)
	require.Equal(h.t, "no-store", got.header.Get("Cache-Control"))
	return got.json(h.t)
}

// orders sends n orders that all meet the same outcome.
func (h *harness) orders(n int, outcome error) {
	h.t.Helper()
	h.reserver.decide = func(r *engine.Reservation) error {
		accept(r)
		return outcome
	}
	for range n {
		h.send("POST", "/orders", goodOrder)
	}
}

func TestBenchmarkIsWhatWasMeasured(t *testing.T) {
	h, clock := startTimed(t, httpapi.Config{})
	outcomes := []error{nil, engine.ErrSoldOut, engine.ErrUnavailable, engine.ErrOutcomeUnknown, errors.New("?")}
	i := 0
	h.reserver.decide = func(r *engine.Reservation) error {
		i++
		clock.advance(time.Duration(i) * time.Millisecond)
		accept(r)
		return outcomes[(i-1)/20]
	}
	for range 100 {
		h.send("POST", "/api/v1/orders", goodOrder)
	}
	h.send("POST", "/orders", "{}")
	h.send("GET", "/livez", "")
	clock.advance(10*time.Second - 5050*time.Millisecond)

	got := h.figures("/monitoring/benchmark")
	for name, want := range map[string]float64{"p50Latency": 50, "p95Latency": 95, "p99Latency": 99} {
		require.InEpsilon(t, want, got[name], percentileError, name)
		delete(got, name)
	}
	require.Equal(t, map[string]any{
		"totalRequests": 101.0, "successfulRequests": 41.0, "acceptedRequests": 20.0, "refusedRequests": 21.0,
		"failedRequests": 60.0, "averageLatency": 50.0, "throughput": 10.1, "errorRate": 0.594059,
		"peakConcurrency": 1.0, "testDuration": 10.0,
		"since": "2023-11-14T22:13:20.000Z", "timestamp": "2023-11-14T22:13:30.000Z",
	}, got)
}

func TestBenchmarkOfNothing(t *testing.T) {
	h, _ := startTimed(t, httpapi.Config{})
	require.Equal(t, map[string]any{
		"totalRequests": 0.0, "successfulRequests": 0.0, "acceptedRequests": 0.0, "refusedRequests": 0.0,
		"failedRequests": 0.0, "averageLatency": nil, "p50Latency": nil, "p95Latency": nil, "p99Latency": nil,
		"throughput": 0.0, "errorRate": 0.0, "peakConcurrency": 0.0, "testDuration": 0.0,
		"since": "2023-11-14T22:13:20.000Z", "timestamp": "2023-11-14T22:13:20.000Z",
	}, h.figures("/monitoring/benchmark"))
}

func TestClear(t *testing.T) {
	h, clock := startTimed(t, httpapi.Config{})
	h.orders(3, nil)
	h.orders(2, engine.ErrSoldOut)
	clock.advance(2 * time.Second)
	h.send("POST", "/monitoring/metrics/clear", "").requireProblem(t, 401, engine.CodeUnauthorized)
	require.EqualValues(t, 5, h.figures("/monitoring/benchmark")["totalRequests"], "nobody cleared it")

	got := h.admin("POST", "/monitoring/metrics/clear", "")
	require.Equal(t, 200, got.status)
	require.JSONEq(t, `{"clearedAt":"2023-11-14T22:13:22.000Z"}`, got.body)
	clock.advance(time.Second)
	h.orders(1, engine.ErrUnavailable)
	benchmark, live := h.figures("/monitoring/benchmark"), h.figures("/monitoring/metrics")
	require.EqualValues(t, 1, benchmark["totalRequests"])
	require.EqualValues(t, 1, benchmark["failedRequests"])
	require.EqualValues(t, 1, benchmark["testDuration"])
	require.EqualValues(t, 0, live["successfulOrders"])
	require.EqualValues(t, 1, live["failedOrders"])
	require.Equal(t, map[string]any{}, live["refusals"])
	require.EqualValues(t, 2, live["throughput"], "the live figures forget by themselves: 6 requests in 3 s")
	counters := h.send("GET", "/metrics", "").body
	require.Contains(t, counters, `flashsale_orders_total{outcome="accepted"} 3`+"\n", "Prometheus counts on")
}

func TestPeakConcurrency(t *testing.T) {
	const buyers = 5
	h, _ := startTimed(t, httpapi.Config{})
	arrived, release := make(chan struct{}), make(chan struct{})
	h.reserver.decide = func(r *engine.Reservation) error {
		arrived <- struct{}{}
		<-release
		accept(r)
		return nil
	}
	var buying sync.WaitGroup
	for range buyers {
		buying.Go(func() { h.send("POST", "/orders", goodOrder) })
	}
	for range buyers {
		<-arrived
	}
	require.EqualValues(t, buyers, h.figures("/monitoring/benchmark")["peakConcurrency"])
	require.EqualValues(t, buyers, h.figures("/monitoring/metrics")["activeRequests"])
	h.admin("POST", "/monitoring/metrics/clear", "")
	require.EqualValues(t, buyers, h.figures("/monitoring/benchmark")["peakConcurrency"], "they are in the new window too")
	close(release)
	buying.Wait()
	require.EqualValues(t, 0, h.figures("/monitoring/metrics")["activeRequests"])
	require.EqualValues(t, buyers, h.figures("/monitoring/benchmark")["totalRequests"])

	h.admin("POST", "/monitoring/metrics/clear", "")
	require.EqualValues(t, 0, h.figures("/monitoring/benchmark")["peakConcurrency"])
	h.orders(1, nil)
	require.EqualValues(t, 1, h.figures("/monitoring/benchmark")["peakConcurrency"])
}

func TestLiveFiguresRoll(t *testing.T) {
	h, clock := startTimed(t, httpapi.Config{})
	at := func(d time.Duration) { clock.advance(d) }
	type want struct{ throughput, orders, errors, window float64 }
	look := func(when string, w want) map[string]any {
		live := h.figures("/monitoring/metrics")
		require.InDelta(t, w.throughput, live["throughput"], 1e-6, when)
		require.InDelta(t, w.orders, live["ordersPerSecond"], 1e-6, when)
		require.InDelta(t, w.errors, live["errorRate"], 1e-6, when)
		require.InDelta(t, w.window, live["windowSeconds"], 1e-6, when)
		return live
	}
	h.orders(30, nil)
	look("at once: a rate is over a second at the least", want{30, 30, 0, 0})
	at(4 * time.Second)
	h.orders(15, engine.ErrSoldOut)
	h.orders(5, engine.ErrUnavailable)
	at(5500 * time.Millisecond)
	look("after 9.5 s", want{50 / 9.5, 30 / 9.5, 0.1, 9.5})
	at(time.Second)
	look("after 10.5 s the first second is gone", want{20 / 9.5, 0, 0.25, 9.5})
	at(4 * time.Second)
	live := look("after 14.5 s", want{0, 0, 0, 9.5})
	for _, name := range []string{"averageProcessingTime", "p50Latency", "p95Latency", "p99Latency"} {
		require.Contains(t, live, name)
		require.Nil(t, live[name], "of no request there is no %s", name)
	}
	require.Equal(t, "2023-11-14T22:13:34.500Z", live["timestamp"])
	require.Equal(t, "2023-11-14T22:13:20.000Z", live["countedSince"])
	require.EqualValues(t, 30, live["successfulOrders"])
	require.EqualValues(t, 5, live["failedOrders"])
	require.Equal(t, map[string]any{"sold_out": 15.0}, live["refusals"])
	require.Equal(t, map[string]any{"unavailable": 5.0}, live["failures"])
	h.orders(19, nil) // where the marks of the first seconds were
	look("after a pause", want{2, 2, 0, 9.5})
}

func TestLiveLatencies(t *testing.T) {
	h, clock := startTimed(t, httpapi.Config{})
	ms := 0
	h.reserver.decide = func(r *engine.Reservation) error {
		ms++
		clock.advance(time.Duration(ms) * time.Millisecond)
		accept(r)
		return nil
	}
	for range 100 {
		h.send("POST", "/orders", goodOrder)
	}
	live := h.figures("/monitoring/metrics")
	require.EqualValues(t, 50.5, live["averageProcessingTime"])
	require.InEpsilon(t, 50.0, live["p50Latency"], percentileError)
	require.InEpsilon(t, 95.0, live["p95Latency"], percentileError)
	require.InEpsilon(t, 99.0, live["p99Latency"], percentileError)
}

func TestLiveFiguresOfWhatWaits(t *testing.T) {
	h := start(t, httpapi.Config{})
	h.reserver.lag = map[int]time.Duration{1: 1500 * time.Millisecond, 3: 250 * time.Millisecond}
	live := h.figures("/monitoring/metrics")
	require.EqualValues(t, testPartitions*3, live["queueLength"])
	require.EqualValues(t, testPartitions*11, live["pendingOrders"])
	require.Equal(t, map[string]any{"lagOrders": testPartitions * 11.0, "lagSeconds": 1.5}, live["ledger"])
	require.EqualValues(t, 1, live["activeConnections"])
	conn, r := h.dial()
	_, err := fmt.Fprint(conn, "GET /monitoring/metrics HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	require.EqualValues(t, 2, h.next(r).json(t)["activeConnections"])
	h.store.setProducts(phone())
	h.watch("/monitoring/stream", nil)
	h.watchStock("phone")
	devtest.Eventually(t, waitLimit, "both who watch to be counted", func() bool {
		return h.send("GET", "/monitoring/metrics", "").json(t)["activeConnections"] == 4.0
	})
}

func TestInventoryLevels(t *testing.T) {
	h := start(t, httpapi.Config{RequestTimeout: 20 * time.Millisecond})
	h.store.products = []engine.Product{{ID: "phone", Stock: engine.Stock{Current: 5, Held: 2, Sold: 3, Initial: 10}}}
	live := h.figures("/monitoring/metrics")
	require.Equal(t, []any{map[string]any{
		"productId": "phone", "currentStock": 5.0, "heldStock": 2.0, "soldStock": 3.0, "initialStock": 10.0,
	}}, live["inventoryLevels"])
	require.Equal(t, true, live["inventoryLevelsComplete"])

	h.store.products = nil
	for i := range 101 {
		h.store.products = append(h.store.products, engine.Product{ID: fmt.Sprintf("p%03d", i)})
	}
	live = h.figures("/monitoring/metrics")
	require.Len(t, live["inventoryLevels"], 100)
	require.Equal(t, false, live["inventoryLevelsComplete"])

	for name, wait := range map[string]func(context.Context) error{
		"the ledger fails":     func(context.Context) error { return errors.New("connection refused") },
		"the ledger is silent": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		h.store.wait = wait
		live = h.figures("/monitoring/metrics")
		require.Contains(t, live, "inventoryLevels", name)
		require.Nil(t, live["inventoryLevels"], name)
		require.EqualValues(t, testPartitions*11, live["pendingOrders"], "the rest is served: %s", name)
	}
}

// Confirming, cancelling and extending are order requests, a replay is one too; none of them is another order.
func TestWhatIsNoNewOrder(t *testing.T) {
	h, _ := startTimed(t, httpapi.Config{})
	h.orders(1, nil)
	h.reserver.decide = func(r *engine.Reservation) error {
		accept(r)
		r.Replayed = true
		return nil
	}
	require.Equal(t, 201, h.send("POST", "/orders", goodOrder, "Idempotency-Key", "k").status)
	require.Equal(t, 404, h.send("POST", "/orders/x/confirm", "").status)
	benchmark, live := h.figures("/monitoring/benchmark"), h.figures("/monitoring/metrics")
	require.EqualValues(t, 3, benchmark["totalRequests"])
	require.EqualValues(t, 2, benchmark["acceptedRequests"])
	require.EqualValues(t, 1, benchmark["refusedRequests"])
	require.EqualValues(t, 3, live["throughput"])
	require.EqualValues(t, 1, live["ordersPerSecond"])
	require.EqualValues(t, 1, live["successfulOrders"])
	require.Equal(t, map[string]any{}, live["refusals"], "no order was refused")
}

func TestAPanicIsAFailure(t *testing.T) {
	h := start(t, httpapi.Config{})
	h.reserver.decide = func(*engine.Reservation) error { panic("?") }
	h.send("POST", "/orders", goodOrder).requireProblem(t, 500, engine.CodeInternal)
	require.EqualValues(t, 1, h.figures("/monitoring/benchmark")["failedRequests"])
	live := h.figures("/monitoring/metrics")
	require.EqualValues(t, 1, live["failedOrders"])
	require.EqualValues(t, 0, live["activeRequests"])
	require.Equal(t, map[string]any{"internal": 1.0}, live["failures"])
}
