package httpapi

import (
	"math"
	"net/url"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"flashsale/engine"
)

// orderCall is the memory of one POST /orders, kept between requests.
type orderCall struct {
	decoder     orderDecoder
	reservation *engine.Reservation
	out         []byte // body of the answer
	location    []byte
}

func newOrderCall(maxHold time.Duration) *orderCall {
	return &orderCall{reservation: engine.NewReservation(), decoder: orderDecoder{maxHold: maxHold}}
}

// postOrder places an order. This is the hot path.
func (s *Server) postOrder(ctx *fasthttp.RequestCtx) {
	call := s.calls.Get().(*orderCall) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	r := call.reservation
	r.Reset()
	r.Left = -1 // the engine's gate refuses without saying what is left
	call.decoder.onlyFor = s.onlyUser(ctx)
	err := call.decoder.decode(&ctx.Request, r)
	if err == nil {
		err = s.chargeUser(ctx, r.User)
	}
	if err == nil {
		err = s.deps.Reserver.Reserve(r, ctx.Time())
	}
	if err == nil {
		s.sendPlaced(ctx, call)
	} else {
		s.refuseOrder(ctx, call, err)
	}
	s.calls.Put(call) // not after a panic: what it holds is not known then
}

func (s *Server) sendPlaced(ctx *fasthttp.RequestCtx, call *orderCall) {
	r := call.reservation
	if r.Replayed {
		s.metrics.replayed.Inc()
		ctx.Response.Header.SetCanonical(headerReplayed, valueTrue)
	} else {
		s.metrics.accepted.Inc()
	}
	call.location = append(append(call.location[:0], prefixOf(ctx)...), ordersPath...)
	base := len(call.location)
	call.location = r.Order.ID.Append(call.location)
	call.out = appendPlaced(call.out[:0], r, call.location[base:], s.waitMs(r))
	h := &ctx.Response.Header
	h.SetStatusCode(fasthttp.StatusCreated)
	h.SetContentTypeBytes(typeJSON)
	h.SetCanonical(headerLocation, call.location)
	ctx.Response.SetBody(call.out)
}

// waitMs estimates when the ledger has the order, from its position and the drain rate measured now; 0 = not known.
func (s *Server) waitMs(r *engine.Reservation) int64 {
	if r.Ahead <= 0 {
		return 0
	}
	rate := s.deps.Reserver.DrainRate(r.Order.ID.Partition())
	ms := float64(r.Ahead) / rate * 1000
	if !(rate > 0) || ms > math.MaxInt32 {
		return 0
	}
	return int64(ms)
}

const ordersPath = "/orders/"

// appendPlaced appends the answer to an accepted order whose id has the text form id.
func appendPlaced(dst []byte, r *engine.Reservation, id []byte, waitMs int64) []byte {
	dst = append(append(dst, `{"orderId":"`...), id...)
	dst = append(append(dst, `","jobId":"`...), id...)
	dst = append(append(dst, `","status":"`...), r.Order.Status...)
	dst = append(append(dst, `","productId":"`...), r.Product...) // the ids' alphabets need no escapes
	dst = append(append(dst, `","userId":"`...), r.User...)
	dst = appendIntMember(dst, `","quantity":`, r.Quantity)
	dst = append(append(dst, `,"durability":"`...), r.Durability.String()...)
	dst = appendIntMember(dst, `","queuePosition":`, r.Ahead)
	dst = appendThousandths(append(dst, `,"estimatedWaitTime":`...), waitMs)
	dst = appendTime(append(dst, `,"createdAt":`...), r.Order.CreatedAtMs)
	if r.Order.ExpiresAtMs != 0 {
		dst = appendTime(append(dst, `,"expiresAt":`...), r.Order.ExpiresAtMs)
	}
	return append(dst, '}')
}

// refuseOrder answers an order that was not accepted, with what the engine knows about why.
func (s *Server) refuseOrder(ctx *fasthttp.RequestCtx, call *orderCall, err error) {
	failure, expected := coded(err)
	s.metrics.refused(failure.Code)
	call.out = s.problem(call.out[:0], failure)
	if !expected {
		s.logInternal(ctx, err)
	}
	call.out = appendOutcome(call.out, failure.Code, call.reservation)
	retryAfter := failure.RetryAfter
	if wait := call.reservation.RetryAfterMs; wait > 0 {
		retryAfter = time.Duration(wait) * time.Millisecond
	}
	s.sendProblem(ctx, failure, append(call.out, '}'), retryAfter)
	if failure.Code == engine.CodeOutcomeUnknown && call.reservation.Key != "" {
		setRetryAfter(&ctx.Response.Header, unknownRetry)
	}
}

// appendOutcome appends the members that some codes have of their own.
func appendOutcome(dst []byte, code engine.Code, r *engine.Reservation) []byte {
	switch {
	case code == engine.CodeSoldOut && r.Left >= 0:
		dst = appendIntMember(dst, `,"left":`, r.Left)
	case code == engine.CodeInvalidRequest && r.MaxHoldMs > 0:
		dst = appendIntMember(dst, `,"maxHoldSeconds":`, r.MaxHoldMs/1000)
	case code == engine.CodeLimitExceeded:
		dst = appendIntMember(dst, `,"alreadyBought":`, r.Bought)
	case code == engine.CodeSaleNotStarted && r.RetryAtMs > 0:
		dst = appendTime(append(dst, `,"startsAt":`...), r.RetryAtMs)
	case code == engine.CodeDuplicateOrder && r.First != engine.OrderID{}:
		dst = append(r.First.Append(append(dst, `,"firstOrderId":"`...)), '"')
	case code == engine.CodeOutcomeUnknown:
		id := r.ID
		if r.Replayed { // the id of this attempt is nowhere: the key's order is what to look up
			id = r.Order.ID
		}
		dst = append(id.Append(append(dst, `,"orderId":"`...)), '"')
	}
	return dst
}

var errNoOrder = engine.ErrNoOrder

// getOrder shows an order. An id that could not have been minted here is as absent as any other.
func (s *Server) getOrder(ctx *fasthttp.RequestCtx) {
	id, ok := engine.ParseOrderID(pathValue(ctx, "id"))
	if !ok {
		s.refuse(ctx, errNoOrder)
		return
	}
	timed, cancel := s.requestContext()
	defer cancel()
	view, err := s.deps.Orders.Order(timed, id)
	if err == nil && !s.callerOf(ctx).mayAct(view.User) {
		err = errNoOrder
	}
	if err != nil {
		s.refuse(ctx, absentAlike(err))
		return
	}
	sendJSON(ctx, fasthttp.StatusOK, appendOrder(nil, &view))
}

// appendOrderHead appends the members that an order has wherever it is, without the closing brace.
func appendOrderHead(dst []byte, o *engine.Order, durability engine.Durability) []byte {
	dst = o.ID.Append(append(dst, `{"orderId":"`...))
	dst = o.ID.Append(append(dst, `","jobId":"`...))
	dst = appendStringMember(dst, `","status":`, string(o.Status))
	dst = appendStringMember(dst, `,"productId":`, o.Product)
	dst = appendStringMember(dst, `,"userId":`, o.User)
	dst = appendIntMember(dst, `,"quantity":`, o.Quantity)
	dst = appendStringMember(dst, `,"durability":`, durability.String())
	dst = appendIntMember(dst, `,"version":`, o.Version)
	dst = appendTime(append(dst, `,"createdAt":`...), o.CreatedAtMs)
	dst = appendTime(append(dst, `,"updatedAt":`...), o.UpdatedAtMs)
	if o.ExpiresAtMs != 0 && endsByItself(o.Status) {
		dst = appendTime(append(dst, `,"expiresAt":`...), o.ExpiresAtMs)
	}
	if o.Reason != "" {
		dst = appendStringMember(dst, `,"failedReason":`, o.Reason)
	}
	return dst
}

// endsByItself tells in which states the end of a hold still means something: while it lasts, and once it is over.
func endsByItself(status engine.Status) bool {
	return status == engine.StatusPending || status == engine.StatusExpired
}

// reached is the mode in which an order is safe by now, whatever was asked for. Whether replicas have it nobody notes down.
func reached(o *engine.OrderView) engine.Durability {
	if o.Durable {
		return engine.DurabilityLedger
	}
	return engine.DurabilityFast
}

func appendOrder(dst []byte, o *engine.OrderView) []byte {
	dst = appendBoolMember(appendOrderHead(dst, &o.Order, reached(o)), `,"durable":`, o.Durable)
	if o.ProductName == "" { // the ledger, which knows it, does not answer
		return append(dst, `,"product":null}`...)
	}
	dst = appendStringMember(dst, `,"product":{"id":`, o.Product)
	dst = appendStringMember(dst, `,"name":`, o.ProductName)
	dst = appendCents(append(dst, `,"price":`...), o.PriceCents)
	return append(dst, '}', '}')
}

// pathValue returns a part of the path without its percent-encoding, in memory of its own: fasthttp uses the request's
// again. What it is used for is checked against its alphabet afterwards, so an encoded slash comes to nothing.
func pathValue(ctx *fasthttp.RequestCtx, name string) string {
	value, _ := ctx.UserValue(name).(string)
	if decoded, err := url.PathUnescape(value); err == nil {
		value = decoded
	}
	return strings.Clone(value)
}

func sendJSON(ctx *fasthttp.RequestCtx, status int, body []byte) {
	ctx.SetStatusCode(status)
	ctx.Response.Header.SetContentTypeBytes(typeJSON)
	ctx.Response.SetBodyRaw(body)
}
