package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

const adminToken = "let-me-in"

// shop is a small server that sells one product in memory. It is correct; tests change what it says or does.
type shop struct {
	// answer, if set, comes before everything; true = it has answered.
	answer func(s *shop, ctx *fasthttp.RequestCtx) bool
	// onOrder, if set, is asked for the n-th order, from 1, under the lock; true = it has answered.
	onOrder func(s *shop, ctx *fasthttp.RequestCtx, n int) bool
	// onLookup, if set, changes what an order looks like, under the lock.
	onLookup func(id string, looked int, o *shopOrder)

	mu      sync.Mutex
	product struct {
		ID    string `json:"id"`
		Units int64  `json:"initialStock"`
	}
	stock   Stock
	users   map[string]int // orders
	orders  map[string]shopOrder
	looked  map[string]int // lookups
	arrived int            // orders
}

type shopOrder struct {
	OrderID string `json:"orderId"`
	Status  string `json:"status"`
	Product string `json:"productId"`
	Durable bool   `json:"durable"`
}

// open serves the shop until the test ends and returns its URL.
func (s *shop) open(t *testing.T) string {
	t.Helper()
	s.users, s.orders, s.looked = map[string]int{}, map[string]shopOrder{}, map[string]int{}
	return serve(t, s.handle)
}

func serve(t *testing.T, handler fasthttp.RequestHandler) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &fasthttp.Server{Handler: handler}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		require.NoError(t, server.ShutdownWithContext(ctx))
		require.NoError(t, <-served)
	})
	return "http://" + ln.Addr().String()
}

func (s *shop) handle(ctx *fasthttp.RequestCtx) {
	if s.answer != nil && s.answer(s, ctx) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	path := string(ctx.Path())
	switch {
	case ctx.IsPost() && path == "/inventory":
		s.create(ctx)
	case ctx.IsPost() && path == "/orders":
		s.order(ctx)
	case path == "/inventory/"+s.product.ID:
		reply200(ctx, s.stock)
	case strings.HasPrefix(path, "/orders/"):
		s.show(ctx, strings.TrimPrefix(path, "/orders/"))
	default:
		refuse(ctx, 404, "not_found", "")
	}
}

func (s *shop) create(ctx *fasthttp.RequestCtx) {
	if string(ctx.Request.Header.Peek("Authorization")) != "Bearer "+adminToken {
		refuse(ctx, 403, "forbidden", "")
		return
	}
	if err := json.Unmarshal(ctx.PostBody(), &s.product); err != nil {
		refuse(ctx, 400, "invalid_request", "")
		return
	}
	s.stock = Stock{Initial: s.product.Units, Current: s.product.Units}
	ctx.SetStatusCode(201)
}

func (s *shop) order(ctx *fasthttp.RequestCtx) {
	var wanted struct {
		ProductID string
		UserID    string
		Quantity  int64
	}
	if err := json.Unmarshal(ctx.PostBody(), &wanted); err != nil || wanted.ProductID != s.product.ID || wanted.Quantity != 1 {
		refuse(ctx, 400, "invalid_request", "")
		return
	}
	s.arrived++
	s.users[wanted.UserID]++
	switch {
	case s.onOrder != nil && s.onOrder(s, ctx, s.arrived):
	case s.users[wanted.UserID] > 1:
		refuse(ctx, 409, "duplicate_order", "")
	case s.stock.Current == 0:
		refuse(ctx, 409, "sold_out", "")
	default:
		accept(ctx, s.place())
	}
}

// place sells a unit, whether there is one or not, and returns the order's id.
func (s *shop) place() string {
	s.stock.Current--
	s.stock.Sold++
	id := fmt.Sprintf("order-%d", s.arrived)
	s.orders[id] = shopOrder{OrderID: id, Status: "confirmed", Product: s.product.ID, Durable: true}
	return id
}

func (s *shop) show(ctx *fasthttp.RequestCtx, id string) {
	o, known := s.orders[id]
	if !known {
		refuse(ctx, 404, "not_found", "")
		return
	}
	s.looked[id]++
	if s.onLookup != nil {
		s.onLookup(id, s.looked[id], &o)
	}
	reply200(ctx, o)
}

func accept(ctx *fasthttp.RequestCtx, id string) {
	ctx.SetStatusCode(201)
	ctx.SetBodyString(`{"orderId":"` + id + `","status":"confirmed"}`)
}

func refuse(ctx *fasthttp.RequestCtx, status int, code, orderID string) {
	ctx.SetStatusCode(status)
	ctx.SetContentType("application/problem+json")
	ctx.SetBodyString(fmt.Sprintf(`{"status":%d,"code":%q,"orderId":%q}`, status, code, orderID))
}

func reply200(ctx *fasthttp.RequestCtx, doc any) {
	body, err := json.Marshal(doc)
	if err != nil {
		panic(err)
	}
	ctx.SetBody(body)
}
