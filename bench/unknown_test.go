package bench

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

func TestUnknownOrderThatWasPlaced(t *testing.T) {
	s := &shop{onOrder: onNth(6, func(s *shop, ctx *fasthttp.RequestCtx) {
		refuse(ctx, 504, "outcome_unknown", s.place())
	})}
	report, err := Rush(t.Context(), small(s.open(t)))
	require.NoError(t, err)
	assert.EqualValues(t, 19, report.Accepted)
	assert.EqualValues(t, 1, report.Found)
	assert.Zero(t, report.Unresolved)
	assert.EqualValues(t, 20, report.Durable, "it too must reach the ledger")
	assert.Equal(t, map[string]int64{"504 outcome_unknown": 1}, report.Failed)
	assert.Equal(t, "sold exactly: 20 of 20, nothing lost, nothing twice; failed requests: 1", report.Verdict())
}

func TestUnknownOrderThatWasNotPlaced(t *testing.T) {
	s := &shop{onOrder: onNth(6, func(_ *shop, ctx *fasthttp.RequestCtx) {
		refuse(ctx, 504, "outcome_unknown", "order-6")
	})}
	report, err := Rush(t.Context(), small(s.open(t)))
	require.NoError(t, err)
	assert.EqualValues(t, 20, report.Accepted)
	assert.Zero(t, report.Found)
	assert.Zero(t, report.Unresolved)
}

// TestUnknownOrderThatComesLate is placed only after the server was asked for it once: that is no violation.
func TestUnknownOrderThatComesLate(t *testing.T) {
	var late bool
	s := &shop{onOrder: onNth(6, func(s *shop, ctx *fasthttp.RequestCtx) {
		s.stock.Current-- // taken, but not yet written down
		refuse(ctx, 504, "outcome_unknown", "order-6")
	})}
	s.answer = func(s *shop, ctx *fasthttp.RequestCtx) bool {
		if string(ctx.Path()) != "/orders/order-6" || late {
			return false
		}
		late = true
		refuse(ctx, 404, "not_found", "")
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stock.Sold++
		s.orders["order-6"] = shopOrder{OrderID: "order-6", Status: "confirmed", Product: s.product.ID, Durable: true}
		return true
	}
	report, err := Rush(t.Context(), small(s.open(t)))
	require.NoError(t, err)
	assert.EqualValues(t, 1, report.Found)
	assert.EqualValues(t, 20, report.Stock.Sold)
}

// TestUnknownOrderThatIsForgotten took a unit, and nobody can find out for whom.
func TestUnknownOrderThatIsForgotten(t *testing.T) {
	s := &shop{onOrder: onNth(6, func(s *shop, ctx *fasthttp.RequestCtx) {
		id := s.place()
		delete(s.orders, id)
		refuse(ctx, 504, "outcome_unknown", id)
	})}
	o := small(s.open(t))
	o.LedgerWait = 300 * time.Millisecond
	_, err := Rush(t.Context(), o)
	var violation *Violation
	require.ErrorAs(t, err, &violation)
	assert.Equal(t, []string{ruleSold, ruleCurrent}, rulesOf(violation.Broken))
}

// TestUnknownOrderWithoutID leaves the stock known only within bounds.
func TestUnknownOrderWithoutID(t *testing.T) {
	s := &shop{onOrder: onNth(6, func(s *shop, ctx *fasthttp.RequestCtx) {
		s.place()
		ctx.SetStatusCode(500)
	})}
	report, err := Rush(t.Context(), small(s.open(t)))
	require.NoError(t, err)
	assert.EqualValues(t, 1, report.Unresolved)
	assert.EqualValues(t, 19, report.Accepted)
	assert.EqualValues(t, 20, report.Stock.Sold)
}

// TestAnswerThatNeverComes breaks the connection of one buyer, who is served behind his back.
func TestAnswerThatNeverComes(t *testing.T) {
	s := &shop{onOrder: onNth(6, func(s *shop, ctx *fasthttp.RequestCtx) {
		s.place()
		ctx.HijackSetNoResponse(true)
		ctx.Hijack(func(net.Conn) {})
	})}
	report, err := Rush(t.Context(), small(s.open(t)))
	require.NoError(t, err)
	assert.EqualValues(t, 1, total(report.Failed))
	assert.EqualValues(t, 1, report.Unresolved)
	assert.Len(t, s.users, 50, "the order is not sent again")
	assert.Equal(t, 50, s.arrived)
}

// TestOutcomes is the table of what an answer means.
func TestOutcomes(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	reset := &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	tests := map[string]struct {
		status int
		body   string
		err    error
		want   outcome
	}{
		"accepted":           {status: 201, body: `{"orderId":"a"}`, want: outcome{fate: fateAccepted, orderID: "a"}},
		"accepted, nameless": {status: 201, body: `{}`, want: outcome{why: "201 without an orderId"}},
		"another 2xx":        {status: 200, body: `{"orderId":"a"}`, want: outcome{why: "200", orderID: "a"}},
		"refused":            {status: 409, body: `{"code":"sold_out"}`, want: outcome{fate: fateRefused, why: "sold_out"}},
		"409 without a code": {status: 409, body: `no`, want: outcome{fate: fateFailed, why: "409"}},
		"rate limited":       {status: 429, body: `{"code":"rate_limited"}`, want: outcome{fate: fateFailed, why: "429 rate_limited"}},
		"overloaded":         {status: 503, body: `{"code":"overloaded"}`, want: outcome{fate: fateFailed, why: "503 overloaded"}},
		"a proxy's 503":      {status: 503, body: `<html>`, want: outcome{why: "503"}},
		"internal":           {status: 500, body: `{"code":"internal"}`, want: outcome{why: "500 internal"}},
		"unknown": {
			status: 504, body: `{"code":"outcome_unknown","orderId":"a"}`, want: outcome{why: "504 outcome_unknown", orderID: "a"},
		},
		"no connection":     {err: refused, want: outcome{fate: fateFailed, why: "connection refused"}},
		"connection broken": {err: reset, want: outcome{why: "connection reset by peer"}},
		"timeout":           {err: fasthttp.ErrTimeout, want: outcome{why: "fasthttp: timeout"}},
		"anything else":     {err: errors.New("odd"), want: outcome{why: "odd"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := &conn{}
			doc, err := c.parser.Parse(tt.body)
			if err != nil {
				doc = nil
			}
			assert.Equal(t, tt.want, outcomeOf(reply{status: tt.status, doc: doc}, tt.err))
		})
	}
}
