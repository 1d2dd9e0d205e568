package httpapi_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/httpapi"
)

const (
	testPartitions = 4
	adminToken     = "correct-horse"
	waitLimit      = 10 * time.Second // for what must happen soon
)

// fakeReserver stands in for the engine where only HTTP is looked at.
type fakeReserver struct {
	reconciled engine.Reconciled // no run = there was none

	mu     sync.Mutex
	calls  []engine.Reservation
	decide func(r *engine.Reservation) error
	shut   map[int]string // partition -> reason
	fault  map[int]string // partition that is open all the same -> reason
	lag    map[int]time.Duration
	rate   float64
	ahead  time.Duration // of this machine's clock is that of Redis
}

func (f *fakeReserver) TimeOf(string) time.Time { return time.Now().Add(f.ahead) }

func (f *fakeReserver) Reserve(r *engine.Reservation, now time.Time) error {
	r.ID = engine.NewOrderID(engine.PartitionOf(r.Product, testPartitions), now)
	f.mu.Lock()
	f.calls = append(f.calls, engine.Reservation{ID: r.ID, Product: r.Product, User: r.User, Quantity: r.Quantity, HoldMs: r.HoldMs, Key: r.Key, Durability: r.Durability})
	f.mu.Unlock()
	r.Durability = cmp.Or(r.Durability, engine.DurabilityFast)
	if f.decide != nil {
		return f.decide(r)
	}
	accept(r)
	return nil
}

func accept(r *engine.Reservation) {
	r.Order.ID = r.ID
	r.Order.Status, r.Order.CreatedAtMs = engine.StatusConfirmed, 1_700_000_000_123
}

func (f *fakeReserver) DrainRate(int) float64 { return f.rate }
func (f *fakeReserver) Partitions() int       { return testPartitions }

func (f *fakeReserver) State(partition int) engine.PartitionState {
	reason, shut := f.shut[partition]
	if !shut {
		reason = f.fault[partition]
	}
	return engine.PartitionState{
		Partition: partition, Epoch: engine.Epoch{Number: 7}, Open: !shut, Reason: reason, Backlog: 11, Queued: 3,
		Lag: f.lag[partition], Watermark: engine.Watermark{Epoch: 7, Sequence: 42},
	}
}

func (f *fakeReserver) reserved() []engine.Reservation {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// fakeStore stands in for the ledger.
type fakeStore struct {
	fakeHistory
	mu       sync.Mutex
	setup    sync.RWMutex // of products, err and wait, where something reads by itself
	products []engine.Product
	orders   map[engine.OrderID]engine.OrderView
	created  []engine.NewProduct
	changes  []engine.ProductChange
	err      error
	ledger   error // of what Redis alone does not know
	wait     func(context.Context) error
	settle   func(*engine.Transition) error
	settled  []engine.Transition
}

// Settle notes what was asked for and leaves the outcome to the test.
func (f *fakeStore) Settle(ctx context.Context, t *engine.Transition) error {
	if err := f.enter(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settled = append(f.settled, engine.Transition{ID: t.ID, Action: t.Action, User: t.User, Quantity: t.Quantity, HoldFor: t.HoldFor, Durability: t.Durability})
	t.Durability = cmp.Or(t.Durability, engine.DurabilityFast)
	return f.settle(t)
}

func (f *fakeStore) enter(ctx context.Context) error {
	f.setup.RLock()
	wait, err := f.wait, f.err
	f.setup.RUnlock()
	if wait != nil {
		return wait(ctx)
	}
	return err
}

func (f *fakeStore) Order(ctx context.Context, id engine.OrderID) (engine.OrderView, error) {
	if err := f.enter(ctx); err != nil {
		return engine.OrderView{}, err
	}
	view, ok := f.orders[id]
	if !ok {
		return view, &engine.Error{Code: engine.CodeNotFound, Detail: "no order has this id"}
	}
	return view, nil
}

func (f *fakeStore) Products(ctx context.Context, after string, limit int) ([]engine.Product, error) {
	if err := f.enter(ctx); err != nil {
		return nil, err
	}
	f.setup.RLock()
	defer f.setup.RUnlock()
	if f.ledger != nil {
		return nil, f.ledger
	}
	first := slices.IndexFunc(f.products, func(p engine.Product) bool { return p.ID > after })
	if first < 0 {
		return nil, nil
	}
	rest := f.products[first:]
	return rest[:min(limit, len(rest))], nil
}

// setProducts changes what there is while readers are at it.
func (f *fakeStore) setProducts(all ...engine.Product) {
	f.setup.Lock()
	defer f.setup.Unlock()
	f.products = all
}

func (f *fakeStore) Product(ctx context.Context, id string) (engine.Product, error) {
	if err := f.enter(ctx); err != nil {
		return engine.Product{}, err
	}
	f.setup.RLock()
	defer f.setup.RUnlock()
	if f.ledger != nil {
		return engine.Product{}, f.ledger
	}
	for _, p := range f.products {
		if p.ID == id {
			return p, nil
		}
	}
	return engine.Product{}, &engine.Error{Code: engine.CodeNotFound, Detail: "no product has this id"}
}

func (f *fakeStore) Recount(ctx context.Context, products []engine.Product) error {
	if err := f.enter(ctx); err != nil {
		return err
	}
	f.setup.RLock()
	defer f.setup.RUnlock()
	for i := range products {
		for _, p := range f.products {
			if p.ID == products[i].ID {
				products[i].Stock = p.Stock
			}
		}
	}
	return nil
}

// loseLedger has the ledger away, or back.
func (f *fakeStore) loseLedger(err error) {
	f.setup.Lock()
	defer f.setup.Unlock()
	f.ledger = err
}

func (f *fakeStore) CreateProduct(ctx context.Context, p engine.NewProduct) (engine.Product, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.created = append(f.created, p)
	p.Version, p.CreatedAt = 1, time.UnixMilli(1_700_000_000_123)
	return p.Product, f.enter(ctx)
}

func (f *fakeStore) ChangeProduct(ctx context.Context, id string, c engine.ProductChange) (engine.Product, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes = append(f.changes, c)
	return engine.Product{ID: id, Name: "as it was", Version: 4, CreatedAt: time.UnixMilli(0)}, f.enter(ctx)
}

// harness is a server on a real socket, with what stands behind it.
type harness struct {
	t        *testing.T
	reserver *fakeReserver
	store    *fakeStore
	server   *httpapi.Server
	address  string
	client   *http.Client
	stop     context.CancelFunc
	served   chan error
	log      *logBuffer
	metrics  *metrics.Set
}

// logBuffer collects what the server logs.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// start serves until the test ends. The checks are those of the health report.
func start(t *testing.T, config httpapi.Config, checks ...httpapi.Check) *harness {
	t.Helper()
	h := newHarness(t)
	deps := h.deps()
	deps.Checks = checks
	h.serve(config, deps)
	return h
}

func newHarness(t *testing.T) *harness {
	return &harness{
		t: t, reserver: &fakeReserver{}, store: &fakeStore{}, served: make(chan error, 1), log: &logBuffer{},
		metrics: metrics.NewSet(),
	}
}

func (h *harness) deps() httpapi.Deps {
	return httpapi.Deps{
		Reserver: h.reserver, Transitions: h.store, Orders: h.store, Catalog: h.store,
		Reconciled: func() (engine.Reconciled, bool) {
			last := h.reserver.reconciled
			return last, last.Run != 0
		},
	}
}

func (h *harness) serve(config httpapi.Config, deps httpapi.Deps) {
	t := h.t
	t.Helper()
	config.Metrics, config.Logger = h.metrics, slog.New(slog.NewTextHandler(h.log, nil))
	if config.AdminToken == "" {
		config.AdminToken = adminToken
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h.address = ln.Addr().String()
	h.server = httpapi.New(deps, config)
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	go func() { h.served <- h.server.Serve(ctx, ln) }()
	transport := &http.Transport{}
	h.client = &http.Client{
		Transport: transport, Timeout: waitLimit,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		require.NoError(t, <-h.served)
		h.served <- nil
	})
}

// reply is an answer that has been read.
type reply struct {
	status int
	header http.Header
	body   string
	closes bool // the server says that it ends the connection
}

// send sends a request; headers are pairs of name and value.
func (h *harness) send(method, path, body string, headers ...string) reply {
	h.t.Helper()
	request, err := http.NewRequest(method, "http://"+h.address+path, strings.NewReader(body))
	require.NoError(h.t, err)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := h.client.Do(request)
	require.NoError(h.t, err)
	defer func() { _ = response.Body.Close() }()
	return h.read(response)
}

// admin sends a request with the admin token.
func (h *harness) admin(method, path, body string, headers ...string) reply {
	h.t.Helper()
	return h.send(method, path, body, append(headers, "Authorization", "Bearer "+adminToken)...)
}

func (h *harness) read(response *http.Response) reply {
	h.t.Helper()
	var body []byte
	switch {
	case response.StatusCode == http.StatusSwitchingProtocols: // what follows is no HTTP
	case response.Header.Get("Content-Type") == "text/event-stream" && response.Request.Method == http.MethodGet:
		body = []byte(nextEvent(h.t, bufio.NewReader(response.Body), "stock"))
	default:
		var err error
		body, err = io.ReadAll(response.Body)
		require.NoError(h.t, err)
	}
	require.Empty(h.t, response.Header.Get("Server"), "the server does not say what it is")
	return reply{response.StatusCode, response.Header, string(body), response.Close}
}

// json returns the body's members.
func (r reply) json(t *testing.T) map[string]any {
	t.Helper()
	var members map[string]any
	require.NoError(t, json.Unmarshal([]byte(r.body), &members), "body: %s", r.body)
	return members
}

// requireProblem checks the shape that every error has, and returns its members.
func (r reply) requireProblem(t *testing.T, status int, code engine.Code) map[string]any {
	t.Helper()
	require.Equal(t, status, r.status, "body: %s", r.body)
	require.Equal(t, "application/problem+json", r.header.Get("Content-Type"))
	members := r.json(t)
	require.Equal(t, "urn:flashsale:problem:"+string(code), members["type"])
	require.Equal(t, string(code), members["code"])
	require.NotEmpty(t, members["title"])
	require.NotEmpty(t, members["detail"])
	return members
}

// dial opens a raw connection, all of which must be over soon.
func (h *harness) dial() (net.Conn, *bufio.Reader) {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.address)
	require.NoError(h.t, err)
	h.t.Cleanup(func() { _ = conn.Close() })
	require.NoError(h.t, conn.SetDeadline(time.Now().Add(waitLimit)))
	return conn, bufio.NewReader(conn)
}

// next reads one answer from a raw connection.
func (h *harness) next(r *bufio.Reader) reply {
	h.t.Helper()
	response, err := http.ReadResponse(r, nil)
	require.NoError(h.t, err)
	defer func() { _ = response.Body.Close() }()
	return h.read(response)
}

func (h *harness) requireClosed(r *bufio.Reader) {
	h.t.Helper()
	rest, err := io.ReadAll(r)
	require.NoError(h.t, err, "the connection must be closed, not run into its deadline")
	require.Empty(h.t, string(rest), "nothing may be answered after the refusal")
}
