package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

const adminToken = "let-me-in"

// shop is a small server that sells in memory. It is correct; tests change what it says or does.
type shop struct {
	// answer, if set, comes before everything; true = it has answered.
	answer func(s *shop, ctx *fasthttp.RequestCtx) bool
	// onOrder, if set, is asked for the n-th order, from 1, under the lock; true = it has answered.
	onOrder func(s *shop, ctx *fasthttp.RequestCtx, n int) bool
	// onLookup, if set, changes what an order looks like, under the lock.
	onLookup func(id string, looked int, o *shopOrder)
	// onChange, if set, is asked for a confirm or a cancel, under the lock; true = it has answered.
	onChange func(s *shop, ctx *fasthttp.RequestCtx, o *shopOrder, verb string) bool
	// onList, if set, changes a buyer's list, under the lock.
	onList func(user string, list []shopOrder) []shopOrder
	// onCounts, if set, changes the counts of orders, under the lock.
	onCounts func(counts map[string]int64)
	// waiting, if set, says how many orders of earlier sales the ledger lacks, under the lock.
	waiting func() int64

	mu      sync.Mutex
	product shopProduct // the first
	stock   *Stock      // of the first
	stocks  map[string]*Stock
	limits  map[string]int
	wanted  shopRequest    // the order under way
	users   map[string]int // orders that were asked for
	bought  map[string]int // by user and product
	keys    map[string]string
	orders  map[string]shopOrder
	looked  map[string]int // lookups
	arrived int            // orders
}

type shopProduct struct {
	ID    string `json:"id"`
	Units int64  `json:"initialStock"`
	Limit int    `json:"perUserLimit"`
}

type shopRequest struct {
	ProductID   string
	UserID      string
	Quantity    int64
	HoldSeconds int64
}

type shopOrder struct {
	OrderID string `json:"orderId"`
	Status  string `json:"status"`
	Product string `json:"productId"`
	Durable bool   `json:"durable"`
	User    string `json:"userId"`

	expires time.Time // of a hold
}

// open serves the shop until the test ends and returns its URL.
func (s *shop) open(t *testing.T) string {
	t.Helper()
	s.users, s.bought, s.orders, s.looked = map[string]int{}, map[string]int{}, map[string]shopOrder{}, map[string]int{}
	s.stocks, s.limits, s.keys = map[string]*Stock{}, map[string]int{}, map[string]string{}
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
	s.expire()
	path := string(ctx.Path())
	stock, known := s.stocks[strings.TrimPrefix(path, "/inventory/")]
	switch {
	case ctx.IsPost() && path == "/inventory":
		s.create(ctx)
	case ctx.IsPost() && path == "/orders":
		s.order(ctx)
	case ctx.IsPost():
		s.change(ctx, strings.Split(path, "/"))
	case known:
		reply200(ctx, stock)
	case path == "/monitoring/health":
		reply200(ctx, map[string]any{"status": "ok", "ledger": map[string]any{"lagOrders": 3, "lagSeconds": 0.25}})
	case path == "/orders/admin/metrics":
		s.count(ctx)
	case strings.HasPrefix(path, "/orders/user/"):
		s.list(ctx, strings.TrimPrefix(path, "/orders/user/"))
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
	var p shopProduct
	if err := json.Unmarshal(ctx.PostBody(), &p); err != nil {
		refuse(ctx, 400, "invalid_request", "")
		return
	}
	s.stocks[p.ID], s.limits[p.ID] = &Stock{Initial: p.Units, Current: p.Units}, p.Limit
	if len(s.stocks) == 1 || s.stock == nil {
		s.product, s.stock = p, s.stocks[p.ID]
	}
	ctx.SetStatusCode(201)
}

func (s *shop) order(ctx *fasthttp.RequestCtx) {
	s.wanted = shopRequest{}
	if err := json.Unmarshal(ctx.PostBody(), &s.wanted); err != nil || s.wanted.Quantity != 1 {
		refuse(ctx, 400, "invalid_request", "")
		return
	}
	if s.stocks[s.wanted.ProductID] == nil {
		refuse(ctx, 404, "not_found", "")
		return
	}
	s.arrived++
	s.users[s.wanted.UserID]++
	key := string(ctx.Request.Header.Peek("Idempotency-Key"))
	limit := s.limits[s.wanted.ProductID]
	switch before, replay := s.keys[key]; {
	case s.onOrder != nil && s.onOrder(s, ctx, s.arrived):
	case key != "" && replay:
		ctx.Response.Header.Set("Idempotent-Replayed", "true")
		accept(ctx, before)
	case limit > 0 && s.bought[s.wanted.UserID] >= limit:
		refuse(ctx, 409, "limit_exceeded", "")
	case limit == 0 && s.users[s.wanted.UserID] > 1:
		refuse(ctx, 409, "duplicate_order", "")
	case s.stocks[s.wanted.ProductID].Current == 0:
		refuse(ctx, 409, "sold_out", "")
	default:
		id := s.place()
		if key != "" {
			s.keys[key] = id
		}
		accept(ctx, id)
	}
}

// place sells a unit of what is asked for, or holds it, whether there is one or not, and returns the order's id.
func (s *shop) place() string {
	stock := s.stocks[s.wanted.ProductID]
	stock.Current--
	s.bought[s.wanted.UserID]++
	o := shopOrder{
		OrderID: fmt.Sprintf("order-%d", s.arrived), Status: "confirmed", Product: s.wanted.ProductID, Durable: true, User: s.wanted.UserID,
	}
	if s.wanted.HoldSeconds > 0 {
		stock.Held++
		o.Status = "pending"
		o.expires = time.Now().Add(time.Duration(s.wanted.HoldSeconds) * time.Second)
	} else {
		stock.Sold++
	}
	s.orders[o.OrderID] = o
	return o.OrderID
}

// expire gives back what was held for too long.
func (s *shop) expire() {
	for id, o := range s.orders {
		if o.Status == "pending" && time.Now().After(o.expires) {
			s.end(id, "expired")
		}
	}
}

// end moves a hold into its last state.
func (s *shop) end(id, status string) {
	o := s.orders[id]
	stock := s.stocks[o.Product]
	stock.Held--
	if status == "confirmed" {
		stock.Sold++
	} else {
		stock.Current++
	}
	o.Status = status
	s.orders[id] = o
}

// change is POST /orders/{id}/{verb}.
func (s *shop) change(ctx *fasthttp.RequestCtx, path []string) {
	o, known := s.orders[path[2]]
	verb := path[len(path)-1]
	status := map[string]string{"confirm": "confirmed", "cancel": "cancelled"}[verb]
	switch {
	case !known || status == "":
		refuse(ctx, 404, "not_found", "")
	case s.onChange != nil && s.onChange(s, ctx, &o, verb):
	case o.Status != "pending":
		refuse(ctx, 410, "hold_expired", "")
	default:
		s.end(o.OrderID, status)
		reply200(ctx, s.orders[o.OrderID])
	}
}

func (s *shop) count(ctx *fasthttp.RequestCtx) {
	counts := map[string]int64{}
	for _, o := range s.orders {
		counts[o.Status+"Orders"]++
	}
	if s.onCounts != nil {
		s.onCounts(counts)
	}
	answer := map[string]any{}
	for state, n := range counts {
		answer[state] = n
	}
	if s.waiting != nil {
		answer["queueStats"] = map[string]int64{"waiting": s.waiting(), "active": 0}
	}
	reply200(ctx, answer)
}

func (s *shop) list(ctx *fasthttp.RequestCtx, user string) {
	list := []shopOrder{}
	for _, o := range s.orders {
		if o.User == user {
			list = append(list, o)
		}
	}
	if s.onList != nil {
		list = s.onList(user, list)
	}
	slices.SortFunc(list, func(a, b shopOrder) int { return strings.Compare(a.OrderID, b.OrderID) })
	limit, from := ctx.QueryArgs().GetUintOrZero("limit"), ctx.QueryArgs().GetUintOrZero("cursor")
	if end := from + limit; limit > 0 && end < len(list) {
		ctx.Response.Header.Set("Link", fmt.Sprintf(`<%s?limit=%d&cursor=%d>; rel="next"`, ctx.Path(), limit, end))
		list = list[:end]
	}
	reply200(ctx, list[from:])
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
