package load

import (
	"context"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

// serve serves until the test ends.
func serve(t testing.TB, handler fasthttp.RequestHandler) Target {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &fasthttp.Server{Handler: handler, CloseOnShutdown: true}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.ShutdownWithContext(ctx)
		require.NoError(t, <-served)
	})
	target, err := ParseTarget("http://" + ln.Addr().String())
	require.NoError(t, err)
	return target
}

func accept(ctx *fasthttp.RequestCtx) {
	ctx.SetStatusCode(201)
	ctx.SetBodyString(`{"orderId":"0197f3a2-5c1e-7001-9a4b-3f6d2c8e1b70","status":"confirmed"}`)
}

func maker(t testing.TB, target *Target, o Orders) *OrderMaker {
	t.Helper()
	if o.Products == nil {
		o.Products = []string{"shoe"}
	}
	m, err := NewOrderMaker(target, &o)
	require.NoError(t, err)
	return m
}

func run(t *testing.T, target Target, p Plan, m *OrderMaker) Result {
	t.Helper()
	r, err := New(target, p, m.Script)
	require.NoError(t, err)
	result, err := r.Do(t.Context())
	require.NoError(t, err)
	return result
}

// errRefused is what the system says where nobody listens.
var errRefused = &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}

// serveConns hands each connection to handle, which closes it.
func serveConns(t *testing.T, handle func(c *net.TCPConn)) Target {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go handle(c.(*net.TCPConn))
		}
	}()
	target, err := ParseTarget("http://" + ln.Addr().String())
	require.NoError(t, err)
	return target
}
