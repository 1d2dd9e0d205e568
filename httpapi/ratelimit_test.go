package httpapi_test

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/httpapi"
)

// handClock moves only when it is told to.
type handClock struct {
	start time.Time
	moved atomic.Int64
}

func newHandClock() *handClock { return &handClock{start: time.Now()} }

func (c *handClock) now() time.Time           { return c.start.Add(time.Duration(c.moved.Load())) }
func (c *handClock) advance(by time.Duration) { c.moved.Add(int64(by)) }

var (
	oneAnHour = httpapi.Limit{Requests: 1, Per: time.Hour, Burst: 1}
	loopback  = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
)

func requireLimited(t *testing.T, got reply, state, retryAfter string) {
	t.Helper()
	problem := got.requireProblem(t, 429, engine.CodeRateLimited)
	require.Contains(t, problem["detail"], "Retry-After")
	require.Equal(t, state, got.header.Get("RateLimit"))
	require.Equal(t, retryAfter, got.header.Get("Retry-After"))
}

func TestAddressLimit(t *testing.T) {
	clock := newHandClock()
	h := start(t, httpapi.Config{AddressLimit: httpapi.Limit{Requests: 1, Per: 2500 * time.Millisecond, Burst: 2}, Clock: clock.now})
	for _, left := range []string{"1", "0"} {
		got := h.send("POST", "/orders", goodOrder)
		require.Equal(t, 201, got.status)
		require.Equal(t, []string{`"address";r=` + left + `;t=3`}, got.header.Values("RateLimit"))
		require.Equal(t, []string{`"address";q=2;w=5`}, got.header.Values("RateLimit-Policy"))
		require.Empty(t, got.header.Values("Retry-After"))
	}
	got := h.send("POST", "/orders", goodOrder)
	requireLimited(t, got, `"address";r=0;t=3`, "3")
	require.Equal(t, []string{`"address";q=2;w=5`}, got.header.Values("RateLimit-Policy"))
	require.False(t, got.closes, "the connection goes on")
	clock.advance(2 * time.Second)
	requireLimited(t, h.send("POST", "/orders", goodOrder), `"address";r=0;t=1`, "1")
	require.Len(t, h.reserver.reserved(), 2, "what is refused reaches nobody")
	clock.advance(500 * time.Millisecond)
	require.Equal(t, 201, h.send("POST", "/orders", goodOrder).status, "it was told the truth")
	require.Contains(t, h.send("GET", "/metrics", "").body, "\nflashsale_rate_limited_total{kind=\"address\"} 2\n")
}

// Raw targets: a client library would tidy them up.
func TestWhichRequestsCountAgainstTheAddress(t *testing.T) {
	h := start(t, httpapi.Config{AddressLimit: oneAnHour, Clock: newHandClock().now})
	ask := func(target string) reply {
		conn, r := h.dial()
		_, err := io.WriteString(conn, target+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n"+
			"Authorization: Bearer "+adminToken+"\r\n\r\n")
		require.NoError(t, err)
		return h.next(r)
	}
	for _, target := range []string{
		"GET /livez", "GET /readyz", "GET /monitoring/health", "GET /metrics", "GET /api/v1/livez", "GET /api/v1/readyz",
		"GET /api/v1/monitoring/health", "GET /api/v1/metrics", "OPTIONS /orders", "OPTIONS /api/v1/inventory",
	} {
		for range 3 {
			got := ask(target)
			require.Contains(t, []int{200, 204}, got.status, target)
			require.Empty(t, got.header.Values("RateLimit"), target)
		}
	}
	require.Equal(t, 404, ask("GET /nowhere").status, "the one there is")
	for _, target := range []string{
		"GET /", "GET /api/v1", "POST /orders", "POST /api/v1/orders", "GET /orders/x", "GET /inventory", "GET /inventory/p",
		"POST /inventory", "PUT /inventory/p", "GET /dashboard", "GET /dashboard/app.js", "GET /nowhere", "DELETE /orders",
		"BREW /orders", "GET /inventory/../livez", "GET //livez", "GET /%6civez", "GET /livez/", "GET /LIVEZ", "GET /inventory?/livez",
		"GET /inventory/..%2f../metrics", "GET /./livez", "GET http://x/inventory",
	} {
		requireLimited(t, ask(target), `"address";r=0;t=3600`, "3600")
	}
	require.Empty(t, h.store.created)
	require.Empty(t, h.store.changes)
	require.Empty(t, h.reserver.reserved())
}

func TestUserLimit(t *testing.T) {
	clock := newHandClock()
	h := start(t, httpapi.Config{UserLimit: httpapi.Limit{Requests: 6, Per: time.Minute, Burst: 2}, Clock: clock.now})
	order := func(user string) reply {
		return h.send("POST", "/api/v1/orders", `{"productId":"phone","userId":"`+user+`","quantity":1}`)
	}
	for range 5 {
		got := h.send("POST", "/orders", `{"productId":"phone","userId":"ann","quantity":0}`)
		got.requireProblem(t, 400, engine.CodeInvalidRequest)
		require.Empty(t, got.header.Values("RateLimit"), "it is nobody's order yet")
		require.Empty(t, h.send("GET", "/inventory", "").header.Values("RateLimit"))
	}
	for _, left := range []string{"1", "0"} {
		got := order("ann")
		require.Equal(t, 201, got.status)
		require.Equal(t, `"user";r=`+left+`;t=10`, got.header.Get("RateLimit"))
		require.Equal(t, `"user";q=2;w=20`, got.header.Get("RateLimit-Policy"))
	}
	requireLimited(t, order("ann"), `"user";r=0;t=10`, "10")
	require.Equal(t, 201, order("bob").status, "another user")
	require.Equal(t, 201, order("Ann").status, "another user, too")
	require.Len(t, h.reserver.reserved(), 4)
	clock.advance(10 * time.Second)
	require.Equal(t, 201, order("ann").status)
	requireLimited(t, order("ann"), `"user";r=0;t=10`, "10")

	metrics := h.send("GET", "/metrics", "").body
	require.Contains(t, metrics, "\nflashsale_rate_limited_total{kind=\"user\"} 2\n")
	require.Contains(t, metrics, "\nflashsale_rate_limited_total{kind=\"address\"} 0\n")
	require.Contains(t, metrics, "\nflashsale_orders_total{outcome=\"rate_limited\"} 2\n")
}

func TestBothLimits(t *testing.T) {
	h := start(t, httpapi.Config{AddressLimit: httpapi.Limit{Requests: 5}, UserLimit: oneAnHour, Clock: newHandClock().now})
	got := h.send("POST", "/orders", goodOrder)
	require.Equal(t, 201, got.status)
	require.Equal(t, []string{`"address";r=4;t=1, "user";r=0;t=3600`}, got.header.Values("RateLimit"))
	require.Equal(t, []string{`"address";q=5;w=1, "user";q=1;w=3600`}, got.header.Values("RateLimit-Policy"))
	requireLimited(t, h.send("POST", "/orders", goodOrder), `"address";r=3;t=1, "user";r=0;t=3600`, "3600")
	require.Equal(t, `"address";r=2;t=1`, h.send("GET", "/inventory", "").header.Get("RateLimit"))
}

func TestWithoutLimitsNothingIsSaidOfThem(t *testing.T) {
	h := start(t, httpapi.Config{})
	for range 200 {
		got := h.send("POST", "/orders", goodOrder, "X-Forwarded-For", "203.0.113.9")
		require.Equal(t, 201, got.status)
		require.Empty(t, got.header.Values("RateLimit"))
		require.Empty(t, got.header.Values("RateLimit-Policy"))
	}
}

func TestNobodyEscapesTheLimitByAHeader(t *testing.T) {
	h := start(t, httpapi.Config{AddressLimit: oneAnHour, Clock: newHandClock().now})
	require.Equal(t, 201, h.send("POST", "/orders", goodOrder).status)
	for n, header := range []string{"X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP"} {
		value := fmt.Sprintf("203.0.113.%d", n)
		requireLimited(t, h.send("POST", "/orders", goodOrder, header, value), `"address";r=0;t=3600`, "3600")
	}
}

func TestAddressLimitBehindAProxy(t *testing.T) {
	h := start(t, httpapi.Config{AddressLimit: oneAnHour, TrustedProxies: loopback, Clock: newHandClock().now})
	ask := func(forwarded ...string) int {
		conn, r := h.dial()
		head := "GET /inventory HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
		for _, line := range forwarded {
			head += "x-forwarded-for: " + line + "\r\n"
		}
		_, err := io.WriteString(conn, head+"\r\n")
		require.NoError(t, err)
		return h.next(r).status
	}
	for _, step := range []struct {
		name      string
		forwarded []string
		status    int
	}{
		{"a client", []string{"203.0.113.1"}, 200},
		{"the same", []string{"203.0.113.1"}, 429},
		{"another", []string{"203.0.113.2"}, 200},
		{"the first, lying about itself", []string{"203.0.113.99, 203.0.113.1"}, 429},
		{"the first, lying in a line of its own", []string{"203.0.113.98", "203.0.113.1"}, 429},
		{"the first, by way of two proxies", []string{"203.0.113.97, 203.0.113.1", "127.0.0.5"}, 429},
		{"who was only named is not charged", []string{"203.0.113.99"}, 200},
		{"IPv6", []string{"2001:db8:1:2::1"}, 200},
		{"the same host with another address", []string{"2001:db8:1:2:3:4:5:6"}, 429},
		{"its neighbour", []string{"2001:db8:1:3::1"}, 200},
		{"garbage is the proxy's", []string{"garbage"}, 200},
		{"so is no line at all", nil, 429},
		{"and other garbage", []string{"203.0.113.50, unknown"}, 429},
	} {
		require.Equal(t, step.status, ask(step.forwarded...), step.name)
	}
}

func TestRefusedRequestsKeepTheirFraming(t *testing.T) {
	h := start(t, httpapi.Config{AddressLimit: oneAnHour, Clock: newHandClock().now})
	conn, r := h.dial()
	one := fmt.Sprintf("POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(goodOrder), goodOrder)
	_, err := io.WriteString(conn, strings.Repeat(one, 3)+"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	require.Equal(t, 201, h.next(r).status)
	requireLimited(t, h.next(r), `"address";r=0;t=3600`, "3600")
	requireLimited(t, h.next(r), `"address";r=0;t=3600`, "3600")
	live := h.next(r)
	require.Equal(t, 200, live.status)
	require.Empty(t, live.header.Values("Retry-After"), "nothing is left of the answer before")
	require.Len(t, h.reserver.reserved(), 1)
}

func TestAPageMayReadThatItIsLimited(t *testing.T) {
	h := start(t, httpapi.Config{AddressLimit: oneAnHour, Origin: shop, Clock: newHandClock().now})
	h.send("POST", "/orders", goodOrder, "Origin", shop)
	got := h.send("POST", "/orders", goodOrder, "Origin", shop)
	requireLimited(t, got, `"address";r=0;t=3600`, "3600")
	require.Equal(t, shop, got.header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, 204, h.send("OPTIONS", "/orders", "", "Origin", shop).status, "a refused preflight would hide the reason")
}
