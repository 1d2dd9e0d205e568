package httpapi_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"flashsale/engine"
	"flashsale/httpapi"
)

// contractCase is one request, and the status that it is answered with.
type contractCase struct {
	operation string // METHOD /path/{of}/the/description
	status    int
	target    string // path and query; "" = the operation's own path
	body      string
	headers   []string
	bad       bool // the description does not allow this request either
	prepare   func(*harness)
	server    string // which of contractServers; "" = asks for no token
}

func (c *contractCase) method() string {
	method, _, _ := strings.Cut(c.operation, " ")
	return method
}

func (c *contractCase) path() string {
	_, path, _ := strings.Cut(c.operation, " ")
	if c.target != "" {
		return c.target
	}
	return path
}

func (c *contractCase) header() http.Header {
	header := make(http.Header)
	if c.body != "" {
		header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(c.headers); i += 2 {
		header.Set(c.headers[i], c.headers[i+1])
	}
	return header
}

// world is what the requests of the contract are about.
type world struct {
	orders []engine.OrderView // of ann: as usual, a hold, one that failed, one whose product can't be named now
	come   bearers
	keys   httpapi.Verifier
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{orders: ordersOf(4)}
	w.orders[1].Status, w.orders[1].ExpiresAtMs = engine.StatusPending, 1_700_000_060_000
	w.orders[2].Status, w.orders[2].Reason = engine.StatusFailed, "the ledger said no"
	w.orders[3].ProductName = ""
	come, keys := newBearers(t, "ann buyer ann", "bob buyer bob", "ops admin", "watch monitor")
	w.come, w.keys = come, keys
	return w
}

func (w *world) id(i int) string { return w.orders[i].ID.String() }

// furnish has the stores know the world.
func (w *world) furnish(h *harness) {
	h.store.setup.Lock()
	defer h.store.setup.Unlock()
	h.reserver.decide, h.reserver.shut, h.store.err = nil, nil, nil
	lamp := phone()
	lamp.ID = "tent"
	h.store.products = []engine.Product{phone(), lamp}
	h.store.page = engine.OrderPage{Orders: w.orders, LagMs: 7}
	h.store.counts = engine.OrderCounts{Pending: 1, Confirmed: 20, Waiting: 6, Active: 7}
	h.store.totals = engine.StockTotals{Products: 5, OutOfStock: 2, LowStock: 1, Initial: 300, Current: 200}
	h.store.orders, h.store.jobs = map[engine.OrderID]engine.OrderView{}, map[engine.OrderID]engine.Job{}
	for i, view := range w.orders {
		state := []engine.JobStatus{engine.JobCompleted, engine.JobWaiting, engine.JobFailed, engine.JobActive}[i]
		h.store.orders[view.ID] = view
		h.store.jobs[view.ID] = engine.Job{OrderView: view, State: state, Position: int64(i), RecordedAtMs: int64(i) * 1_700_000_000_000}
	}
	h.store.settle = func(t *engine.Transition) error { t.Order = w.orders[1].Order; return nil }
}

// sample is a request of each operation that is answered as it should be.
func (w *world) samples() []contractCase {
	admin := []string{"Authorization", "Bearer " + adminToken}
	id := w.id(0)
	all := []contractCase{
		{operation: "POST /orders", status: 201, body: goodOrder},
		{operation: "GET /orders/{id}", target: "/orders/" + id},
		{operation: "POST /orders/{id}/confirm", target: "/orders/" + id + "/confirm", body: `{"quantity":1,"durability":"ledger"}`},
		{operation: "POST /orders/{id}/cancel", target: "/orders/" + id + "/cancel", body: `{"durability":"fast"}`},
		{operation: "POST /orders/{id}/extend", target: "/orders/" + id + "/extend", body: `{"holdSeconds":60,"durability":"replicated"}`},
		{operation: "GET /orders/user/{userId}", target: "/orders/user/ann?limit=3"},
		{operation: "GET /orders/queue/{jobId}", target: "/orders/queue/" + id},
		{operation: "GET /orders/admin/metrics", headers: admin},
		{operation: "GET /inventory", target: "/inventory?limit=1"},
		{operation: "POST /inventory", status: 201, headers: admin, body: `{"id":42,"name":"Lamp","price":19.5,"initialStock":10,
			"perUserLimit":2,"flashSaleActive":true,"startsAt":"2026-01-01T00:00:00+01:00","endsAt":null,"holdSeconds":90,"reason":"new"}`},
		{operation: "GET /inventory/metrics"},
		{operation: "GET /inventory/{productId}", target: "/inventory/phone"},
		{operation: "GET /inventory/{productId}/stream", target: "/inventory/phone/stream"},
		{operation: "PUT /inventory/{productId}", target: "/inventory/phone", headers: append([]string{"If-Match", `"3"`}, admin...), body: `{
			"name":"Lamp","price":20,"perUserLimit":0,"flashSaleActive":false,"startsAt":null,"endsAt":"2026-01-01T00:00:00Z",
			"holdSeconds":0,"currentStock":5,"reason":"less"}`},
		{operation: "GET /monitoring/health"},
		{operation: "GET /monitoring/metrics"},
		{operation: "GET /monitoring/benchmark"},
		{operation: "POST /monitoring/metrics/clear", headers: admin},
		{operation: "GET /monitoring/stream", status: 101, headers: webSocket("Sec-WebSocket-Protocol", "flashsale")},
		{operation: "GET /livez"},
		{operation: "GET /readyz"},
		{operation: "GET /metrics"},
		{operation: "GET /", status: 302},
		{operation: "GET /dashboard"},
		{operation: "GET /demo", server: "demo"},
		{operation: "GET /docs"},
		{operation: "GET /openapi.yaml"},
	}
	for i := range all {
		all[i].status = cmp.Or(all[i].status, 200)
	}
	return all
}

// with returns the sample of an operation, changed.
func (w *world) with(operation string, status int, change func(*contractCase)) contractCase {
	for _, c := range w.samples() {
		if c.operation == operation {
			c.status = status
			change(&c)
			return c
		}
	}
	panic("no sample of " + operation)
}

// failing has everybody whom the server asks fail.
func failing(err error) func(*harness) {
	return func(h *harness) {
		h.store.setup.Lock()
		defer h.store.setup.Unlock()
		h.store.err = err
		h.reserver.decide = func(*engine.Reservation) error { return err }
	}
}

var errOurFault = errors.New("a fault of ours")

// faults are what every operation that asks the stores can meet.
func (w *world) faults() (all []contractCase) {
	reads := map[error]int{errOurFault: 500, engine.ErrUnavailable: 503, engine.ErrPartitionClosed: 503}
	orders := map[error]int{engine.ErrQueueFull: 503, engine.ErrOutcomeUnknown: 504, context.DeadlineExceeded: 504}
	changes := map[error]int{context.DeadlineExceeded: 504}
	for i, operation := range []string{
		"POST /orders", "POST /orders/{id}/confirm", "POST /orders/{id}/cancel", "POST /orders/{id}/extend",
		"POST /inventory", "PUT /inventory/{productId}",
		"GET /orders/{id}", "GET /orders/user/{userId}", "GET /orders/queue/{jobId}", "GET /orders/admin/metrics", "GET /inventory",
		"GET /inventory/metrics", "GET /inventory/{productId}",
	} {
		met := []map[error]int{reads}
		switch {
		case i < 4:
			met = append(met, orders)
		case i < 6:
			met = append(met, changes)
		default:
			met = append(met, map[error]int{context.DeadlineExceeded: 503})
		}
		for _, errs := range met {
			for err, status := range errs {
				if operation == "POST /orders" && errors.Is(err, context.DeadlineExceeded) {
					continue // the engine gives a code to every end of its own deadline
				}
				all = append(all, w.with(operation, status, func(c *contractCase) { c.prepare = failing(err) }))
			}
		}
	}
	return all
}

// closedDoors are the refusals that come before the handler, of every operation that describes them.
func (w *world) closedDoors(t *testing.T) (all []contractCase) {
	operations := operationsOf(description(t))
	for _, sample := range w.samples() {
		answers := operations[sample.operation].Responses
		add := func(status int, change func(*contractCase)) {
			if answers.Status(status) != nil {
				all = append(all, w.with(sample.operation, status, change))
			}
		}
		basis := []string(nil)
		if sample.operation == "GET /monitoring/stream" {
			basis = webSocket()
		}
		add(401, func(c *contractCase) {
			c.headers, c.server = basis, "keys"
			c.bad = len((*operations[c.operation].Security)[0]) > 0 // where AUTH=none asks for no token, none is no mistake
		})
		wrong := w.come["watch"]
		if strings.Contains(sample.operation, "/metrics") || strings.Contains(sample.operation, "/benchmark") || basis != nil {
			wrong = w.come["ann"]
		}
		add(403, func(c *contractCase) { c.headers, c.server = slices.Concat(wrong, basis), "keys" })
		if method := sample.method(); method != http.MethodGet {
			all = append(all, w.with(sample.operation, 403, func(c *contractCase) {
				c.headers = append(slices.Clone(c.headers), "Origin", "https://elsewhere.example")
			}))
		}
		add(413, func(c *contractCase) { c.body, c.bad = strings.Repeat(" ", 5000), true })
		add(429, func(c *contractCase) {
			c.server = "limited"
			c.prepare = func(h *harness) { h.send("GET", "/nowhere", "") } // uses the limit up
		})
	}
	return all
}

// placing are the answers that only POST /orders has.
func (w *world) placing() (all []contractCase) {
	add := func(status int, change func(*contractCase)) {
		all = append(all, w.with("POST /orders", status, change))
	}
	outcome := func(status int, err error, fill func(*engine.Reservation), headers ...string) {
		add(status, func(c *contractCase) {
			c.headers = headers
			c.prepare = func(h *harness) {
				h.reserver.decide = func(r *engine.Reservation) error { fill(r); return err }
			}
		})
	}
	plain := func(*engine.Reservation) {}
	add(201, func(c *contractCase) {
		c.body = `{"productId":42,"userId":"ann@example.org","quantity":1000000,"holdSeconds":900}`
		c.server = "roomy"
		c.prepare = func(h *harness) {
			h.reserver.decide = func(r *engine.Reservation) error { accept(r); r.Order.ExpiresAtMs = 1_700_000_900_123; return nil }
		}
	})
	add(201, func(c *contractCase) {
		c.body, c.headers, c.server = `{"productId":"phone","quantity":1}`, w.come["ann"], "keys"
	})
	add(403, func(c *contractCase) { c.headers, c.server = w.come["bob"], "keys" })
	add(201, func(c *contractCase) {
		c.body = `{"productId":"phone","userId":"u","quantity":1,"durability":"ledger"}`
	})
	outcome(503, engine.ErrLedgerBehind, plain)
	outcome(503, engine.ErrReplicasBehind, plain)
	outcome(201, nil, func(r *engine.Reservation) { accept(r); r.Replayed = true }, "Idempotency-Key", `"k \" k"`)
	outcome(400, engine.ErrHoldTooLong, func(r *engine.Reservation) { r.MaxHoldMs = 90_000 })
	outcome(404, engine.ErrUnknownProduct, plain)
	outcome(409, engine.ErrSoldOut, func(r *engine.Reservation) { r.Left = 2 })
	outcome(409, engine.ErrSoldOut, plain)
	outcome(409, engine.ErrLimitExceeded, func(r *engine.Reservation) { r.Bought = 2 })
	outcome(409, engine.ErrDuplicateOrder, func(r *engine.Reservation) { r.First, r.RetryAfterMs = w.orders[0].ID, 4_200 })
	outcome(409, engine.ErrSaleNotStarted, func(r *engine.Reservation) { r.RetryAtMs = 1_700_000_000_000 })
	outcome(409, engine.ErrSaleEnded, plain)
	outcome(409, engine.ErrSaleInactive, plain)
	outcome(422, engine.ErrKeyConflict, plain, "Idempotency-Key", "k")
	outcome(504, engine.ErrOutcomeUnknown, plain, "Idempotency-Key", "k")
	for _, body := range []string{
		`{}`, `[]`, `{`, `{"productId":"p","userId":"u","quantity":0}`, `{"productId":"p","userId":"u","quantity":1000001}`,
		`{"productId":"p","userId":"u","quantity":1.5}`, `{"productId":"p","userId":"u","quantity":"1"}`,
		`{"productId":".p","userId":"u","quantity":1}`, `{"productId":"metrics","userId":"u","quantity":1}`,
		`{"productId":null,"userId":"u","quantity":1}`, `{"productId":"p","userId":"u v","quantity":1}`,
		`{"productId":"p","userId":"u","quantity":1,"holdSeconds":0}`, `{"productId":"p","userId":"u","quantity":1,"holdSeconds":86401}`,
		`{"productId":"p","userId":"u","quantity":1,"durability":"sure"}`, `{"productId":"p","userId":"u","quantity":1,"durability":null}`,
		`{"productId":"p","userId":"u","quantity":1,"more":1}`,
	} {
		add(400, func(c *contractCase) { c.body, c.bad = body, true })
	}
	add(400, func(c *contractCase) { c.headers, c.bad = []string{"Idempotency-Key", strings.Repeat("k", 513)}, true })
	return all
}

// settling are the answers of confirm, cancel and extend.
func (w *world) settling() (all []contractCase) {
	refused := map[error]int{
		engine.ErrInvalidState: 409, engine.ErrHoldExtended: 409, engine.ErrHoldExpired: 410, engine.ErrMoreThanHeld: 400, engine.ErrOutcomeUnknown: 504,
	}
	for name, wrong := range map[string]string{"confirm": `{"quantity":0}`, "cancel": `{"quantity":1}`, "extend": `{"holdSeconds":0}`} {
		operation := "POST /orders/{id}/" + name
		for err, status := range refused {
			all = append(all, w.with(operation, status, func(c *contractCase) {
				c.prepare = func(h *harness) {
					h.store.settle = func(t *engine.Transition) error { t.Order = w.orders[1].Order; return err }
				}
			}))
		}
		all = append(all,
			w.with(operation, 400, func(c *contractCase) { c.body, c.bad = wrong, true }),
			w.with(operation, 404, func(c *contractCase) { c.target, c.bad = "/orders/42/"+name, true }),
			w.with(operation, 404, func(c *contractCase) { c.prepare = failing(engine.ErrNoOrder) }))
	}
	for _, name := range []string{"confirm", "cancel"} {
		all = append(all, w.with("POST /orders/{id}/"+name, 200, func(c *contractCase) { c.body = "" }))
	}
	return all
}

// reading are the other answers of what changes nothing.
func (w *world) reading() []contractCase {
	absent := engine.NewOrderID(1, time.UnixMilli(0)).String()
	shut := func(h *harness) { h.reserver.shut = map[int]string{0: "a", 1: "b", 2: "c", 3: "d"} }
	all := []contractCase{
		{operation: "GET /orders/{id}", status: 404, target: "/orders/" + absent},
		{operation: "GET /orders/{id}", status: 404, target: "/orders/42", bad: true},
		{operation: "GET /orders/queue/{jobId}", status: 404, target: "/orders/queue/" + absent},
		{operation: "GET /orders/user/{userId}", status: 200, target: "/orders/user/ann"},
		{operation: "GET /orders/user/{userId}", status: 400, target: "/orders/user/ann?limit=0", bad: true},
		{operation: "GET /orders/user/{userId}", status: 400, target: "/orders/user/a%20b", bad: true},
		{operation: "GET /orders/user/{userId}", status: 404, target: "/orders/user/ann", headers: w.come["bob"], server: "keys"},
		{operation: "GET /inventory", status: 200, target: "/inventory?cursor=cGhvbmU"},
		{operation: "GET /inventory", status: 400, target: "/inventory?limit=201", bad: true},
		{operation: "GET /inventory", status: 400, target: "/inventory?cursor=%21", bad: true},
		{operation: "GET /inventory/{productId}", status: 404, target: "/inventory/absent"},
		{operation: "GET /inventory/{productId}", status: 404, target: "/inventory/.p", bad: true},
		{operation: "GET /inventory/{productId}/stream", status: 404, target: "/inventory/absent/stream"},
		{operation: "GET /inventory/{productId}/stream", status: 404, target: "/inventory/.p/stream", bad: true},
		{operation: "GET /inventory/{productId}/stream", status: 500, target: "/inventory/phone/stream", prepare: failing(errOurFault)},
		{operation: "GET /inventory/{productId}/stream", status: 503, target: "/inventory/phone/stream", server: "full"},
		{operation: "GET /demo", status: 404},
		{operation: "GET /monitoring/stream", status: 400, bad: true},
		{operation: "GET /monitoring/stream", status: 403, headers: webSocket("Origin", "https://elsewhere.example")},
		{operation: "GET /monitoring/stream", status: 503, headers: webSocket(), server: "full"},
		{operation: "GET /monitoring/health", status: 503, server: "broken"},
		{operation: "GET /monitoring/health", status: 503, prepare: shut},
		{operation: "GET /monitoring/health", status: 200, prepare: func(h *harness) {
			h.reserver.reconciled = engine.Reconciled{Run: 7, Outcome: engine.ReconciledDrift, Drift: 2, Repaired: 1, FinishedAt: time.Now()}
		}},
		{operation: "GET /readyz", status: 503, prepare: shut},
		{operation: "GET /monitoring/metrics", status: 200, prepare: failing(errOurFault)},
		{operation: "GET /monitoring/metrics", status: 200, prepare: func(h *harness) {
			h.send("POST", "/orders", goodOrder)
			failing(engine.ErrQueueFull)(h)
			h.send("POST", "/orders", goodOrder)
			failing(engine.ErrSoldOut)(h)
			h.send("POST", "/orders", goodOrder)
			failing(nil)(h)
		}},
	}
	for i := range w.orders {
		all = append(all,
			contractCase{operation: "GET /orders/{id}", status: 200, target: "/orders/" + w.id(i)},
			contractCase{operation: "GET /orders/queue/{jobId}", status: 200, target: "/orders/queue/" + w.id(i)})
	}
	return all
}

// changing are the other answers of what changes products.
func (w *world) changing() (all []contractCase) {
	const create, change = "POST /inventory", "PUT /inventory/{productId}"
	coded := func(code engine.Code) func(*contractCase) {
		return func(c *contractCase) { c.prepare = failing(&engine.Error{Code: code, Detail: "no", Field: "x"}) }
	}
	all = append(all,
		w.with(create, 201, func(c *contractCase) { c.body = `{"name":"x","price":0,"initialStock":0}` }),
		w.with(create, 400, func(c *contractCase) {
			c.body = `{"name":"x","price":0,"initialStock":0,"startsAt":"2026-01-02T00:00:00Z","endsAt":"2026-01-01T00:00:00Z"}`
		}),
		w.with(create, 409, coded(engine.CodeInvalidState)),
		w.with(change, 200, func(c *contractCase) { c.body, c.headers = `{"adjustStock":-5}`, append(c.headers, "If-Match", "*") }),
		w.with(change, 400, coded(engine.CodeInvalidRequest)),
		w.with(change, 400, func(c *contractCase) { c.headers, c.bad = append(c.headers, "If-Match", `W/"3"`), true }),
		w.with(change, 404, coded(engine.CodeNotFound)),
		w.with(change, 404, func(c *contractCase) { c.target, c.bad = "/inventory/.p", true }),
		w.with(change, 409, coded(engine.CodeInvalidState)),
		w.with(change, 412, coded(engine.CodeVersionConflict)))
	for operation, bodies := range map[string][]string{
		create: {
			`{}`, `{"name":"","price":0,"initialStock":0}`, `{"name":"x","price":0.001,"initialStock":0}`, `{"name":"x","price":-1,"initialStock":0}`,
			`{"name":"x\u0007","price":0,"initialStock":0}`, `{"name":"x","price":0,"initialStock":1000000000001}`,
			`{"name":"x","price":0,"initialStock":1,"holdSeconds":86401}`, `{"name":"x","price":0,"initialStock":1,"currentStock":1}`,
			`{"name":"x","price":0,"initialStock":1,"startsAt":"tomorrow"}`, `{"id":"metrics","name":"x","price":0,"initialStock":1}`,
		},
		change: {`{}`, `{"reason":"x"}`, `{"currentStock":1,"adjustStock":1}`, `{"adjustStock":0}`, `{"id":"x"}`, `{"perUserLimit":null}`},
	} {
		for _, body := range bodies {
			all = append(all, w.with(operation, 400, func(c *contractCase) { c.body, c.bad = body, true }))
		}
	}
	return all
}

// unprovoked are promises of the description that the server can't be brought to keep here.
var unprovoked = map[string]string{}

// contractServers starts one server of each kind that the cases are sent to.
func contractServers(t *testing.T, w *world) map[string]*harness {
	t.Helper()
	works := httpapi.Check{Name: "redis", Probe: func(context.Context) error { return nil }}
	fails := httpapi.Check{Name: "postgres", Probe: func(context.Context) error { return errOurFault }}
	full := start(t, httpapi.Config{Streams: &httpapi.StreamLimits{Watchers: 1, Buyers: 1}})
	full.watch("/monitoring/stream", nil)
	full.store.setProducts(phone())
	full.watchStock("phone")
	return map[string]*harness{
		"full":    full,
		"demo":    start(t, httpapi.Config{Demo: true}),
		"":        start(t, httpapi.Config{Clock: strides()}, works), // nothing is told twice
		"keys":    start(t, httpapi.Config{Tokens: w.keys}),
		"limited": start(t, httpapi.Config{AddressLimit: httpapi.Limit{Requests: 1, Per: time.Hour}}),
		"roomy":   start(t, httpapi.Config{AddressLimit: httpapi.Limit{Requests: 10}, UserLimit: httpapi.Limit{Requests: 10}}),
		"broken":  start(t, httpapi.Config{}, works, fails),
	}
}

// strides is a clock that goes on by a minute whenever it is looked at.
func strides() func() time.Time {
	var looks atomic.Int64
	return func() time.Time {
		return time.UnixMilli(1_700_000_000_000).Add(time.Duration(looks.Add(1)) * time.Minute)
	}
}

// TestTheServerKeepsTheContract sends every request of the tables below both prefixes and holds it and its answer against
// the description; then the description must have promised nothing that was not seen.
func TestTheServerKeepsTheContract(t *testing.T) {
	w, c := newWorld(t), newContract(t)
	servers := contractServers(t, w)
	cases := append(w.samples(), w.faults()...)
	for _, more := range [][]contractCase{w.closedDoors(t), w.placing(), w.settling(), w.reading(), w.changing()} {
		cases = append(cases, more...)
	}
	for i := range cases {
		cs, h := &cases[i], servers[cases[i].server]
		t.Run(fmt.Sprintf("%s %d #%d", cs.operation, cs.status, i), func(t *testing.T) {
			w.furnish(h)
			if cs.prepare != nil {
				cs.prepare(h)
			}
			for _, prefix := range httpapi.Prefixes() {
				if cs.path() != "/" || prefix == "" {
					c.check(t, h, cs, prefix+cs.path())
				}
			}
		})
	}
	if !t.Failed() {
		c.requireKept(t, unprovoked)
	}
}
