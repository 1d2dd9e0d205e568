package httpapi_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/httpapi"
)

// ordersOf is a list of n orders of ann, newest first.
func ordersOf(n int) []engine.OrderView {
	var orders []engine.OrderView
	for i := range n {
		view := engine.OrderView{Durable: true, ProductName: "Lamp", PriceCents: 1950}
		view.ID, view.Product, view.User = engine.NewOrderID(0, time.Now()), "lamp", "ann"
		view.Quantity, view.Version, view.Status = 1, 1, engine.StatusConfirmed
		view.CreatedAtMs = 1_700_000_000_000 - int64(i)
		view.UpdatedAtMs = view.CreatedAtMs
		orders = append(orders, view)
	}
	return orders
}

func listed(t *testing.T, r reply) (ids []string) {
	t.Helper()
	require.Equal(t, 200, r.status, r.body)
	var orders []struct{ OrderID string }
	require.NoError(t, json.Unmarshal([]byte(r.body), &orders))
	for _, o := range orders {
		ids = append(ids, o.OrderID)
	}
	return ids
}

func TestTheOrdersOfAUserAreShownAsEachAloneIs(t *testing.T) {
	h := start(t, httpapi.Config{})
	h.store.page.Orders = ordersOf(2)
	h.store.page.Orders[1].Status, h.store.page.Orders[1].Reason = engine.StatusFailed, "no stock"
	h.store.orders = map[engine.OrderID]engine.OrderView{}
	var alone []string
	for _, o := range h.store.page.Orders {
		h.store.orders[o.ID] = o
		alone = append(alone, h.send("GET", "/orders/"+o.ID.String(), "").body)
	}
	for _, prefix := range []string{"", "/api/v1"} {
		got := h.send("GET", prefix+"/orders/user/ann", "")
		require.Equal(t, 200, got.status)
		require.Equal(t, "["+strings.Join(alone, ",")+"]", got.body)
		require.Empty(t, got.header.Get("Link"), "there is no next page")
		require.NotContains(t, got.header, "Ledger-Lag-Ms")
	}
	require.Equal(t, askedPage{"ann", engine.OrderPlace{}, 51}, h.store.asked[0])
	h.store.page.Orders = nil
	require.Equal(t, "[]", h.send("GET", "/orders/user/a+b@c.d", "").body, "nobody has ordered nothing wrongly")
}

func TestTheOrdersOfAUserArePaged(t *testing.T) {
	h := start(t, httpapi.Config{})
	h.store.page.Orders = ordersOf(5)
	var want, got []string
	for _, o := range h.store.page.Orders {
		want = append(want, o.ID.String())
	}
	path, pages := "/api/v1/orders/user/ann?limit=2", 0
	for ; path != ""; pages++ {
		page := h.send("GET", path, "")
		got = append(got, listed(t, page)...)
		path = ""
		if link := nextLink.FindStringSubmatch(page.header.Get("Link")); link != nil {
			path = link[1]
		}
	}
	require.Equal(t, want, got)
	require.Equal(t, 3, pages)
	second := h.store.page.Orders[1]
	require.Equal(t, engine.OrderPlace{CreatedAtMs: second.CreatedAtMs, ID: second.ID}, h.store.asked[1].after)
}

func TestAListThatMayLackSomethingSaysSo(t *testing.T) {
	h := start(t, httpapi.Config{})
	h.store.page = engine.OrderPage{Orders: ordersOf(1), LagMs: 1234}
	got := h.send("GET", "/orders/user/ann", "")
	require.Len(t, listed(t, got), 1)
	require.Equal(t, "1234", got.header.Get("Ledger-Lag-Ms"))
}

func TestTheOrdersOfAUserRefuseBadInput(t *testing.T) {
	cursor := func(bytes string) string { return base64.RawURLEncoding.EncodeToString([]byte(bytes)) }
	late := "\x00\x01" + strings.Repeat("\x00", 22)
	cases := map[string]struct{ path, field string }{
		"limit 0":          {"ann?limit=0", "limit"},
		"limit 201":        {"ann?limit=201", "limit"},
		"limit word":       {"ann?limit=all", "limit"},
		"cursor no base64": {"ann?cursor=%21", "cursor"},
		"cursor empty":     {"ann?cursor=", "cursor"},
		"cursor short":     {"ann?cursor=" + cursor("lamp"), "cursor"},
		"cursor long":      {"ann?cursor=" + cursor(strings.Repeat("x", 25)), "cursor"},
		"cursor negative":  {"ann?cursor=" + cursor(strings.Repeat("\xff", 24)), "cursor"},
		"cursor too late":  {"ann?cursor=" + cursor(late), "cursor"},
		"user with space":  {"a%20b", "userId"},
		"user with brace":  {"%7Bp00%7D", "userId"},
		"user too long":    {strings.Repeat("u", 129), "userId"},
	}
	h := start(t, httpapi.Config{})
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			problem := h.send("GET", "/orders/user/"+c.path, "").requireProblem(t, 400, engine.CodeInvalidRequest)
			require.Equal(t, c.field, problem["field"])
		})
	}
	require.Empty(t, h.store.asked)
}

func TestAJobTellsHowFarItIs(t *testing.T) {
	h := start(t, httpapi.Config{})
	view := ordersOf(1)[0]
	failed := view
	failed.Reason = `the ledger said "no"`
	const decided = `,"processedOn":"2023-11-14T22:13:20.000Z"`
	cases := map[engine.JobStatus]struct {
		job  engine.Job
		want string
	}{
		engine.JobWaiting: {
			engine.Job{OrderView: view, Position: 17},
			`"progress":0,"queuePosition":17` + decided + `,"finishedOn":null,"failedReason":null`,
		},
		engine.JobActive: {
			engine.Job{OrderView: view, Position: 1},
			`"progress":50,"queuePosition":1` + decided + `,"finishedOn":null,"failedReason":null`,
		},
		engine.JobCompleted: {
			engine.Job{OrderView: view, RecordedAtMs: 1_700_000_000_123},
			`"progress":100,"queuePosition":0` + decided + `,"finishedOn":"2023-11-14T22:13:20.123Z","failedReason":null`,
		},
		engine.JobFailed: {
			engine.Job{OrderView: failed, RecordedAtMs: 1_700_000_000_123},
			`"progress":100,"queuePosition":0` + decided + `,"finishedOn":"2023-11-14T22:13:20.123Z","failedReason":"the ledger said \"no\""`,
		},
	}
	for state, c := range cases {
		c.job.State = state
		h.store.jobs = map[engine.OrderID]engine.Job{view.ID: c.job}
		got := h.send("GET", "/orders/queue/"+view.ID.String(), "")
		require.Equal(t, 200, got.status)
		require.Equal(t, fmt.Sprintf(`{"jobId":%q,"status":%q,%s}`, view.ID, state, c.want), got.body)
	}
	for _, no := range []string{"x", engine.NewOrderID(1, time.Now()).String()} {
		h.send("GET", "/orders/queue/"+no, "").requireProblem(t, 404, engine.CodeNotFound)
	}
}

func TestOrderMetricsAreForAdmins(t *testing.T) {
	h := start(t, httpapi.Config{})
	h.store.counts = engine.OrderCounts{Pending: 1, Confirmed: 20, Cancelled: 300, Expired: 4000, Failed: 50000, Waiting: 6, Active: 7}
	h.send("GET", "/orders/admin/metrics", "").requireProblem(t, 401, engine.CodeUnauthorized)
	got := h.admin("GET", "/api/v1/orders/admin/metrics", "")
	require.Equal(t, 200, got.status)
	require.Equal(t, `{"totalOrders":54321,"confirmedOrders":20,"failedOrders":50000,"pendingOrders":1,"cancelledOrders":300,`+
		`"expiredOrders":4000,"queueStats":{"waiting":6,"active":7,"completed":4321,"failed":50000}}`, got.body)
}

func TestInventoryMetrics(t *testing.T) {
	cases := map[string]struct {
		totals engine.StockTotals
		want   string
	}{
		"no products": {engine.StockTotals{}, `0,"outOfStockProducts":0,"lowStockProducts":0,"totalInitialStock":0,"totalCurrentStock":0,"stockUtilization":0`},
		"a third": {
			engine.StockTotals{Products: 5, OutOfStock: 2, LowStock: 1, Initial: 300, Current: 200},
			`5,"outOfStockProducts":2,"lowStockProducts":1,"totalInitialStock":300,"totalCurrentStock":200,"stockUtilization":0.3333`,
		},
		"what floats can't": {
			engine.StockTotals{Products: 1, Initial: 100, Current: 71},
			`1,"outOfStockProducts":0,"lowStockProducts":0,"totalInitialStock":100,"totalCurrentStock":71,"stockUtilization":0.29`,
		},
		"nearly all": {
			engine.StockTotals{Products: 1, Initial: 1_000_000, Current: 1},
			`1,"outOfStockProducts":0,"lowStockProducts":0,"totalInitialStock":1000000,"totalCurrentStock":1,"stockUtilization":0.9999`,
		},
		"all": {
			engine.StockTotals{Products: 1, OutOfStock: 1, Initial: 7},
			`1,"outOfStockProducts":1,"lowStockProducts":0,"totalInitialStock":7,"totalCurrentStock":0,"stockUtilization":1`,
		},
	}
	h := start(t, httpapi.Config{Clock: strides()})
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h.store.totals = c.totals
			got := h.send("GET", "/inventory/metrics", "")
			require.Equal(t, 200, got.status)
			require.Equal(t, `{"totalProducts":`+c.want+`}`, got.body)
		})
	}
}

func TestReadsSayThatTheLedgerIsAway(t *testing.T) {
	h := start(t, httpapi.Config{})
	id := engine.NewOrderID(0, time.Now())
	h.store.jobs = map[engine.OrderID]engine.Job{id: {}}
	h.store.err = &engine.Error{Code: engine.CodeUnavailable, Detail: "the ledger does not answer right now", RetryAfter: time.Second}
	for _, path := range []string{"/orders/user/ann", "/orders/queue/" + id.String(), "/orders/admin/metrics", "/inventory/metrics"} {
		h.admin("GET", path, "").requireProblem(t, 503, engine.CodeUnavailable)
	}
}

// Whoever builds the path from a mail address encodes the @.
func TestPathsMayBePercentEncoded(t *testing.T) {
	h := start(t, httpapi.Config{})
	for _, path := range []string{"/orders/user/ann%40shop.example", "/orders/user/ann@shop.example", "/api/v1/orders/user/%61nn%40shop%2Eexample"} {
		require.Equal(t, 200, h.send("GET", path, "").status, path)
		require.Equal(t, "ann@shop.example", h.store.asked[len(h.store.asked)-1].user, path)
	}
	for _, bad := range []string{"/orders/user/ann%2fbob", "/orders/user/ann%00", "/orders/user/ann%20bob"} {
		require.Contains(t, []int{400, 404}, h.send("GET", bad, "").status, bad)
	}
	require.Len(t, h.store.asked, 3)
}

// Counting reads every product, and anybody may ask: the sums are counted once a second.
func TestStockSumsAreCountedOnceASecond(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	h := start(t, httpapi.Config{Clock: func() time.Time { return now }})
	h.store.totals.Products = 1
	require.Contains(t, h.send("GET", "/inventory/metrics", "").body, `"totalProducts":1,`)
	h.store.totals.Products = 2
	now = now.Add(time.Second - 1)
	require.Contains(t, h.send("GET", "/inventory/metrics", "").body, `"totalProducts":1,`)
	now = now.Add(1)
	require.Contains(t, h.send("GET", "/inventory/metrics", "").body, `"totalProducts":2,`)
}
