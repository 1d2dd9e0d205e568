package load

import (
	"bufio"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

// TestRequestsArriveWhole looks at one as the server sees it.
func TestRequestsArriveWhole(t *testing.T) {
	var method, path, contentType, token, key, body atomic.Value
	target := serve(t, func(ctx *fasthttp.RequestCtx) {
		h := &ctx.Request.Header
		method.Store(string(ctx.Method()))
		path.Store(string(ctx.RequestURI()))
		contentType.Store(string(h.ContentType()))
		token.Store(string(h.Peek("Authorization")))
		key.Store(string(h.Peek("Idempotency-Key")))
		body.Store(string(ctx.PostBody()))
		accept(ctx)
	})
	target, err := ParseTarget(target.Base + "/api/v1/")
	require.NoError(t, err)
	m := maker(t, &target, Orders{Users: "run-", Quantity: 2, Durability: "ledger", Token: "secret"})
	request, _ := m.AppendOrder(nil, nil, Order{Buyer: 12, HoldSeconds: 30, Key: 9})
	var epoch clock
	epoch.start = time.Now()
	c := newConn(&target, time.Minute, &epoch)
	defer c.close()
	answer, err := c.ask(t.Context(), request)
	require.NoError(t, err)
	assert.Equal(t, 201, answer.Status)
	assert.Equal(t, "POST", method.Load())
	assert.Equal(t, "/api/v1/orders", path.Load())
	assert.Equal(t, "application/json", contentType.Load())
	assert.Equal(t, "Bearer secret", token.Load())
	assert.Equal(t, "run-9", key.Load())
	assert.JSONEq(t, `{"productId":"shoe","userId":"run-12","quantity":2,"holdSeconds":30,"durability":"ledger"}`, body.Load().(string))
}

// TestAnswersOfAllKinds: servers and proxies differ in how they end one.
func TestAnswersOfAllKinds(t *testing.T) {
	const body = `{"orderId":"a"}`
	for name, text := range map[string]string{
		"length":  "HTTP/1.1 201 Created\r\ncontent-length: 15\r\n\r\n" + body,
		"chunked": "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nf\r\n" + body + "\r\n0\r\n\r\n",
		"closing": "HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: 15\r\n\r\n" + body,
		"no end":  "HTTP/1.1 201 Created\r\nConnection: close\r\n\r\n" + body,
	} {
		t.Run(name, func(t *testing.T) {
			target := serveRaw(t, text)
			result := run(t, target, Plan{Connections: 1, Visits: 3}, maker(t, &target, Orders{}))
			assert.EqualValues(t, 3, result.Ops[0].Counts.Accepted, "%+v", result.Ops[0].Counts)
		})
	}
}

// serveRaw answers every request with the same bytes; where they say close, it closes.
func serveRaw(t *testing.T, text string) Target {
	t.Helper()
	return serveConns(t, func(c *net.TCPConn) { answerRaw(c, text) })
}

func answerRaw(c net.Conn, text string) {
	defer c.Close()
	in := bufio.NewReader(c)
	var request fasthttp.Request
	for request.Read(in) == nil {
		if _, err := c.Write([]byte(text)); err != nil || strings.Contains(text, "Connection: close") {
			return
		}
	}
}

// TestSlowAnswerIsCutOff, counted as unknown, and the connection is made anew.
func TestSlowAnswerIsCutOff(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	var arrived atomic.Int64
	target := serve(t, func(ctx *fasthttp.RequestCtx) {
		if arrived.Add(1) == 2 {
			<-release
		}
		accept(ctx)
	})
	result := run(t, target, Plan{Connections: 1, Visits: 4, Timeout: 100 * time.Millisecond}, maker(t, &target, Orders{}))
	counts := result.Ops[0].Counts
	assert.EqualValues(t, 3, counts.Accepted)
	assert.Equal(t, map[string]int64{"timeout": 1}, counts.Failed)
	assert.EqualValues(t, 1, counts.Unknown)
	assert.EqualValues(t, 4, arrived.Load(), "nothing is sent twice")
}

// TestNextRequestIsNotCutOff for the one before it, which was answered when it was about to be cut off, or a moment later.
func TestNextRequestIsNotCutOff(t *testing.T) {
	var during func()
	target := serve(t, func(ctx *fasthttp.RequestCtx) {
		during()
		accept(ctx)
	})
	request, _ := maker(t, &target, Orders{}).AppendOrder(nil, nil, Order{Buyer: 1})
	anHourAgo := clock{start: time.Now().Add(-time.Hour)}
	c := newConn(&target, time.Minute, &anHourAgo)
	defer c.close()
	ask := func(while func()) {
		during = while
		answer, err := c.ask(t.Context(), request)
		require.NoError(t, err)
		require.Equal(t, 201, answer.Status)
	}

	since := int64(0)
	ask(func() {
		_, late := c.overdue()
		assert.False(t, late, "it has just begun")
		c.busySince.Store(int64(time.Minute)) // as it was long ago
		since, late = c.overdue()
		assert.True(t, late)
	})
	ask(func() { c.cut(since) })
	ask(func() { c.busySince.Store(cutOff) })
	require.Nil(t, c.net, "its deadline may be past by now")
	ask(func() {})
}

func TestBrokenConnectionIsNotTriedAgain(t *testing.T) {
	var arrived atomic.Int64
	target := serve(t, func(ctx *fasthttp.RequestCtx) {
		if arrived.Add(1) == 2 {
			ctx.HijackSetNoResponse(true)
			ctx.Hijack(func(net.Conn) {})
		}
		accept(ctx)
	})
	result := run(t, target, Plan{Connections: 1, Visits: 4}, maker(t, &target, Orders{}))
	counts := result.Ops[0].Counts
	assert.EqualValues(t, 3, counts.Accepted)
	assert.EqualValues(t, 1, counts.Unknown, "it may have been served")
	assert.EqualValues(t, 4, arrived.Load())
}

func TestServerThatIsNotThere(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	target, err := ParseTarget("http://" + ln.Addr().String())
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	r, err := New(target, Plan{Visits: 1}, maker(t, &target, Orders{}).Script)
	require.NoError(t, err)
	_, err = r.Do(t.Context())
	require.ErrorContains(t, err, "connection refused")
}

// TestServerThatGoesAway: who can't be reached any more has surely not ordered.
func TestServerThatGoesAway(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	target, err := ParseTarget("http://" + ln.Addr().String())
	require.NoError(t, err)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		_ = ln.Close()
		answerRaw(c, "HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: 15\r\n\r\n"+`{"orderId":"a"}`)
	}()
	result := run(t, target, Plan{Connections: 1, Visits: 3}, maker(t, &target, Orders{}))
	counts := result.Ops[0].Counts
	assert.EqualValues(t, 1, counts.Accepted)
	assert.Equal(t, map[string]int64{"connection refused": 2}, counts.Failed)
	assert.Zero(t, counts.Unknown)
}

func TestTargets(t *testing.T) {
	tests := map[string]Target{
		"http://127.0.0.1:3000":    {Base: "http://127.0.0.1:3000", addr: "127.0.0.1:3000", host: "127.0.0.1:3000"},
		"http://shop/":             {Base: "http://shop", addr: "shop:80", host: "shop"},
		"https://shop/api/v1/":     {Base: "https://shop/api/v1", addr: "shop:443", host: "shop", path: "/api/v1", isTLS: true},
		"http://[::1]:3000/api/v1": {Base: "http://[::1]:3000/api/v1", addr: "[::1]:3000", host: "[::1]:3000", path: "/api/v1"},
		"http://[fe80::1%25eth0]:3000/a%25b": {
			Base: "http://[fe80::1]:3000/a%25b", addr: "[fe80::1%eth0]:3000", host: "[fe80::1]:3000", path: "/a%25b",
		},
	}
	for raw, want := range tests {
		t.Run(raw, func(t *testing.T) {
			got, err := ParseTarget(raw)
			require.NoError(t, err)
			assert.Equal(t, want, got)
		})
	}
	for _, wrong := range []string{"", "127.0.0.1:3000", "ftp://shop", "http://", "http://a:b@shop", "http://shop:x", "http://shop/?a=b", "http://shop/?", "http://shop#a"} {
		_, err := ParseTarget(wrong)
		require.ErrorIs(t, err, ErrOptions, wrong)
		require.ErrorContains(t, err, "--target: ", wrong)
		require.ErrorContains(t, err, "http://host:port", wrong)
	}
}
