package httpapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"

	"flashsale/engine"
	"flashsale/httpapi/stream"
)

const streamPath = "/monitoring/stream"

// A page can't set headers on a WebSocket and must not put a token into its address, which ends up in logs. It offers two
// subprotocols: the first is the one that is spoken, the second carries the token and is never chosen or repeated.
const (
	streamProtocol      = "flashsale"
	streamTokenProtocol = "flashsale.bearer." // and the token in the URL's base64, without padding
)

var (
	errNoWebSocket = engine.Invalid("Upgrade", "must ask for a WebSocket of version 13: this route is not for plain requests")
	errOrigin      = &engine.Error{Code: engine.CodeForbidden, Field: "Origin", Detail: "Origin: pages of this origin may not open the stream; FRONTEND_URL names one that may"}
	errNoRoom      = &engine.Error{Code: engine.CodeOverloaded, Detail: "as many clients are watching as this server takes", RetryAfter: 5 * time.Second}
)

// newHub has the figures of the server told to WebSocket clients.
func (s *Server) newHub() *stream.Hub {
	figures := func(read func() []byte) stream.Answer {
		return func() (json.RawMessage, *stream.Refusal) { return read(), nil }
	}
	return stream.New(stream.Config{
		Update: figures(s.liveFigures),
		Answers: map[string]stream.Answer{
			"fetch-total-orders":      question{s, s.totalOrders}.answer,
			"fetch-inventory-updates": question{s, s.inventoryNow}.answer,
			"fetch-inventory-metrics": question{s, s.inventoryTotals}.answer,
			"get-benchmark-report":    figures(s.benchmark),
			"fetch-health":            figures(s.healthNow),
		},
		MaxClients: s.config.Streams.Watchers, PingEvery: s.config.Streams.Ping, WriteWait: streamWriteWait,
		Metrics: s.config.Metrics, Logger: s.log,
	})
}

// question is something that the stores are asked for the clients of the stream.
type question struct {
	server *Server
	read   func(context.Context) ([]byte, error)
}

// answer asks in bounded time, and says why there is no answer where there is none.
func (q question) answer() (json.RawMessage, *stream.Refusal) {
	timed, cancel := q.server.requestContext()
	defer cancel()
	data, err := q.read(timed)
	if err == nil {
		return data, nil
	}
	failure, expected := coded(err)
	if !expected {
		q.server.log.Error("stream", "error", err)
		return nil, &stream.Refusal{Code: string(failure.Code), Detail: "something went wrong here; the log says what"}
	}
	return nil, &stream.Refusal{Code: string(failure.Code), Detail: failure.Detail}
}

// totalOrders is what GET /orders/admin/metrics answers.
func (s *Server) totalOrders(ctx context.Context) ([]byte, error) {
	counts, err := s.deps.Orders.OrderCounts(ctx)
	return appendOrderCounts(nil, &counts), err
}

// inventoryTotals is what GET /inventory/metrics answers.
func (s *Server) inventoryTotals(ctx context.Context) ([]byte, error) {
	totals, err := s.stockTotals(ctx)
	return appendStockTotals(nil, &totals), err
}

// inventoryNow is the first products as GET /inventory answers them, and whether these are all.
func (s *Server) inventoryNow(ctx context.Context) ([]byte, error) {
	products, err := s.firstProducts(ctx)
	if err != nil {
		return nil, err
	}
	shown := min(len(products), maxInventoryLevels)
	body := []byte(`{"products":[`)
	for i := range products[:shown] {
		body = appendProduct(separate(body, i), &products[i])
	}
	return append(appendBoolMember(body, `],"complete":`, shown == len(products)), '}'), nil
}

// healthNow is what GET /monitoring/health answers.
func (s *Server) healthNow() []byte {
	body, _ := s.healthReport()
	return body
}

// streamUpgrader agrees with a client on a WebSocket, and no more: the stream reads and writes the frames itself.
var streamUpgrader = websocket.FastHTTPUpgrader{
	Subprotocols: []string{streamProtocol},
	CheckOrigin:  func(*fasthttp.RequestCtx) bool { return true }, // mayWatch has
}

// getStream begins a WebSocket.
func (s *Server) getStream(ctx *fasthttp.RequestCtx) {
	if err := s.mayWatch(ctx); err != nil {
		s.refuse(ctx, err)
		return
	}
	permit := stream.Permit{Until: s.callerOf(ctx).until, Still: s.stillAllowed(ctx)}
	handOver(ctx)
	if err := streamUpgrader.Upgrade(ctx, nil); err != nil { // mayWatch has looked at all that could be wrong
		ctx.Response.Reset()
		s.refuse(ctx, errNoWebSocket)
		return
	}
	ctx.Hijack(func(conn net.Conn) { s.hub.Serve(conn, permit) })
}

// mayWatch says why a WebSocket is not begun, if it is not.
func (s *Server) mayWatch(ctx *fasthttp.RequestCtx) error {
	h := &ctx.Request.Header
	switch {
	case !ctx.IsGet(), !websocket.FastHTTPIsWebSocketUpgrade(ctx), string(h.Peek("Sec-WebSocket-Version")) != "13",
		!isWebSocketKey(h.Peek("Sec-WebSocket-Key")):
		return errNoWebSocket
	case !s.knowsOrigin(ctx):
		return errOrigin
	case !s.hub.HasRoom():
		return errNoRoom
	}
	return nil
}

const webSocketKeyBytes = 16 // RFC 6455, 4.1

func isWebSocketKey(key []byte) bool {
	decoded, err := base64.StdEncoding.DecodeString(string(key))
	return err == nil && len(decoded) == webSocketKeyBytes
}

// stillAllowed returns what tells whether the token that a client came with is still good.
func (s *Server) stillAllowed(ctx *fasthttp.RequestCtx) func() bool {
	token := string(tokenOf(ctx, streamPath))
	if s.config.Tokens == nil || s.admin.fits([]byte(token)) {
		return func() bool { return true }
	}
	return func() bool {
		_, err := s.config.Tokens.Verify(token)
		return err == nil
	}
}

// tokenOf returns the token of a request: from its header, or for the stream from the subprotocol that carries it.
func tokenOf(ctx *fasthttp.RequestCtx, path string) []byte {
	token := bearerToken(ctx)
	if len(token) == 0 && path == streamPath {
		return protocolToken(ctx.Request.Header.Peek("Sec-WebSocket-Protocol"))
	}
	return token
}

// protocolToken finds the token among the subprotocols that a client offers; empty where there is none.
func protocolToken(offered []byte) []byte {
	for protocol := range bytes.SplitSeq(offered, []byte{','}) {
		encoded, ok := bytes.CutPrefix(bytes.TrimSpace(protocol), []byte(streamTokenProtocol))
		if !ok {
			continue
		}
		token, err := base64.RawURLEncoding.DecodeString(string(encoded))
		if err != nil {
			return nil
		}
		return token
	}
	return nil
}
