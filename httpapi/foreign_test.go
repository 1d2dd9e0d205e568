package httpapi_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/httpapi"
)

// A browser sends a page's POST without asking first, if it has no Content-Type or one of a form. Where no token is asked
// for, only its Origin tells it from one of the shop's backend.
func TestForeignPagesChangeNothing(t *testing.T) {
	h := start(t, httpapi.Config{Origin: shop})
	id := "/orders/" + engine.NewOrderID(1, time.UnixMilli(0)).String()
	for _, origin := range []string{
		"https://evil.example", "http://shop.example", "https://shop.example.evil.example", "null", "http://",
		"http://" + h.address + ".evil.example", "http://127.0.0.1",
	} {
		for _, rt := range httpapi.Routes() {
			if rt.Method == "GET" {
				continue
			}
			path := strings.NewReplacer("/orders/{id}", id, "{productId}", "phone").Replace(rt.Path)
			for _, prefix := range httpapi.Prefixes() {
				got := h.admin(rt.Method, prefix+path, "", "Origin", origin)
				require.Equal(t, "Origin", got.requireProblem(t, 403, engine.CodeForbidden)["field"], "%s %s from %s", rt.Method, path, origin)
				require.Empty(t, got.header.Values("Access-Control-Allow-Origin"))
			}
		}
		h.send("POST", "/orders", goodOrder, "Origin", origin).requireProblem(t, 403, engine.CodeForbidden)
	}
	require.Empty(t, h.reserver.reserved())
	require.Empty(t, h.store.settled)
	require.Empty(t, h.store.created)
	require.Empty(t, h.store.changes)
}

func TestOurPagesAndBackendsOrder(t *testing.T) {
	h := start(t, httpapi.Config{Origin: shop})
	for _, headers := range [][]string{
		nil, {"Origin", shop}, {"Origin", "http://" + h.address}, {"Origin", "https://" + h.address}, // TLS ends in front of us
		{"Origin", "https://orders.example", "Host", "ORDERS.example"},
	} {
		conn, r := h.dial()
		head := "Host: " + h.address + "\r\n"
		if len(headers) > 2 {
			head = "Host: " + headers[3] + "\r\n"
		}
		if len(headers) > 0 {
			head += "Origin: " + headers[1] + "\r\n"
		}
		_, err := fmt.Fprintf(conn, "POST /orders HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s", head, len(goodOrder), goodOrder)
		require.NoError(t, err)
		require.Equal(t, 201, h.next(r).status, "%v", headers)
	}
}

// What is refused before it is routed is as readable to the frontend's pages as any other answer.
func TestEarlyRefusalsAreForTheFrontendsPagesToo(t *testing.T) {
	h := start(t, httpapi.Config{Origin: shop, RequestTimeout: waitLimit})
	h.reserver.decide = func(*engine.Reservation) error { panic("the sky is falling") }
	for name, c := range map[string]struct {
		head   string
		status int
	}{
		"too long":            {"Content-Length: 5000\r\n\r\n" + strings.Repeat(" ", 5000), 413},
		"chunked":             {"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		"a handler's panic":   {fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(goodOrder), goodOrder), 500},
		"an ordinary mistake": {"Content-Length: 1\r\n\r\n{", 400},
	} {
		conn, r := h.dial()
		_, err := io.WriteString(conn, "POST /orders HTTP/1.1\r\nHost: x\r\nOrigin: "+shop+"\r\n"+c.head)
		require.NoError(t, err)
		got := h.next(r)
		require.Equal(t, c.status, got.status, name)
		require.Equal(t, []string{shop}, got.header.Values("Access-Control-Allow-Origin"), name)
		require.Equal(t, []string{"Origin"}, got.header.Values("Vary"), name)
	}
}
