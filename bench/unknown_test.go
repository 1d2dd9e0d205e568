package bench

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"flashsale/bench/load"
)

func TestUnknownOrderThatWasPlaced(t *testing.T) {
	s := &shop{onOrder: onNth(6, func(s *shop, ctx *fasthttp.RequestCtx) {
		refuse(ctx, 504, "outcome_unknown", s.place())
	})}
	report, err := Run(t.Context(), small(s.open(t)))
	require.NoError(t, err)
	assert.EqualValues(t, 19, report.Accepted)
	assert.EqualValues(t, 1, report.Found)
	assert.Zero(t, report.Unresolved)
	assert.EqualValues(t, 20, report.Durable, "it too must reach the ledger")
	assert.Equal(t, map[string]int64{"504 outcome_unknown": 1}, report.Failed)
	assert.Equal(t, "sold exactly: 20 of 20, nothing lost, nothing twice (each order looked up; --rows reads every row); failed requests: 1", report.Verdict())
}

// TestUnknownReplayOfAnOrder names the order that the buyer was told of before, or is told of later: it is still one order.
func TestUnknownReplayOfAnOrder(t *testing.T) {
	told := map[string]int{}
	s := &shop{onOrder: func(s *shop, ctx *fasthttp.RequestCtx, _ int) bool {
		id, isReplay := s.keys[string(ctx.Request.Header.Peek("Idempotency-Key"))]
		if !isReplay || len(told) > 5 {
			return false
		}
		told[id]++
		refuse(ctx, 504, "outcome_unknown", id)
		return true
	}}
	report, err := Run(t.Context(), sample(s.open(t), "duplicates"))
	require.NoError(t, err)
	assert.NotEmpty(t, told)
	assert.Positive(t, load.Total(report.Failed))
	assert.Zero(t, report.Found)
	assert.EqualValues(t, 20, report.Placed)
}

func TestUnknownOrderThatWasNotPlaced(t *testing.T) {
	s := &shop{onOrder: onNth(6, func(_ *shop, ctx *fasthttp.RequestCtx) {
		refuse(ctx, 504, "outcome_unknown", "order-6")
	})}
	report, err := Run(t.Context(), small(s.open(t)))
	require.NoError(t, err)
	assert.EqualValues(t, 20, report.Accepted)
	assert.Zero(t, report.Found)
	assert.Zero(t, report.Unresolved)
}

// TestUnknownOrderThatComesLate is placed only after the server was asked for it once: that is no violation.
func TestUnknownOrderThatComesLate(t *testing.T) {
	var late bool
	var user string
	s := &shop{onOrder: onNth(6, func(s *shop, ctx *fasthttp.RequestCtx) {
		user = s.wanted.UserID
		s.stock.Current--
		s.stock.Held++ // taken, but not yet written down
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
		s.stock.Held--
		s.stock.Sold++
		s.orders["order-6"] = shopOrder{OrderID: "order-6", Status: "confirmed", Product: s.product.ID, Durable: true, User: user}
		return true
	}
	report, err := Run(t.Context(), small(s.open(t)))
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
	_, err := Run(t.Context(), o)
	var violation *Violation
	require.ErrorAs(t, err, &violation)
	assert.Equal(t, []string{ruleSold, ruleCurrent, ruleUndersold}, rulesOf(violation.Broken))
}

// TestUnknownOrderThatCannotBeLookedUp was not placed, but the server fails whenever it is asked.
func TestUnknownOrderThatCannotBeLookedUp(t *testing.T) {
	s := &shop{onOrder: onNth(6, func(_ *shop, ctx *fasthttp.RequestCtx) { refuse(ctx, 504, "outcome_unknown", "order-6") })}
	s.answer = func(_ *shop, ctx *fasthttp.RequestCtx) bool {
		if string(ctx.Path()) != "/orders/order-6" {
			return false
		}
		refuse(ctx, 500, "internal", "")
		return true
	}
	o := small(s.open(t))
	o.LedgerWait = 300 * time.Millisecond
	report, err := Run(t.Context(), o)
	require.NoError(t, err)
	assert.EqualValues(t, 1, report.Unresolved)
	assert.Contains(t, report.Verdict(), "nobody can tell what became of 1 order")
	assert.NotContains(t, report.Verdict(), "exactly")
}

// TestUnknownOrderWithoutID leaves the stock known only within bounds.
func TestUnknownOrderWithoutID(t *testing.T) {
	s := &shop{onOrder: onNth(6, func(s *shop, ctx *fasthttp.RequestCtx) {
		s.place()
		ctx.SetStatusCode(500)
	})}
	report, err := Run(t.Context(), small(s.open(t)))
	require.NoError(t, err)
	assert.EqualValues(t, 1, report.Unresolved)
	assert.Equal(t, "sold 20 of 20, nothing lost, nothing twice, except that nobody can tell what became of 1 order (each order looked up; --rows reads every row); failed requests: 1",
		report.Verdict(), "whoever pastes this says so too")
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
	report, err := Run(t.Context(), small(s.open(t)))
	require.NoError(t, err)
	assert.EqualValues(t, 1, load.Total(report.Failed))
	assert.EqualValues(t, 1, report.Unresolved)
	assert.Len(t, s.users, 50, "the order is not sent again")
	assert.Equal(t, 50, s.arrived)
}
