package httpapi_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/httpapi"
	"flashsale/httpapi/auth"
	"flashsale/internal/devstack/devtest"
)

// webSocket are the headers that ask for a WebSocket, with more of them.
func webSocket(more ...string) []string {
	return append([]string{
		"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAECAwQFBgcICQoLDA0ODw==",
	}, more...)
}

// offering carries a token as a page does.
func offering(token string) string {
	return "flashsale, flashsale.bearer." + base64.RawURLEncoding.EncodeToString([]byte(token))
}

// watch opens the stream, all of which must be over soon.
func (h *harness) watch(path string, header http.Header) *websocket.Conn {
	h.t.Helper()
	socket, response, err := websocket.DefaultDialer.Dial("ws://"+h.address+path, header)
	require.NoError(h.t, err)
	_ = response.Body.Close()
	h.t.Cleanup(func() { _ = socket.Close() })
	require.NoError(h.t, socket.SetReadDeadline(time.Now().Add(waitLimit)))
	return socket
}

// told asks for an event and returns the data of what comes under a name.
func (h *harness) told(socket *websocket.Conn, ask, name string) map[string]any {
	h.t.Helper()
	require.NoError(h.t, socket.WriteJSON(map[string]string{"event": ask}))
	for {
		var m struct {
			Event string
			Data  map[string]any
		}
		require.NoError(h.t, socket.ReadJSON(&m))
		if m.Event == name {
			return m.Data
		}
	}
}

// The stream tells what the routes of the same figures do.
func TestTheStreamTellsTheSameFigures(t *testing.T) {
	h := start(t, httpapi.Config{})
	h.store.products = []engine.Product{phone()}
	h.store.counts = engine.OrderCounts{Pending: 1, Confirmed: 20, Waiting: 6, Active: 7}
	h.send("POST", "/orders", goodOrder)
	for _, prefix := range httpapi.Prefixes() {
		socket := h.watch(prefix+"/monitoring/stream", nil)
		require.Equal(t, true, h.told(socket, "subscribe-metrics", "subscribe-metrics")["subscribed"])
		update := h.told(socket, "unsubscribe-metrics", "metrics-update")
		byRoute := h.send("GET", "/monitoring/metrics", "").json(t)
		for name := range byRoute {
			require.Contains(t, update, name)
		}
		require.Len(t, update, len(byRoute))
		require.EqualValues(t, 1, update["successfulOrders"])
		require.Equal(t, byRoute["inventoryLevels"], update["inventoryLevels"])

		require.Equal(t, h.admin("GET", "/orders/admin/metrics", "").json(t), h.told(socket, "fetch-total-orders", "fetch-total-orders"))
		stock := h.told(socket, "fetch-inventory-updates", "fetch-inventory-updates")
		require.Equal(t, true, stock["complete"])
		require.Equal(t, []any{h.send("GET", "/inventory/phone", "").json(t)}, stock["products"])
		require.Equal(t, h.send("GET", "/inventory/metrics", "").json(t), h.told(socket, "fetch-inventory-metrics", "fetch-inventory-metrics"))
		require.Equal(t, "ok", h.told(socket, "fetch-health", "fetch-health")["status"])
		require.EqualValues(t, 1, h.told(socket, "get-benchmark-report", "get-benchmark-report")["acceptedRequests"])
	}
}

func TestTheStreamSaysWhatTheStoresDoNot(t *testing.T) {
	h := start(t, httpapi.Config{})
	socket := h.watch("/monitoring/stream", nil)
	h.store.err = engine.ErrUnavailable
	refused := h.told(socket, "fetch-total-orders", "error")
	require.Equal(t, "unavailable", refused["code"])
	require.Equal(t, "fetch-total-orders", refused["event"])
	h.store.err = errOurFault
	require.NotContains(t, h.told(socket, "fetch-inventory-updates", "error")["detail"], errOurFault.Error(), "what is wrong here is for the log")
	require.Contains(t, h.log.String(), errOurFault.Error())
	require.Nil(t, h.told(socket, "subscribe-metrics", "metrics-update")["inventoryLevels"])
}

// Browsers let any page begin a WebSocket: the server has to look where it comes from.
func TestWhichPagesMayWatch(t *testing.T) {
	h := start(t, httpapi.Config{Origin: shop})
	for origin, status := range map[string]int{
		shop: 101, "http://" + h.address: 101, "": 101,
		"https://evil.example": 403, "http://shop.example": 403, "https://shop.example.evil.example": 403, "null": 403, "http://": 403,
		"http://localhost": 403, "http://127.0.0.1": 403, "http://" + h.address + ".evil.example": 403,
	} {
		headers := webSocket()
		if origin != "" {
			headers = append(headers, "Origin", origin)
		}
		got := h.send("GET", "/monitoring/stream", "", headers...)
		require.Equal(t, status, got.status, "%q", origin)
		if status != 101 {
			require.Equal(t, "Origin", got.requireProblem(t, 403, engine.CodeForbidden)["field"])
		}
	}
}

func TestOnlyAWebSocketMayBeAskedFor(t *testing.T) {
	h := start(t, httpapi.Config{})
	good := webSocket()
	for name, headers := range map[string][]string{
		"nothing": nil, "no upgrade": good[4:], "another protocol": append(webSocket(), "Upgrade", "h2c"),
		"another version": append(webSocket(), "Sec-WebSocket-Version", "8"), "no version": append(webSocket(), "Sec-WebSocket-Version", ""),
		"a short key": append(webSocket(), "Sec-WebSocket-Key", "AAEC"), "no key": good[:6],
	} {
		h.send("GET", "/monitoring/stream", "", headers...).requireProblem(t, 400, engine.CodeInvalidRequest)
		require.Equal(t, 400, h.send("HEAD", "/monitoring/stream", "", headers...).status, name)
	}
	require.Equal(t, 400, h.send("HEAD", "/monitoring/stream", "", good...).status)
}

// A page shows its token by a subprotocol. It is never chosen, and never logged.
func TestTheStreamAsksForAToken(t *testing.T) {
	come, keys := newBearers(t, "ann buyer ann", "ops admin", "watch monitor")
	h := start(t, httpapi.Config{Tokens: keys})
	keyOf := func(who string) string { return strings.TrimPrefix(come[who][1], "Bearer ") }
	for name, c := range map[string]struct {
		headers []string
		status  int
	}{
		"no token":                {nil, 401},
		"only the protocol":       {[]string{"Sec-WebSocket-Protocol", "flashsale"}, 401},
		"a monitor's header":      {come["watch"], 101},
		"a monitor's protocol":    {[]string{"Sec-WebSocket-Protocol", offering(keyOf("watch"))}, 101},
		"an admin's protocol":     {[]string{"Sec-WebSocket-Protocol", offering(keyOf("ops"))}, 101},
		"the admin token":         {[]string{"Sec-WebSocket-Protocol", offering(adminToken)}, 101},
		"a buyer's protocol":      {[]string{"Sec-WebSocket-Protocol", offering(keyOf("ann"))}, 403},
		"a key that was made up":  {[]string{"Sec-WebSocket-Protocol", offering(auth.NewKey())}, 401},
		"a token that is no text": {[]string{"Sec-WebSocket-Protocol", "flashsale, flashsale.bearer.!"}, 401},
		"an empty token":          {[]string{"Sec-WebSocket-Protocol", offering("")}, 401},
	} {
		got := h.send("GET", "/monitoring/stream", "", append(webSocket(), c.headers...)...)
		require.Equal(t, c.status, got.status, name)
		if chosen := got.header.Get("Sec-WebSocket-Protocol"); c.status == 101 && strings.Contains(name, "protocol") {
			require.Equal(t, "flashsale", chosen)
		}
	}
	elsewhere := h.send("GET", "/monitoring/metrics", "", "Sec-WebSocket-Protocol", offering(keyOf("watch")))
	require.Equal(t, 401, elsewhere.status, "the other routes read no token there")
	for _, who := range []string{"ann", "ops", "watch"} {
		require.NotContains(t, h.log.String(), keyOf(who))
		require.NotContains(t, h.log.String(), base64.RawURLEncoding.EncodeToString([]byte(keyOf(who))))
	}
}

// tokenUntil lets one token in as long as it is told to.
type tokenUntil struct{ ended chan struct{} }

func (v tokenUntil) Verify(string) (auth.Identity, error) {
	select {
	case <-v.ended:
		return auth.Identity{}, jwt.ErrTokenExpired
	default:
		return auth.Identity{Name: "jwt:ann", Scopes: auth.Monitor}, nil
	}
}

func TestTheStreamEndsWithItsToken(t *testing.T) {
	until := tokenUntil{make(chan struct{})}
	h := start(t, httpapi.Config{Tokens: until, Streams: &httpapi.StreamLimits{Ping: 10 * time.Millisecond}})
	socket := h.watch("/monitoring/stream", http.Header{"Authorization": {"Bearer x"}})
	h.told(socket, "subscribe-metrics", "metrics-update")
	close(until.ended)
	requireCloses(t, socket, websocket.ClosePolicyViolation)
}

// tokenOf100ms lets everybody in for a moment, and knows until when.
type tokenOf100ms struct{}

func (tokenOf100ms) Verify(string) (auth.Identity, error) {
	return auth.Identity{Name: "jwt:ann", Scopes: auth.Monitor, Until: time.Now().Add(100 * time.Millisecond)}, nil
}

// The next ping is far away then.
func TestTheStreamEndsWhenItsTokenDoes(t *testing.T) {
	h := start(t, httpapi.Config{Tokens: tokenOf100ms{}})
	socket := h.watch("/monitoring/stream", http.Header{"Authorization": {"Bearer x"}})
	h.told(socket, "subscribe-metrics", "metrics-update")
	requireCloses(t, socket, websocket.ClosePolicyViolation)
	require.Contains(t, h.metricsText(), "\nflashsale_stream_dropped_total{reason=\"expired\"} 1\n")
}

// metricsText is what /metrics would show.
func (h *harness) metricsText() string {
	var text strings.Builder
	h.metrics.WritePrometheus(&text)
	return text.String()
}

func requireCloses(t *testing.T, socket *websocket.Conn, code int) {
	t.Helper()
	for {
		if _, _, err := socket.ReadMessage(); err != nil {
			require.True(t, websocket.IsCloseError(err, code), "%v", err)
			return
		}
	}
}

// fasthttp's shutdown knows nothing of WebSockets: the server itself must not return before they are closed.
func TestStoppingTheServerClosesTheStreams(t *testing.T) {
	h := start(t, httpapi.Config{})
	first, second := h.watch("/monitoring/stream", nil), h.watch("/api/v1/monitoring/stream", nil)
	h.told(first, "subscribe-metrics", "metrics-update")
	devtest.Eventually(t, waitLimit, "both to be counted, which is after they were answered", func() bool {
		return strings.Contains(h.send("GET", "/metrics", "").body, "\nflashsale_stream_clients 2\n")
	})
	h.stop()
	requireCloses(t, first, websocket.CloseGoingAway)
	requireCloses(t, second, websocket.CloseGoingAway)
	require.NoError(t, <-h.served)
	h.served <- nil
}

func TestThereIsRoomForSoManyStreams(t *testing.T) {
	h := start(t, httpapi.Config{Streams: &httpapi.StreamLimits{Watchers: 1}})
	only := h.watch("/monitoring/stream", nil)
	devtest.Eventually(t, waitLimit, "the first to be counted, which is after it was answered", func() bool {
		return strings.Contains(h.send("GET", "/metrics", "").body, "\nflashsale_stream_clients 1\n")
	})
	got := h.send("GET", "/monitoring/stream", "", webSocket()...)
	got.requireProblem(t, 503, engine.CodeOverloaded)
	require.NotEmpty(t, got.header.Get("Retry-After"))
	require.NoError(t, only.Close())
	devtest.Eventually(t, waitLimit, "a place to be free", func() bool {
		return h.send("GET", "/monitoring/stream", "", webSocket()...).status == 101
	})
}
