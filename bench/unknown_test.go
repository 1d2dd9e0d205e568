package bench

import (
	"net"
	"strings"
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
	require.ErrorIs(t, err, ErrUntold)
	assert.EqualValues(t, 1, report.Unresolved)
	assert.Contains(t, report.Verdict(), "nobody can tell what became of 1 order")
	assert.NotContains(t, report.Verdict(), "exactly")
}

// lostAnswer serves the n-th order behind its buyer's back.
func lostAnswer(nth int) func(*shop, *fasthttp.RequestCtx, int) bool {
	return onNth(nth, func(s *shop, ctx *fasthttp.RequestCtx) {
		s.place()
		ctx.SetStatusCode(500)
	})
}

// TestUnknownOrderWithoutID is in its buyer's list, once the list is whole.
func TestUnknownOrderWithoutID(t *testing.T) {
	s := &shop{onOrder: lostAnswer(6)}
	s.answer = lateLists(3)
	report, err := Run(t.Context(), small(s.open(t)))
	require.NoError(t, err)
	assert.EqualValues(t, 19, report.Accepted)
	assert.EqualValues(t, 1, report.Found)
	assert.EqualValues(t, 20, report.Durable, "it too must reach the ledger")
	assert.Zero(t, report.Unresolved)
	assert.True(t, report.Proven)
	assert.Equal(t, "sold exactly: 20 of 20, nothing lost, nothing twice (each order looked up; --rows reads every row); failed requests: 1", report.Verdict())
}

// lateLists says of the first lists that they may lack something, and leaves it out.
func lateLists(n int) func(*shop, *fasthttp.RequestCtx) bool {
	return func(_ *shop, ctx *fasthttp.RequestCtx) bool {
		if !strings.HasPrefix(string(ctx.Path()), "/orders/user/") || n == 0 {
			return false
		}
		n--
		ctx.Response.Header.Set("Ledger-Lag-Ms", "7")
		reply200(ctx, []shopOrder{})
		return true
	}
}

// TestUnknownOrderWithoutIDThatWasNotPlaced is in no list: that tells as much.
func TestUnknownOrderWithoutIDThatWasNotPlaced(t *testing.T) {
	s := &shop{onOrder: onNth(6, func(_ *shop, ctx *fasthttp.RequestCtx) { ctx.SetStatusCode(500) })}
	report, err := Run(t.Context(), small(s.open(t)))
	require.NoError(t, err)
	assert.EqualValues(t, 20, report.Accepted)
	assert.Zero(t, report.Found)
	assert.True(t, report.Proven)
}

// TestUnknownOrderThatNobodyCanTell: whoever pastes the verdict, or reads the report by a script, says so too.
func TestUnknownOrderThatNobodyCanTell(t *testing.T) {
	for name, answer := range map[string]func(*fasthttp.RequestCtx){
		"no list": func(ctx *fasthttp.RequestCtx) { refuse(ctx, 503, "unavailable", "") },
		"late list": func(ctx *fasthttp.RequestCtx) {
			ctx.Response.Header.Set("Ledger-Lag-Ms", "7")
			reply200(ctx, []shopOrder{})
		},
		"endless list": func(ctx *fasthttp.RequestCtx) {
			ctx.Response.Header.Set("Link", `</x?cursor=x>; rel="next"`)
			reply200(ctx, []shopOrder{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var user string
			place := lostAnswer(6)
			s := &shop{onOrder: func(s *shop, ctx *fasthttp.RequestCtx, n int) bool {
				if n == 6 {
					user = s.wanted.UserID
				}
				return place(s, ctx, n)
			}}
			s.answer = func(s *shop, ctx *fasthttp.RequestCtx) bool {
				s.mu.Lock()
				isTheirs := user != "" && string(ctx.Path()) == "/orders/user/"+user
				s.mu.Unlock()
				if isTheirs {
					answer(ctx)
				}
				return isTheirs
			}
			o := small(s.open(t))
			o.LedgerWait = 300 * time.Millisecond
			report, err := Run(t.Context(), o)
			require.ErrorIs(t, err, ErrUntold)
			assert.Equal(t, "nobody can tell what became of 1 order, such as one of "+user, err.Error())
			assert.Equal(t, err.Error(), report.Error)
			assert.EqualValues(t, 1, report.Unresolved)
			assert.False(t, report.Proven)
			assert.True(t, report.Checked)
			assert.Equal(t, "NOT PROVEN: "+err.Error()+"; sold 20 of 20, and nothing else is lost or there twice (each order looked up; --rows reads every row); failed requests: 1", report.Verdict())
			assert.EqualValues(t, 20, report.Stock.Sold, "known within bounds")
		})
	}
}

// TestUnknownOrdersOfBuyersWhoComeAgain are told from those that their buyers know of. Of two without an outcome one was placed.
func TestUnknownOrdersOfBuyersWhoComeAgain(t *testing.T) {
	lost := lostAnswer(12)
	s := &shop{onOrder: func(s *shop, ctx *fasthttp.RequestCtx, n int) bool {
		switch {
		case n == 9:
			ctx.SetStatusCode(500)
		case !lost(s, ctx, n):
			accept(ctx, s.place())
		}
		return true
	}}
	o := small(s.open(t))
	o.Buyers, o.Visits, o.Units = 1, 20, 19
	report, err := Run(t.Context(), o)
	require.NoError(t, err)
	assert.EqualValues(t, 18, report.Accepted)
	assert.EqualValues(t, 1, report.Found)
	assert.EqualValues(t, 19, report.Placed)
}

// TestUnknownHoldWithoutID expires like any other that nobody confirms.
func TestUnknownHoldWithoutID(t *testing.T) {
	s := &shop{onOrder: lostAnswer(6)}
	report, err := Run(t.Context(), sample(s.open(t), "holds"))
	require.NoError(t, err)
	assert.EqualValues(t, 1, report.Found)
	assert.EqualValues(t, 50, report.Placed)
}

// TestUnknownEndOfAHold that nobody looks up by chance: such orders are looked up all the same.
func TestUnknownEndOfAHold(t *testing.T) {
	for name, tt := range map[string]struct {
		verb  string
		end   func(s *shop, id string)
		rules []string
	}{
		"confirmed":              {"confirm", func(s *shop, id string) { s.end(id, "confirmed") }, nil},
		"confirmed and expired":  {"confirm", func(*shop, string) {}, nil},
		"confirmed and lost":     {"confirm", func(s *shop, id string) { s.end(id, "expired"); delete(s.orders, id) }, []string{ruleFound}},
		"confirmed and given up": {"confirm", func(s *shop, id string) { s.end(id, "cancelled") }, []string{ruleKept}},
		"cancelled":              {"cancel", func(s *shop, id string) { s.end(id, "cancelled") }, nil},
		"cancelled and sold":     {"cancel", func(s *shop, id string) { s.end(id, "confirmed") }, []string{ruleKept}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			isDone := false
			s := &shop{onChange: func(s *shop, ctx *fasthttp.RequestCtx, o *shopOrder, verb string) bool {
				if isDone || verb != tt.verb {
					return false
				}
				isDone = true
				tt.end(s, o.OrderID)
				refuse(ctx, 504, "outcome_unknown", o.OrderID)
				return true
			}}
			o := sample(s.open(t), "holds")
			o.Lookups = 1
			report, err := Run(t.Context(), o)
			assert.True(t, isDone)
			assert.EqualValues(t, 50, report.Placed)
			if tt.rules == nil {
				require.NoError(t, err)
				return
			}
			var violation *Violation
			require.ErrorAs(t, err, &violation)
			assert.Equal(t, tt.rules, rulesOf(violation.Broken))
		})
	}
}

// TestDoubtsAreBounded, and what is beyond stays within its own bounds: an order that was placed is no more than one.
func TestDoubtsAreBounded(t *testing.T) {
	s, err := newSale(t.Context(), Options{Target: "http://127.0.0.1:1"})
	require.NoError(t, err)
	s.book.unsure = make([]order, maxUnsure-1)
	s.book.doubt(order{})
	s.book.doubt(order{})
	s.book.doubt(order{id: "order-2", placed: true})
	require.Len(t, s.book.unnamed, 1)
	require.Len(t, s.book.unsure, maxUnsure-1)
	unknown, undecided := s.book.beyond()
	require.Equal(t, []int64{1, 1}, []int64{unknown, undecided})
	s.book.unsure, s.book.unnamed, s.book.products[0].placed = nil, nil, 7
	settled, err := s.look(t.Context())
	require.Error(t, err, "nobody has the stock")
	require.Equal(t, []span{{7, 8}}, settled.placed)
	require.Equal(t, []span{{0, 2}}, settled.sold)
	require.EqualValues(t, 1, settled.undecided)
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
	assert.EqualValues(t, 1, report.Found)
	assert.Zero(t, report.Unresolved)
	assert.Len(t, s.users, 50, "the order is not sent again")
	assert.Equal(t, 50, s.arrived)
}
