package httpapi_test

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/httpapi"
)

const goodOrder = `{"productId":"phone","userId":"ann@example.org","quantity":2}`

func TestPostOrderAccepted(t *testing.T) {
	h := start(t, httpapi.Config{})
	h.reserver.rate = 1000
	h.reserver.decide = func(r *engine.Reservation) error {
		accept(r)
		r.Ahead = 1234
		return nil
	}
	for _, path := range []string{"/orders", "/api/v1/orders"} {
		got := h.send("POST", path, goodOrder)
		require.Equal(t, 201, got.status, got.body)
		require.Equal(t, "application/json", got.header.Get("Content-Type"))
		id := got.json(t)["orderId"].(string)
		parsed, ok := engine.ParseOrderID(id)
		require.True(t, ok)
		require.Equal(t, engine.PartitionOf("phone", testPartitions), parsed.Partition())
		require.Equal(t, path+"/"+id, got.header.Get("Location"))
		require.JSONEq(t, `{"orderId":"`+id+`","jobId":"`+id+`","status":"confirmed","productId":"phone",
			"userId":"ann@example.org","quantity":2,"durability":"fast","queuePosition":1234,"estimatedWaitTime":1.234,
			"createdAt":"2023-11-14T22:13:20.123Z"}`, got.body)
	}
	calls := h.reserver.reserved()
	require.Len(t, calls, 2)
	require.Equal(t, "phone", calls[0].Product)
	require.Equal(t, "ann@example.org", calls[0].User)
	require.EqualValues(t, 2, calls[0].Quantity)
	require.NotEqual(t, calls[0].ID, calls[1].ID)
}

func TestPostOrderTakes(t *testing.T) {
	h := start(t, httpapi.Config{})
	cases := map[string]struct{ body, product string }{
		"product id as a number":    {`{"productId":4711,"userId":"u","quantity":1}`, "4711"},
		"negative number as an id":  {`{"productId":-5,"userId":"u","quantity":1}`, "-5"},
		"escapes":                   {`{"product\u0049d":"\u0070hone","userId":"u","quantity":1}`, "phone"},
		"white space, other order":  {" {\n\t\"quantity\" : 1000000 , \"userId\":\"u\",\"productId\" : \"p\" }\r\n", "p"},
		"an id of 64 characters":    {`{"productId":"` + strings.Repeat("p", 64) + `","userId":"u","quantity":1}`, strings.Repeat("p", 64)},
		"a product named like path": {`{"productId":"a..b","userId":"u","quantity":1}`, "a..b"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := h.send("POST", "/orders", c.body)
			require.Equal(t, 201, got.status, got.body)
			require.Equal(t, c.product, got.json(t)["productId"])
		})
	}
}

func TestPostOrderContentType(t *testing.T) {
	h := start(t, httpapi.Config{})
	for _, good := range []string{"application/json", "application/json; charset=utf-8", "Application/JSON"} {
		require.Equal(t, 201, h.send("POST", "/orders", goodOrder, "Content-Type", good).status, good)
	}
	for _, bad := range []string{"text/plain", "application/jsonp", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"} {
		problem := h.send("POST", "/orders", goodOrder, "Content-Type", bad).requireProblem(t, 400, engine.CodeInvalidRequest)
		require.Equal(t, "Content-Type", problem["field"], bad)
	}
	require.Len(t, h.reserver.reserved(), 3)

	conn, r := h.dial()
	_, err := fmt.Fprintf(conn, "POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(goodOrder), goodOrder)
	require.NoError(t, err)
	require.Equal(t, 201, h.next(r).status, "no Content-Type at all")
}

// Later requests on a connection are read into the same memory.
func TestReservationOwnsItsStrings(t *testing.T) {
	h := start(t, httpapi.Config{})
	var first, second string
	h.reserver.decide = func(r *engine.Reservation) error {
		if first == "" {
			first, second = r.Product, r.User
		}
		accept(r)
		return nil
	}
	for i := range 20 {
		got := h.send("POST", "/orders", fmt.Sprintf(`{"productId":"product-%02d","userId":"user-%02d","quantity":1}`, i, i))
		require.Equal(t, 201, got.status)
	}
	require.Equal(t, "product-00", first)
	require.Equal(t, "user-00", second)
}

func TestPostOrderRefusals(t *testing.T) {
	const startsMs = 1_700_000_000_123
	other := engine.NewOrderID(1, time.UnixMilli(startsMs))
	cases := map[string]struct {
		decide     func(r *engine.Reservation) error
		status     int
		code       engine.Code
		retryAfter string
		member     string
		value      any
	}{
		"sold out":             {func(r *engine.Reservation) error { r.Left = 3; return engine.ErrSoldOut }, 409, engine.CodeSoldOut, "", "left", 3.0},
		"sold out by the gate": {func(*engine.Reservation) error { return engine.ErrSoldOut }, 409, engine.CodeSoldOut, "", "left", nil},
		"limit":                {func(r *engine.Reservation) error { r.Bought = 2; return engine.ErrLimitExceeded }, 409, engine.CodeLimitExceeded, "", "alreadyBought", 2.0},
		"duplicate": {func(r *engine.Reservation) error {
			r.First, r.RetryAfterMs = other, 1
			return engine.ErrDuplicateOrder
		}, 409, engine.CodeDuplicateOrder, "1", "firstOrderId", other.String()},
		"not started": {func(r *engine.Reservation) error {
			r.RetryAtMs, r.RetryAfterMs = startsMs, 61_001
			return engine.ErrSaleNotStarted
		}, 409, engine.CodeSaleNotStarted, "62", "startsAt", "2023-11-14T22:13:20.123Z"},
		"ended":           {func(*engine.Reservation) error { return engine.ErrSaleEnded }, 409, engine.CodeSaleEnded, "", "left", nil},
		"inactive":        {func(*engine.Reservation) error { return engine.ErrSaleInactive }, 409, engine.CodeSaleInactive, "", "left", nil},
		"unknown product": {func(*engine.Reservation) error { return engine.ErrUnknownProduct }, 404, engine.CodeNotFound, "", "field", "productId"},
		"queue full":      {func(*engine.Reservation) error { return engine.ErrQueueFull }, 503, engine.CodeOverloaded, "1", "left", nil},
		"partition shut":  {func(*engine.Reservation) error { return engine.ErrPartitionClosed }, 503, engine.CodePartitionClosed, "1", "left", nil},
		"wrapped": {func(*engine.Reservation) error {
			return fmt.Errorf("lane 3: %w", engine.ErrUnavailable)
		}, 503, engine.CodeUnavailable, "1", "left", nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := start(t, httpapi.Config{})
			h.reserver.decide = c.decide
			got := h.send("POST", "/orders", goodOrder)
			problem := got.requireProblem(t, c.status, c.code)
			require.Equal(t, c.retryAfter, got.header.Get("Retry-After"))
			require.Equal(t, c.value, problem[c.member])
			require.NotContains(t, problem, "orderId")
		})
	}
}

func TestPostOrderOutcomeUnknown(t *testing.T) {
	h := start(t, httpapi.Config{})
	h.reserver.decide = func(*engine.Reservation) error {
		return &engine.Error{Code: engine.CodeOutcomeUnknown, Detail: "perhaps", RetryAfter: time.Second}
	}
	got := h.send("POST", "/orders", goodOrder)
	problem := got.requireProblem(t, 504, engine.CodeOutcomeUnknown)
	require.Equal(t, h.reserver.reserved()[0].ID.String(), problem["orderId"])
	require.Empty(t, got.header.Get("Retry-After"), "a second order might be placed beside the first")
}

func TestUnexpectedErrorIsNotShown(t *testing.T) {
	h := start(t, httpapi.Config{})
	h.reserver.decide = func(*engine.Reservation) error { return errors.New("dial redis.internal:6379") }
	got := h.send("POST", "/orders", goodOrder)
	problem := got.requireProblem(t, 500, engine.CodeInternal)
	require.NotContains(t, got.body, "redis.internal")
	log := h.log.String()
	require.Equal(t, 1, strings.Count(log, "redis.internal"), log)
	require.Contains(t, log, problem["requestId"])
}

// What was a hold once shows when it ends as long as that means something.
func TestOnlyHoldsShowTheirEnd(t *testing.T) {
	h := start(t, httpapi.Config{})
	id := engine.NewOrderID(2, time.UnixMilli(1_700_000_000_123))
	for status, shown := range map[engine.Status]bool{
		engine.StatusPending: true, engine.StatusExpired: true,
		engine.StatusConfirmed: false, engine.StatusCancelled: false, engine.StatusFailed: false,
	} {
		order := engine.Order{ID: id, Product: "phone", User: "ann", Quantity: 1, Status: status, ExpiresAtMs: 1_700_000_060_000}
		h.store.orders = map[engine.OrderID]engine.OrderView{id: {Order: order}}
		h.store.settle = func(asked *engine.Transition) error { asked.Order = order; return nil }
		for _, got := range []reply{h.send("GET", "/orders/"+id.String(), ""), h.send("POST", "/orders/"+id.String()+"/confirm", "")} {
			if shown {
				require.Equal(t, "2023-11-14T22:14:20.000Z", got.json(t)["expiresAt"], status)
			} else {
				require.NotContains(t, got.json(t), "expiresAt", status)
			}
		}
	}
}

func TestGetOrder(t *testing.T) {
	h := start(t, httpapi.Config{})
	id := engine.NewOrderID(2, time.UnixMilli(1_700_000_000_123))
	h.store.orders = map[engine.OrderID]engine.OrderView{id: {
		Order: engine.Order{
			ID: id, Product: "phone", User: "ann", Quantity: 2, Status: engine.StatusFailed, Version: 3,
			CreatedAtMs: 1_700_000_000_123, UpdatedAtMs: 1_700_000_001_000, ExpiresAtMs: 1_700_000_002_000, Reason: `over "stock"`,
		},
		Durable: true, ProductName: "Phone\n", PriceCents: 19950,
	}}
	for _, prefix := range []string{"", "/api/v1"} {
		got := h.send("GET", prefix+"/orders/"+id.String(), "")
		require.Equal(t, 200, got.status)
		require.JSONEq(t, `{"orderId":"`+id.String()+`","jobId":"`+id.String()+`","status":"failed","productId":"phone",
			"userId":"ann","quantity":2,"durability":"ledger","durable":true,"version":3,"createdAt":"2023-11-14T22:13:20.123Z",
			"updatedAt":"2023-11-14T22:13:21.000Z","failedReason":"over \"stock\"",
			"product":{"id":"phone","name":"Phone\n","price":199.5}}`, got.body)
	}
	h.store.orders[id] = engine.OrderView{Order: engine.Order{ID: id, Status: engine.StatusConfirmed}}
	require.NotContains(t, h.send("GET", "/orders/"+id.String(), "").json(t), "failedReason")

	absent := engine.NewOrderID(2, time.UnixMilli(1_700_000_000_123)).String()
	for _, no := range []string{absent, "42", id.String() + "0", strings.Replace(id.String(), "-7", "-4", 1)} {
		h.send("GET", "/orders/"+no, "").requireProblem(t, 404, engine.CodeNotFound)
	}
}

// The mode that is asked for reaches the engine, and the answer names the one that it gave.
func TestDurabilityOfAnOrder(t *testing.T) {
	for body, want := range map[string]engine.Durability{
		goodOrder: engine.DurabilityDefault,
		`{"productId":"phone","userId":"ann","quantity":1,"durability":"fast"}`:       engine.DurabilityFast,
		`{"productId":"phone","userId":"ann","quantity":1,"durability":"replicated"}`: engine.DurabilityReplicated,
		`{"durability":"ledger","productId":"phone","userId":"ann","quantity":1}`:     engine.DurabilityLedger,
	} {
		h := start(t, httpapi.Config{})
		h.reserver.decide = func(r *engine.Reservation) error {
			accept(r)
			if want == engine.DurabilityDefault {
				r.Durability = engine.DurabilityLedger // as the service is set
			}
			return nil
		}
		got := h.send("POST", "/orders", body)
		require.Equal(t, 201, got.status, got.body)
		require.Equal(t, want, h.reserver.reserved()[0].Durability)
		require.Equal(t, cmp.Or(want, engine.DurabilityLedger).String(), got.json(t)["durability"])
	}
}
