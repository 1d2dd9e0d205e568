package httpapi

import (
	"context"
	"net"
	"time"

	"github.com/valyala/fasthttp"

	"flashsale/engine"
	"flashsale/httpapi/stockfeed"
)

const typeEvents = "text/event-stream"

// newFeed tells buyers the stock of the products that they look at.
func (s *Server) newFeed() *stockfeed.Feed {
	return stockfeed.New(stockfeed.Config{
		Read: s.readStock, MaxClients: s.config.Streams.Buyers, WriteWait: streamWriteWait, Metrics: s.config.Metrics, Logger: s.log,
	})
}

// readStock reads a product in bounded time.
func (s *Server) readStock(ctx context.Context, product string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.RequestTimeout)
	defer cancel()
	p, err := s.productNow(ctx, product)
	if err != nil {
		if failure, _ := coded(err); failure.Code == engine.CodeNotFound {
			return nil, stockfeed.ErrUnknown
		}
		return nil, err
	}
	return appendAvailability(nil, &p, s.deps.Reserver.TimeOf(p.ID)), nil
}

// getStockStream tells a buyer how much of a product is left, as it changes.
func (s *Server) getStockStream(ctx *fasthttp.RequestCtx) {
	id := pathValue(ctx, "productId")
	if err := s.mayLookAt(id); err != nil {
		s.refuse(ctx, err)
		return
	}
	ctx.SetContentType(typeEvents)
	h := &ctx.Response.Header
	h.Set(fasthttp.HeaderCacheControl, "no-store")
	h.Set("X-Accel-Buffering", "no") // a proxy that collects before it passes on would make events old
	if ctx.IsHead() {
		return
	}
	s.allowOrigin(ctx)
	h.SetContentLength(-2) // the body ends with the connection
	head := append([]byte(nil), h.Header()...)
	handOver(ctx)
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(conn net.Conn) {
		if cover, ok := conn.(interface{ UnsafeConn() net.Conn }); ok {
			conn = cover.UnsafeConn() // closing fasthttp's cover of it does nothing
		}
		s.serveStock(conn, head, id)
	})
}

// noRoomLeft is told to who came at the same time as the last one that there was room for.
var noRoomLeft = []byte("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

func (s *Server) serveStock(conn net.Conn, head []byte, id string) {
	if !s.feed.Serve(conn, head, id) {
		_, _ = conn.Write(noRoomLeft) // fasthttp closes it
	}
}

// mayLookAt says why a product's stock is not told, if it is not. While nobody can say how it is, that is told: a browser's
// EventSource that is refused never tries again, and all pages come back at once when a server does.
func (s *Server) mayLookAt(id string) error {
	switch {
	case !engine.ValidProductID(id):
		return engine.ErrUnknownProduct
	case !s.feed.HasRoom(id):
		return errNoRoom
	case s.feed.Watched(id):
		return nil
	}
	timed, cancel := s.requestContext()
	defer cancel()
	_, err := s.productNow(timed, id)
	if err != nil {
		if failure, _ := coded(err); kindOf(failure).status == fasthttp.StatusServiceUnavailable {
			return nil
		}
	}
	return err
}

// What a buyer can do about a product now.
const (
	availableOnSale     = "on_sale"
	availableHeld       = "all_held" // what is left is held by others, and may come back
	availableSoldOut    = "sold_out"
	availableNotStarted = "not_started"
	availableEnded      = "ended"
	availableInactive   = "inactive"
)

func availability(p *engine.Product, now time.Time) string {
	switch {
	case p.Stock.Current == 0 && p.Stock.Held == 0:
		return availableSoldOut
	case !p.Terms.Active:
		return availableInactive
	case now.Before(p.Terms.StartsAt):
		return availableNotStarted
	case !p.Terms.EndsAt.IsZero() && !now.Before(p.Terms.EndsAt):
		return availableEnded
	case p.Stock.Current == 0:
		return availableHeld
	}
	return availableOnSale
}

func appendAvailability(dst []byte, p *engine.Product, now time.Time) []byte {
	dst = appendStringMember(dst, `{"productId":`, p.ID)
	dst = appendIntMember(dst, `,"currentStock":`, p.Stock.Current)
	dst = appendStringMember(dst, `,"state":`, availability(p, now))
	dst = appendIntMember(dst, `,"secondsToStart":`, wholeSeconds(max(0, p.Terms.StartsAt.Sub(now))))
	dst = appendOptionalTime(append(dst, `,"startsAt":`...), p.Terms.StartsAt)
	return append(appendOptionalTime(append(dst, `,"endsAt":`...), p.Terms.EndsAt), '}')
}
