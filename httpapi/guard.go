package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"time"

	"github.com/valyala/fasthttp"

	"flashsale/engine"
)

// Bounds of what is read of a request that is refused. Closing a connection with unread bytes resets it, and a client
// that is still sending would lose the answer.
const (
	drainLimit = 4 << 20 // bytes
	drainGrace = 20 * time.Millisecond
	drainChunk = 4 << 10 // bytes
)

var (
	errBodyTooLarge     = &engine.Error{Code: codeBodyTooLarge, Detail: "the body is longer than this server takes"}
	errTransferEncoding = engine.Invalid("Transfer-Encoding", "is not supported: send Content-Length")
	errSlowRequest      = &engine.Error{Code: engine.CodeInvalidRequest, Detail: "the request did not arrive in time"}
	errLongHeader       = &engine.Error{Code: engine.CodeInvalidRequest, Detail: "the request's head is longer than this server takes"}
	errNoHTTP           = &engine.Error{Code: engine.CodeInvalidRequest, Detail: "this is no HTTP/1.1 request"}
)

// handle is what fasthttp calls for each request. A panic of a handler would end the process.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	defer s.recoverPanic(ctx)
	keepRequestID(ctx)
	// dropFramingInDoubt has every such request close its connection, so that all others are not looked at again.
	if ctx.Request.Header.ConnectionClose() && namesTransferEncoding(ctx.Request.Header.RawHeaders()) {
		s.drain(ctx.Conn(), 0)
		s.refuse(ctx, errTransferEncoding)
		s.allowOrigin(ctx)
		return
	}
	if s.limits.address == nil || s.withinAddressLimit(ctx) {
		s.route(ctx)
	}
	s.allowOrigin(ctx)
	if s.stopping.Load() {
		ctx.SetConnectionClose()
	}
}

func (s *Server) recoverPanic(ctx *fasthttp.RequestCtx) {
	cause := recover()
	if cause == nil {
		return
	}
	s.metrics.panics.Inc()
	err := fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
	ctx.Response.Reset()
	keepRequestID(ctx)
	s.refuse(ctx, err)
	s.allowOrigin(ctx)
}

// dropFramingInDoubt treats a request that names Transfer-Encoding as one without a body, and the last of its
// connection: fasthttp takes Content-Length beside it, and what it makes of "identity" can't be seen from the parsed
// header. Nothing behind the head is read, so nothing there can be taken for a request.
func dropFramingInDoubt(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	if namesTransferEncoding(h.RawHeaders()) {
		h.SetContentLength(0)
		h.SetConnectionClose()
	}
	return fasthttp.RequestConfig{}
}

var transferEncoding = []byte("transfer-encoding")

// namesTransferEncoding looks for the header at the beginning of each line.
func namesTransferEncoding(head []byte) bool {
	for {
		if len(head) >= len(transferEncoding) && head[0]|0x20 == 't' &&
			bytes.EqualFold(head[:len(transferEncoding)], transferEncoding) {
			return true
		}
		end := bytes.IndexByte(head, '\n')
		if end < 0 {
			return false
		}
		head = head[end+1:]
	}
}

// refuseUnreadable answers what fasthttp could not read as a request. fasthttp closes the connection afterwards.
func (s *Server) refuseUnreadable(ctx *fasthttp.RequestCtx, err error) {
	keepRequestID(ctx)
	defer s.allowOrigin(ctx)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		s.refuse(ctx, errSlowRequest)
		return
	}
	var longHeader *fasthttp.ErrSmallBuffer
	announced, failure := 0, errNoHTTP
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		announced, failure = ctx.Request.Header.ContentLength(), errBodyTooLarge
	case errors.As(err, &longHeader):
		failure = errLongHeader
	case errors.Is(err, fasthttp.ErrUnsupportedTransferEncoding):
		failure = errTransferEncoding
	}
	s.drain(ctx.Conn(), announced)
	s.refuse(ctx, failure)
}

// drain reads and forgets what the client is sending, of which expected bytes are announced and some have been read
// already. It is bounded in bytes and in time; a longer body is left unread, and its client may see a reset.
func (s *Server) drain(conn net.Conn, expected int) {
	if expected > drainLimit {
		return
	}
	var chunk [drainChunk]byte
	deadline := time.Now().Add(s.config.ReadTimeout)
	for total := 0; total < drainLimit && time.Now().Before(deadline); {
		wait := deadline
		if total >= expected-maxHeader { // the rest may be in fasthttp's buffer
			wait = time.Now().Add(drainGrace)
		}
		if err := conn.SetReadDeadline(wait); err != nil {
			return
		}
		n, err := conn.Read(chunk[:])
		if err != nil {
			return
		}
		total += n
	}
}
