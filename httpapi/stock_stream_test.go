package httpapi_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/httpapi"
	"flashsale/internal/devstack/devtest"
)

// nextEvent reads until an event of that name, or any, is complete.
func nextEvent(t *testing.T, r *bufio.Reader, name string) string {
	t.Helper()
	var event strings.Builder
	for {
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		event.WriteString(line)
		if line != "\n" {
			continue
		}
		if strings.HasPrefix(event.String(), "event: "+name) {
			return event.String()
		}
		event.Reset()
	}
}

// watchStock opens the stream of a product and waits for its first event.
func (h *harness) watchStock(product string) *bufio.Reader {
	h.t.Helper()
	r := h.openStock(product)
	nextEvent(h.t, r, "stock")
	return r
}

// openStock opens the stream of a product.
func (h *harness) openStock(product string) *bufio.Reader {
	h.t.Helper()
	response, err := (&http.Client{Transport: h.client.Transport, Timeout: time.Minute}).Get("http://" + h.address + "/inventory/" + product + "/stream")
	require.NoError(h.t, err)
	h.t.Cleanup(func() { _ = response.Body.Close() })
	require.Equal(h.t, 200, response.StatusCode)
	return bufio.NewReader(response.Body)
}

// What a buyer is told of a product, by its stock, its terms and the clock of Redis.
func TestAvailability(t *testing.T) {
	const ahead = -10 * time.Minute
	now := time.Now().Add(ahead)
	for state, change := range map[string]func(*engine.Product){
		"on_sale":     func(*engine.Product) {},
		"all_held":    func(p *engine.Product) { p.Stock.Current, p.Stock.Held = 0, 1 },
		"sold_out":    func(p *engine.Product) { p.Stock.Current, p.Stock.Held = 0, 0 },
		"inactive":    func(p *engine.Product) { p.Terms.Active = false },
		"not_started": func(p *engine.Product) { p.Terms.StartsAt = now.Add(5 * time.Minute) },
		"ended":       func(p *engine.Product) { p.Terms.EndsAt = now },
	} {
		h := start(t, httpapi.Config{})
		h.reserver.ahead = ahead
		p := engine.Product{ID: "phone", Terms: engine.Terms{Active: true}, Stock: engine.Stock{Current: 34, Held: 2, Sold: 1, Initial: 37}}
		change(&p)
		h.store.products = []engine.Product{p}
		got := h.send("GET", "/api/v1/inventory/phone/stream", "")
		require.Equal(t, "text/event-stream", got.header.Get("Content-Type"))
		require.Equal(t, "no-store", got.header.Get("Cache-Control"))
		require.Contains(t, got.body, `"state":"`+state+`"`)
		require.Equal(t, state != "not_started", strings.Contains(got.body, `"secondsToStart":0,`), got.body)
	}
}

func TestTheStockStreamTellsChanges(t *testing.T) {
	h := start(t, httpapi.Config{Origin: shop})
	h.store.setProducts(phone())
	r := h.watchStock("phone")
	sold := phone()
	sold.Stock.Current, sold.Stock.Held = 0, 0
	h.store.setProducts(sold)
	require.Contains(t, nextEvent(t, r, "stock"), `"currentStock":0,"state":"sold_out"`)
	require.Contains(t, h.send("GET", "/metrics", "").body, "\nflashsale_stock_stream_clients 1\n")
	head := h.send("HEAD", "/inventory/phone/stream", "", "Origin", shop)
	require.Equal(t, 200, head.status)
	require.Equal(t, shop, h.send("GET", "/inventory/phone/stream", "", "Origin", shop).header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, 404, h.send("HEAD", "/inventory/absent/stream", "").status)
}

// The events are the body as it is, which ends with the connection: what is written past HTTP's own writer must be in no chunk.
func TestTheStockStreamIsNotFramed(t *testing.T) {
	h := start(t, httpapi.Config{})
	h.store.setProducts(phone())
	conn, r := h.dial()
	_, err := io.WriteString(conn, "GET /inventory/phone/stream HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	head, err := textproto.NewReader(r).ReadLine()
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 200 OK", head)
	fields, err := textproto.NewReader(r).ReadMIMEHeader()
	require.NoError(t, err)
	require.Equal(t, "close", fields.Get("Connection"))
	require.Empty(t, fields.Get("Transfer-Encoding"))
	require.Empty(t, fields.Get("Content-Length"))
	for left := range int64(3) {
		event := nextEvent(t, r, "")
		require.Regexp(t, `^event: stock\ndata: \{"productId":"phone".*\}\n\n$`, event)
		p := phone()
		p.Stock.Current = left + 100
		h.store.setProducts(p)
	}
}

// A browser's EventSource that is refused never tries again: who comes while Redis is away waits on an open stream.
func TestTheStockStreamOpensWhileRedisIsAway(t *testing.T) {
	for _, away := range []error{engine.ErrUnavailable, engine.ErrPartitionClosed, context.DeadlineExceeded} {
		h := start(t, httpapi.Config{})
		h.store.setProducts(phone())
		failing(away)(h)
		r, ghost := h.openStock("phone"), h.openStock("ghost")
		require.Contains(t, nextEvent(t, r, "unavailable"), `"detail"`)
		nextEvent(t, ghost, "unavailable")
		failing(nil)(h)
		require.Contains(t, nextEvent(t, r, "stock"), `"productId":"phone"`)
		_, err := io.ReadAll(ghost)
		require.NoError(t, err, "a product that turns out not to be there is no stream")
		devtest.Eventually(t, waitLimit, "the next one to be told", func() bool {
			return h.send("HEAD", "/inventory/ghost/stream", "").status == http.StatusNotFound
		})
	}
}

// fasthttp's write timeout is for answers that end.
func TestTheStockStreamOutlivesTheTimeouts(t *testing.T) {
	const timeout = 50 * time.Millisecond
	h := start(t, httpapi.Config{ReadTimeout: timeout, WriteTimeout: timeout, IdleTimeout: timeout})
	h.store.setProducts(phone())
	r := h.watchStock("phone")
	for left := range int64(3) {
		p := phone()
		p.Stock.Current = left + 100
		h.store.setProducts(p)
		nextEvent(t, r, "stock")
	}
}

func TestStoppingTheServerEndsTheStockStreams(t *testing.T) {
	h := start(t, httpapi.Config{})
	h.store.setProducts(phone())
	r := h.watchStock("phone")
	h.stop()
	devtest.Eventually(t, waitLimit, "the stream to end", func() bool {
		_, err := r.ReadByte()
		return err != nil
	})
	require.NoError(t, <-h.served)
	h.served <- nil
}

// The demo shop is for development: elsewhere there is nothing at its path.
func TestTheDemoShop(t *testing.T) {
	h, production := start(t, httpapi.Config{Demo: true}), start(t, httpapi.Config{})
	for path, mediaType := range map[string]string{
		"/demo": "text/html; charset=utf-8", "/demo/app.js": "text/javascript; charset=utf-8", "/api/v1/demo/app.css": "text/css; charset=utf-8",
	} {
		got := h.send("GET", path, "")
		require.Equal(t, 200, got.status, path)
		require.Equal(t, mediaType, got.header.Get("Content-Type"))
		require.NotRegexp(t, `(?:https?:)?//[a-z]`, got.body, "nothing comes from other hosts")
		require.NotRegexp(t, `<script[^>]*>[^<]|<style|style=|\son[a-z]+=`, got.body)
		production.send("GET", path, "").requireProblem(t, 404, engine.CodeNotFound)
	}
	h.send("GET", "/demo/none.js", "").requireProblem(t, 404, engine.CodeNotFound)
}
