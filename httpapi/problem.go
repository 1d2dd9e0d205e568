package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"flashsale/engine"
)

// Codes that no part below HTTP gives yet.
const (
	codeBodyTooLarge engine.Code = "body_too_large"
)

// kind is what HTTP makes of a code.
type kind struct {
	status int
	title  string
	code   engine.Code // filled by kindOf
}

// kinds is the one place where codes become statuses (DESIGN, HTTP).
var kinds = map[engine.Code]kind{
	engine.CodeInvalidRequest:  {400, "Invalid request", ""},
	engine.CodeUnauthorized:    {401, "Unauthorized", ""},
	engine.CodeForbidden:       {403, "Forbidden", ""},
	engine.CodeNotFound:        {404, "Not found", ""},
	engine.CodeSoldOut:         {409, "Sold out", ""},
	engine.CodeLimitExceeded:   {409, "Limit exceeded", ""},
	engine.CodeDuplicateOrder:  {409, "Duplicate order", ""},
	engine.CodeSaleNotStarted:  {409, "Sale not started", ""},
	engine.CodeSaleEnded:       {409, "Sale ended", ""},
	engine.CodeSaleInactive:    {409, "Sale inactive", ""},
	engine.CodeInvalidState:    {409, "Invalid state", ""},
	engine.CodeHoldExpired:     {410, "Hold expired", ""},
	engine.CodeVersionConflict: {412, "Version conflict", ""},
	codeBodyTooLarge:           {413, "Body too large", ""},
	engine.CodeKeyConflict:     {422, "Idempotency conflict", ""},
	engine.CodeRateLimited:     {429, "Rate limited", ""},
	engine.CodeInternal:        {500, "Internal error", ""},
	engine.CodeOverloaded:      {503, "Overloaded", ""},
	engine.CodeUnavailable:     {503, "Unavailable", ""},
	engine.CodePartitionClosed: {503, "Partition closed", ""},
	engine.CodeOutcomeUnknown:  {504, "Outcome unknown", ""},
}

const problemType = "urn:flashsale:problem:"

var (
	errInternal = &engine.Error{Code: engine.CodeInternal, Detail: "something went wrong here; the log has it under this requestId"}
	errTimeout  = &engine.Error{Code: engine.CodeUnavailable, Detail: "no answer in time from what this depends on", RetryAfter: time.Second}
	// errUnknown is errTimeout of a change: it may have happened, so nobody is asked to repeat it.
	errUnknown = &engine.Error{Code: engine.CodeOutcomeUnknown, Detail: "no answer in time: the change may or may not have been made; look before you repeat it"}
)

// knownProblems makes the documents of what a buyer can meet on the hot path.
func knownProblems() map[*engine.Error][]byte {
	known := make(map[*engine.Error][]byte)
	for _, err := range []*engine.Error{
		engine.ErrSoldOut, engine.ErrLimitExceeded, engine.ErrDuplicateOrder, engine.ErrSaleNotStarted, engine.ErrSaleEnded,
		engine.ErrSaleInactive, engine.ErrUnknownProduct, engine.ErrQuantity, engine.ErrQueueFull, engine.ErrBacklogFull,
		engine.ErrTooLate, engine.ErrUnavailable, engine.ErrPartitionClosed, engine.ErrOutcomeUnknown,
		engine.ErrLedgerBehind, engine.ErrReplicasBehind, errUserLimited,
	} {
		known[err] = appendProblem(nil, err, kindOf(err))
	}
	return known
}

// problem appends the document of err without its closing brace, so that members can follow.
func (s *Server) problem(dst []byte, err *engine.Error) []byte {
	if made, ok := s.known[err]; ok {
		return append(dst, made...)
	}
	return appendProblem(dst, err, kindOf(err))
}

// appendProblem appends the members that every RFC 9457 document here has, and `field` where one is at fault.
func appendProblem(dst []byte, err *engine.Error, k kind) []byte {
	dst = append(dst, `{"type":"`+problemType...)
	dst = append(dst, k.code...)
	dst = append(dst, `","title":"`...)
	dst = append(dst, k.title...)
	dst = append(dst, `","status":`...)
	dst = strconv.AppendInt(dst, int64(k.status), 10)
	dst = append(dst, `,"code":"`...)
	dst = append(dst, k.code...)
	dst = append(dst, `","detail":`...)
	dst = appendString(dst, err.Detail)
	if err.Field != "" {
		dst = append(dst, `,"field":`...)
		dst = appendString(dst, err.Field)
	}
	return dst
}

// kindOf returns what HTTP makes of a failure; one whose code the table lacks is internal.
func kindOf(err *engine.Error) kind {
	code := err.Code
	k, ok := kinds[code]
	if !ok {
		code = engine.CodeInternal
		k = kinds[code]
	}
	k.code = code
	return k
}

// coded returns err as a failure that has a code. What has none is our fault: expected is false, and the log must have it.
func coded(err error) (failure *engine.Error, expected bool) {
	if known, ok := err.(*engine.Error); ok { //nolint:errorlint // the hot path: what is wrapped is found below
		return known, true
	}
	return unwrapped(err)
}

func unwrapped(err error) (failure *engine.Error, expected bool) {
	if errors.As(err, &failure) {
		return failure, true
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errTimeout, true
	}
	return errInternal, false
}

// refuseMethod answers with a status that no code has.
func (s *Server) refuseMethod(ctx *fasthttp.RequestCtx) {
	k := kindOf(errNoMethod)
	k.status, k.title = fasthttp.StatusMethodNotAllowed, "Method not allowed"
	s.sendProblem(ctx, errNoMethod, append(appendProblem(nil, errNoMethod, k), '}'), 0)
	ctx.SetStatusCode(k.status)
}

// refuse answers with the problem document of err.
func (s *Server) refuse(ctx *fasthttp.RequestCtx, err error) {
	failure, expected := coded(err)
	if failure == errTimeout && !ctx.IsGet() && !ctx.IsHead() {
		failure = errUnknown
	}
	body := s.problem(nil, failure)
	if !expected {
		s.logInternal(ctx, err)
	}
	s.sendProblem(ctx, failure, append(body, '}'), failure.RetryAfter)
}

// logInternal logs what the client is not told, under the id that the answer has.
func (s *Server) logInternal(ctx *fasthttp.RequestCtx, err error) {
	s.log.Error("http request", "request_id", s.requestID(ctx), "method", string(ctx.Method()), "path", string(ctx.Path()), "error", err)
}

// failedRequest is what the log has of a request that failed, put together only where it is wanted.
type failedRequest struct {
	server *Server
	ctx    *fasthttp.RequestCtx
	code   engine.Code
}

// LogValue returns the id, the method, the path and the code.
func (f failedRequest) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("request_id", f.server.requestID(f.ctx)), slog.String("method", string(f.ctx.Method())),
		slog.String("path", string(f.ctx.Path())), slog.String("code", string(f.code)),
	)
}

// sendProblem sends a finished document. retryAfter 0 = there is no use in trying again.
func (s *Server) sendProblem(ctx *fasthttp.RequestCtx, err *engine.Error, body []byte, retryAfter time.Duration) {
	k := kindOf(err)
	h := &ctx.Response.Header
	h.SetStatusCode(k.status)
	h.SetContentTypeBytes(typeProblem)
	if k.code != engine.CodeOutcomeUnknown { // a second order might be placed beside the first
		setRetryAfter(h, retryAfter)
	}
	if k.code == engine.CodeUnauthorized {
		h.Set(fasthttp.HeaderWWWAuthenticate, challengeOf(err))
	}
	ctx.Response.SetBody(body)
	appendRequestID(ctx)
	if k.status >= fasthttp.StatusInternalServerError {
		// Only at debug: a Redis that is away fails all of them.
		s.log.Debug("http request failed", "request", failedRequest{s, ctx, k.code})
	}
}

// setRetryAfter says when it is worth trying again, rounded up to seconds; 0 = it is not.
func setRetryAfter(h *fasthttp.ResponseHeader, wait time.Duration) {
	if wait > 0 {
		var digits [20]byte
		h.SetCanonical(headerRetryAfter, strconv.AppendInt(digits[:0], wholeSeconds(wait), 10))
	}
}

// unknownRetry is what a client is told to wait after an unknown outcome where asking twice is safe.
const unknownRetry = time.Second

var (
	typeProblem      = []byte("application/problem+json")
	typeJSON         = []byte("application/json")
	headerRetryAfter = []byte(fasthttp.HeaderRetryAfter)
	headerReplayed   = []byte("Idempotent-Replayed")
	valueTrue        = []byte("true")
	headerLocation   = []byte(fasthttp.HeaderLocation)
)
