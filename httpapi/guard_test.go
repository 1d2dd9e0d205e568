package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/httpapi"
)

// Behind each head stands a second request; it must never be answered.
func TestTransferEncodingIsRefused(t *testing.T) {
	smuggled := fmt.Sprintf("POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(goodOrder), goodOrder)
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(goodOrder), goodOrder)
	cases := map[string]struct{ head, body string }{
		"chunked":                     {"Transfer-Encoding: chunked", chunked},
		"with a length":               {"Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"},
		"before a length":             {"Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"},
		"identity":                    {"Transfer-Encoding: identity\r\nContent-Length: 0", ""},
		"identity, no length":         {"Transfer-Encoding: identity", ""},
		"other letters":               {"tRANSFER-eNCODING: chunked", chunked},
		"unknown coding":              {"Transfer-Encoding: gzip, chunked", chunked},
		"twice":                       {"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", chunked},
		"kept alive":                  {"Connection: keep-alive\r\nTransfer-Encoding: chunked", chunked},
		"behind a close":              {"Connection: close\r\nTransfer-Encoding: chunked", chunked},
		"expecting to be waved on":    {"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\nContent-Length: 0", ""},
		"bare line feeds":             {"X: y\nTransfer-Encoding: chunked", chunked},
		"empty value":                 {"Transfer-Encoding:\r\nContent-Length: 0", ""},
		"space before the colon":      {"Transfer-Encoding : chunked", chunked},
		"tab before the value":        {"Transfer-Encoding:\tchunked", chunked},
		"two lengths, no coding":      {"Content-Length: 0\r\nContent-Length: 5", "0\r\n\r\n"},
		"a length that is no number":  {"Content-Length: +0", ""},
		"a folded line hides it":      {"X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: -1", ""},
		"a length with a list inside": {"Content-Length: 0, 0", ""},
	}
	for name, c := range cases {
		for _, method := range []string{"POST /orders", "GET /livez", "PUT /inventory/p"} {
			t.Run(name+" "+method, func(t *testing.T) {
				h := start(t, httpapi.Config{})
				conn, r := h.dial()
				_, err := io.WriteString(conn, method+" HTTP/1.1\r\nHost: x\r\n"+c.head+"\r\n\r\n"+c.body+smuggled)
				require.NoError(t, err)
				got := h.next(r)
				if got.status == 100 {
					got = h.next(r)
				}
				got.requireProblem(t, 400, engine.CodeInvalidRequest)
				h.requireClosed(r)
				require.Empty(t, h.reserver.reserved())
			})
		}
	}
}

func TestTransferEncodingIsNamed(t *testing.T) {
	h := start(t, httpapi.Config{})
	for _, coding := range []string{"chunked", "identity", "gzip"} {
		conn, r := h.dial()
		_, err := io.WriteString(conn, "POST /orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "+coding+"\r\n\r\n")
		require.NoError(t, err)
		problem := h.next(r).requireProblem(t, 400, engine.CodeInvalidRequest)
		require.Equal(t, "Transfer-Encoding", problem["field"], coding)
	}
}

// A value that only looks like the header is none.
func TestTransferEncodingInAValue(t *testing.T) {
	h := start(t, httpapi.Config{})
	got := h.send("POST", "/orders", goodOrder, "X-Note", "Transfer-Encoding: chunked", "TE", "trailers", "Connection", "close")
	require.Equal(t, 201, got.status)
}

func TestPipelinedRequestsAreAnswered(t *testing.T) {
	h := start(t, httpapi.Config{})
	conn, r := h.dial()
	one := fmt.Sprintf("POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(goodOrder), goodOrder)
	_, err := io.WriteString(conn, one+one)
	require.NoError(t, err)
	require.Equal(t, 201, h.next(r).status)
	require.Equal(t, 201, h.next(r).status)
}

func TestBodyLimit(t *testing.T) {
	h := start(t, httpapi.Config{})
	padded := func(length int) string { return goodOrder + strings.Repeat(" ", length-len(goodOrder)) }
	require.Equal(t, 201, h.send("POST", "/orders", padded(4096)).status, "the limit itself")
	for _, length := range []int{4097, 10_000, 1 << 20} {
		got := h.send("POST", "/orders", padded(length))
		got.requireProblem(t, 413, "body_too_large")
		require.True(t, got.closes, "%d bytes", length)
	}
	require.Equal(t, 201, h.send("POST", "/orders", goodOrder).status)
	require.Len(t, h.reserver.reserved(), 2)
}

// What is announced but not sent is not waited for longer than a whole request may take.
func TestBodyLimitWithoutBody(t *testing.T) {
	for length, timeout := range map[string]time.Duration{
		"5000": time.Minute, "100000": 50 * time.Millisecond, "99999999999": time.Minute,
	} {
		h := start(t, httpapi.Config{ReadTimeout: timeout})
		conn, r := h.dial()
		_, err := io.WriteString(conn, "POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: "+length+"\r\n\r\n{")
		require.NoError(t, err)
		h.next(r).requireProblem(t, 413, "body_too_large")
		h.requireClosed(r)
	}
}

func TestHeaderLimit(t *testing.T) {
	h := start(t, httpapi.Config{})
	conn, r := h.dial()
	_, err := io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: "+strings.Repeat("x", 20_000)+"\r\n\r\n")
	require.NoError(t, err)
	problem := h.next(r).requireProblem(t, 400, engine.CodeInvalidRequest)
	require.Contains(t, problem["detail"], "head")
	h.requireClosed(r)
}

func TestSlowRequestsAreCutOff(t *testing.T) {
	cases := map[string]string{
		"nothing": "",
		"header":  "POST /orders HTTP/1.1\r\nHost: x\r\nContent-Le",
		"body":    "POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 60\r\n\r\n{\"productId\":",
	}
	for name, sent := range cases {
		t.Run(name, func(t *testing.T) {
			h := start(t, httpapi.Config{ReadTimeout: 50 * time.Millisecond})
			conn, r := h.dial()
			_, err := io.WriteString(conn, sent)
			require.NoError(t, err)
			problem := h.next(r).requireProblem(t, 400, engine.CodeInvalidRequest)
			require.Contains(t, problem["detail"], "in time")
			h.requireClosed(r)
			require.Empty(t, h.reserver.reserved())
		})
	}
}

func TestIdleConnectionIsClosed(t *testing.T) {
	h := start(t, httpapi.Config{IdleTimeout: 50 * time.Millisecond})
	conn, r := h.dial()
	_, err := io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	require.Equal(t, 200, h.next(r).status)
	h.requireClosed(r)
}

func TestNoHTTP(t *testing.T) {
	h := start(t, httpapi.Config{})
	for _, sent := range []string{"hello\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET  HTTP/1.1\r\nHost: x\r\n\r\n", "GET / SPDY/1\r\nHost: x\r\n\r\n"} {
		conn, r := h.dial()
		_, err := io.WriteString(conn, sent)
		require.NoError(t, err)
		h.next(r).requireProblem(t, 400, engine.CodeInvalidRequest)
		h.requireClosed(r)
	}
}

func TestConnectionsPerIP(t *testing.T) {
	h := start(t, httpapi.Config{MaxConnsPerIP: 1})
	conn, r := h.dial()
	_, err := io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	require.Equal(t, 200, h.next(r).status)
	_, second := h.dial()
	_, err = second.ReadByte()
	require.ErrorIs(t, err, io.EOF, "one too many")
	require.NoError(t, conn.Close())
	require.Eventually(t, func() bool { // the server has seen the close
		third, r := h.dial()
		_, _ = io.WriteString(third, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
		answer, _ := r.ReadString('\n')
		return strings.Contains(answer, "200 OK")
	}, waitLimit, time.Millisecond)
}

func TestPanicIsAnsweredAndCounted(t *testing.T) {
	h := start(t, httpapi.Config{})
	h.reserver.decide = func(r *engine.Reservation) error {
		if r.Quantity == 2 {
			panic("the sky is falling")
		}
		accept(r)
		return nil
	}
	got := h.send("POST", "/orders", goodOrder)
	got.requireProblem(t, 500, engine.CodeInternal)
	require.NotContains(t, got.body, "sky")
	require.Contains(t, h.log.String(), "the sky is falling")
	require.Contains(t, h.log.String(), "guard_test.go", "with the stack")
	require.Equal(t, 201, h.send("POST", "/orders", strings.Replace(goodOrder, "2", "1", 1)).status, "the process lives")
	require.Contains(t, h.send("GET", "/metrics", "").body, "\nflashsale_http_panics_total 1\n")
}

// What ends in a panic takes time too, on routes that are not about orders as on those that are.
func TestPanicsAreTimed(t *testing.T) {
	h := start(t, httpapi.Config{})
	h.store.wait = func(context.Context) error { panic("the ground is shaking") }
	id := engine.NewOrderID(0, time.Now())
	h.send("GET", "/orders/"+id.String(), "").requireProblem(t, 500, engine.CodeInternal)
	require.Contains(t, h.send("GET", "/metrics", "").body, `flashsale_http_request_seconds_count{route="GET /orders/{id}"} 1`+"\n")
}

func TestShutdownAnswersRequestsInFlight(t *testing.T) {
	h := start(t, httpapi.Config{})
	entered, release := make(chan struct{}), make(chan struct{})
	h.reserver.decide = func(r *engine.Reservation) error {
		close(entered)
		<-release
		accept(r)
		return nil
	}
	silent, _ := h.dial()
	conn, r := h.dial()
	_, err := fmt.Fprintf(conn, "POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(goodOrder), goodOrder)
	require.NoError(t, err)
	<-entered
	h.stop()
	_, err = silent.Read(make([]byte, 1)) // closed as soon as the server stops
	require.ErrorIs(t, err, io.EOF)
	_, err = net.Dial("tcp", h.address)
	require.Error(t, err, "no new connections")
	select {
	case <-h.served:
		require.Fail(t, "Serve returned with a request in flight")
	default:
	}
	close(release)
	got := h.next(r)
	require.Equal(t, 201, got.status)
	require.True(t, got.closes)
	h.requireClosed(r)
}

// Nobody waits for the rest of a request: it is cut off when the time is up, and that is no failure of the stop.
func TestShutdownCutsOffWhatDidNotArrive(t *testing.T) {
	for name, c := range map[string]struct {
		sent  string
		reply int // that says that the beginning has been read
	}{
		"head": {"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nPOST /orders HTTP/1.1\r\nHost: x\r\nContent-Le", 200},
		"body": {"POST /orders HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 60\r\n\r\n{\"productId\":", 100},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, httpapi.Config{ShutdownTimeout: 50 * time.Millisecond, ReadTimeout: waitLimit})
			conn, r := h.dial()
			_, err := io.WriteString(conn, c.sent)
			require.NoError(t, err)
			require.Equal(t, c.reply, h.next(r).status)
			h.stop()
			stopped := <-h.served
			h.served <- nil // for the clean-up
			require.NoError(t, stopped)
			require.Contains(t, h.next(r).requireProblem(t, 400, engine.CodeInvalidRequest)["detail"], "in time")
			h.requireClosed(r)
			require.Equal(t, 1, strings.Count(h.log.String(), "level=WARN"), h.log.String())
			require.Contains(t, h.log.String(), "connections=1")
			require.Empty(t, h.reserver.reserved())
		})
	}
}

func TestShutdownIsBounded(t *testing.T) {
	h := start(t, httpapi.Config{ShutdownTimeout: 50 * time.Millisecond, RequestTimeout: waitLimit})
	entered, release := make(chan struct{}), make(chan struct{})
	h.store.wait = func(context.Context) error {
		close(entered)
		<-release
		return nil
	}
	conn, r := h.dial()
	_, err := io.WriteString(conn, "GET /inventory HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	<-entered
	h.stop()
	err = <-h.served
	require.ErrorIs(t, err, context.DeadlineExceeded)
	h.served <- nil // for the clean-up
	_, err = r.ReadByte()
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the connection must have been cut off")
	require.Error(t, err)
	close(release)
}
