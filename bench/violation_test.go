package bench

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

// onNth answers the n-th order with what it is given.
func onNth(nth int, do func(s *shop, ctx *fasthttp.RequestCtx)) func(*shop, *fasthttp.RequestCtx, int) bool {
	return func(s *shop, ctx *fasthttp.RequestCtx, n int) bool {
		if n != nth {
			return false
		}
		do(s, ctx)
		return true
	}
}

// wrongShop does one thing wrong, which breaks exactly these rules.
type wrongShop struct {
	shop  *shop
	sale  string        // scenario; default rush
	wait  time.Duration // LedgerWait, where the shop never comes right
	rules []string
	text  string // in the error: both sides
}

func (w *wrongShop) check(t *testing.T) {
	o := sample(w.shop.open(t), w.sale)
	if w.wait > 0 {
		o.LedgerWait = w.wait
	}
	report, err := Run(t.Context(), o)
	var violation *Violation
	require.ErrorAs(t, err, &violation)
	assert.Equal(t, w.rules, rulesOf(violation.Broken))
	assert.ErrorContains(t, err, w.text)
	assert.Equal(t, violation.Broken, report.Violations)
	assert.False(t, report.Proven)
	assert.Contains(t, report.Verdict(), "NOT CORRECT")
}

func checkAll(t *testing.T, shops map[string]wrongShop) {
	t.Helper()
	for name, w := range shops {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w.check(t)
		})
	}
}

func rulesOf(breaches []Breach) (names []string) {
	for _, b := range breaches {
		names = append(names, b.Rule)
	}
	return names
}

func TestRushFindsWrongStock(t *testing.T) {
	checkAll(t, map[string]wrongShop{
		"oversells": {
			shop: &shop{onOrder: func(s *shop, ctx *fasthttp.RequestCtx, n int) bool {
				if n <= 20 || n > 23 {
					return false
				}
				accept(ctx, s.place())
				s.stock.Current, s.stock.Sold = 0, 20 // and hides it
				return true
			}},
			rules: []string{ruleOversold, ruleSold, ruleCurrent},
			text:  "want at most 20, got 23",
		},
		"oversells and shows it": {
			shop: &shop{onOrder: func(s *shop, ctx *fasthttp.RequestCtx, n int) bool {
				if n != 21 {
					return false
				}
				accept(ctx, s.place())
				s.stock.Current = 0
				return true
			}},
			rules: []string{ruleSumAlways, ruleSum, ruleOversold, ruleCurrent},
			text:  "want 20, got 0 + 0 + 21 = 21",
		},
		"goes below zero": {
			shop: &shop{onOrder: onNth(50, func(s *shop, ctx *fasthttp.RequestCtx) {
				s.stock.Current, s.stock.Held = -1, 1
				refuse(ctx, 409, "sold_out", "")
			})},
			rules: []string{ruleSumAlways, ruleNegative, ruleHeld, ruleCurrent},
			text:  "want 0, got -1",
		},
		"has another stock than asked for": {
			shop: &shop{onOrder: onNth(50, func(s *shop, ctx *fasthttp.RequestCtx) {
				s.stock.Initial = 21
				refuse(ctx, 409, "sold_out", "")
			})},
			rules: []string{ruleSumAlways, ruleInitial, ruleSum},
			text:  "want 20, got 21",
		},
		"undersells": {
			shop: &shop{onOrder: func(_ *shop, ctx *fasthttp.RequestCtx, n int) bool {
				if n <= 18 {
					return false
				}
				refuse(ctx, 409, "sold_out", "")
				return true
			}},
			rules: []string{ruleUndersold},
			text:  "got 2 left after 32 sold_out",
		},
		"refuses a first order as a second": {
			shop:  &shop{onOrder: onNth(30, func(_ *shop, ctx *fasthttp.RequestCtx) { refuse(ctx, 409, "duplicate_order", "") })},
			rules: []string{ruleRefusals},
			text:  "want sold_out 29, got duplicate_order 1, sold_out 29",
		},
		"takes a unit for nobody": {
			shop: &shop{onOrder: onNth(5, func(s *shop, ctx *fasthttp.RequestCtx) {
				s.place()
				refuse(ctx, 503, "overloaded", "")
			})},
			rules: []string{ruleSold, ruleCurrent, ruleUndersold},
			text:  "soldStock = orders confirmed: want 19, got 20",
		},
	})
}

func TestRushFindsWrongOrders(t *testing.T) {
	checkAll(t, map[string]wrongShop{
		"loses an order": {
			shop:  &shop{onOrder: onNth(7, func(s *shop, ctx *fasthttp.RequestCtx) { accept(ctx, s.place()); delete(s.orders, "order-7") })},
			rules: []string{ruleFound},
			text:  "want 20, got 19, not order-7",
		},
		"gives an id twice": {
			shop: &shop{onOrder: onNth(9, func(s *shop, ctx *fasthttp.RequestCtx) {
				s.place()
				s.arrived--
				accept(ctx, "order-8")
				s.arrived++
			})},
			rules: []string{ruleDistinct, ruleKept}, // one of the two is told of another's order
			text:  "want 20 ids, got 19 ids, twice such as order-8",
		},
		"lets the ledger refuse an order": {
			shop: &shop{onLookup: func(id string, _ int, o *shopOrder) {
				if id == "order-3" {
					o.Status = "failed"
				}
			}},
			rules: []string{ruleKept},
			text:  "want 20, got 19, not order-3",
		},
		"books an order on another product": {
			shop: &shop{onLookup: func(id string, _ int, o *shopOrder) {
				if id == "order-4" {
					o.Product = "other"
				}
			}},
			rules: []string{ruleKept},
			text:  "want 20, got 19, not order-4",
		},
		"books orders on another buyer": {
			shop: &shop{onOrder: func(s *shop, ctx *fasthttp.RequestCtx, n int) bool {
				if n <= 17 || s.stock.Current == 0 {
					return false
				}
				s.wanted.UserID = "somebody-else"
				accept(ctx, s.place())
				return true
			}},
			rules: []string{ruleKept},
			text:  "want 20, got 17, not order-",
		},
		"has another row": {
			shop:  &shop{onCounts: func(counts map[string]int64) { counts["confirmedOrders"] += counts["confirmedOrders"] / 20 }},
			wait:  300 * time.Millisecond,
			rules: []string{ruleCounts},
			text:  "want confirmed 20, got confirmed 21 (does someone else order? --shared)",
		},
		"counts a row in another state": {
			shop: &shop{onCounts: func(counts map[string]int64) {
				if counts["confirmedOrders"] > 0 {
					counts["confirmedOrders"]--
					counts["failedOrders"]++
				}
			}},
			wait:  300 * time.Millisecond,
			rules: []string{ruleCounts},
			text:  "want confirmed 20, got confirmed 19, failed 1",
		},
		"leaves an order out of its buyer's list": {
			shop: &shop{onList: func(_ string, list []shopOrder) []shopOrder {
				return slices.DeleteFunc(list, func(o shopOrder) bool { return o.OrderID == "order-5" })
			}},
			rules: []string{ruleLists},
			text:  "has not order-5",
		},
		"shows an order to whom it was refused": {
			shop: &shop{onList: func(_ string, list []shopOrder) []shopOrder {
				if len(list) == 0 {
					return []shopOrder{{OrderID: "ghost"}}
				}
				return list
			}},
			rules: []string{ruleLists},
			text:  "has 1 orders, such as ghost",
		},
		"shows an order to who came twice and got none": {
			shop: &shop{onList: func(_ string, list []shopOrder) []shopOrder {
				if len(list) == 0 {
					return []shopOrder{{OrderID: "ghost"}}
				}
				return list
			}},
			sale:  "duplicates",
			rules: []string{ruleLists},
			text:  "has 1 orders, such as ghost",
		},
		"never reaches the ledger": {
			shop:  &shop{onLookup: func(id string, _ int, o *shopOrder) { o.Durable = id != "order-2" }},
			wait:  time.Second,
			rules: []string{ruleDurable},
			text:  "want 20 within 1s, got 19, not order-2",
		},
	})
}

// TestBuyersWhoAreAskedAreAnyOfThem: the first hundred have what they bought in their lists, and nobody else.
func TestBuyersWhoAreAskedAreAnyOfThem(t *testing.T) {
	s := &shop{onList: func(_ string, list []shopOrder) []shopOrder {
		return slices.DeleteFunc(list, func(o shopOrder) bool {
			nth, err := strconv.Atoi(strings.TrimPrefix(o.OrderID, "order-"))
			return err != nil || nth > buyersKept
		})
	}}
	o := small(s.open(t))
	o.Units, o.Buyers = 5*buyersKept, 6*buyersKept
	_, err := Run(t.Context(), o)
	var violation *Violation
	require.ErrorAs(t, err, &violation)
	assert.Equal(t, []string{ruleLists}, rulesOf(violation.Broken))
}

func TestChooseGivesEachTheSameChance(t *testing.T) {
	orders := make([]order, 1000)
	for i := range orders {
		orders[i].buyer = int64(i)
	}
	times := make([]int, len(orders))
	for seed := range uint64(500) {
		chosen := choose(orders, seed)
		for i := range chosen {
			times[chosen[i].buyer]++
		}
	}
	assert.Equal(t, choose(orders, 7), choose(orders, 7), "the seed decides")
	assert.Greater(t, slices.Min(times), 10, "of 500 draws of a tenth, 50 expected")
	assert.Less(t, slices.Max(times), 100)
	assert.Equal(t, orders[:3], choose(orders[:3], 1), "fewer are all asked")
}
