package bench

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"flashsale/bench/load"
)

// sample is a sale of a scenario that is over in a moment.
func sample(target, scenario string) Options {
	o := small(target)
	o.Scenario = scenario
	switch scenario {
	case "soldout":
		o.Units, o.Duration, o.Buyers = 1, 100*time.Millisecond, 0
	case "sustained", "mixed":
		o.Units, o.Duration, o.Buyers = 0, 100*time.Millisecond, 0
	case "holds":
		o.HoldSeconds, o.Units = 1, 100
	case "many-products":
		o.Products, o.Units, o.Buyers = 5, 3, 60
	}
	return o
}

func TestAllScenariosSellExactly(t *testing.T) {
	for _, scenario := range Scenarios() {
		t.Run(scenario.Name, func(t *testing.T) {
			t.Parallel()
			s := &shop{}
			report, err := Run(t.Context(), sample(s.open(t), scenario.Name))
			require.NoError(t, err)
			assert.True(t, report.Proven)
			assert.Contains(t, report.Verdict(), "sold exactly")
			assert.Len(t, report.Ops, len(scenario.ops))
			for i := range report.Ops {
				answers := report.Ops[i].Accepted + load.Total(report.Ops[i].Refused)
				assert.Positive(t, answers, report.Ops[i].Name)
			}
			assert.Empty(t, report.Failed)
			assert.Positive(t, report.Placed)
			assert.Equal(t, report.Placed, int64(len(s.orders)))
		})
	}
}

func TestSalesFollowTheirSeed(t *testing.T) {
	buyers := func(seed uint64) []string {
		s := &shop{}
		o := sample(s.open(t), "rush")
		o.Seed, o.Connections, o.Product = seed, 1, "same"
		_, err := Run(t.Context(), o)
		require.NoError(t, err)
		var who []string
		for n := 1; n <= 20; n++ {
			who = append(who, s.orders["order-"+string(rune('0'+n/10))+string(rune('0'+n%10))].User)
		}
		return who
	}
	assert.Equal(t, buyers(1), buyers(1))
}

func TestSaleByScheduleReportsItsLateness(t *testing.T) {
	s := &shop{}
	o := sample(s.open(t), "rush")
	o.Rate = 1000
	report, err := Run(t.Context(), o)
	require.NoError(t, err)
	require.NotNil(t, report.Late)
	assert.Positive(t, report.Late.MaxUs)
	assert.GreaterOrEqual(t, report.Seconds, 0.049, "50 visits, a thousand a second")
}

// TestManyOrdersAreProvenByCountsAndSamples: what is looked up is bounded.
func TestManyOrdersAreProvenByCountsAndSamples(t *testing.T) {
	s := &shop{}
	o := sample(s.open(t), "rush")
	o.Lookups = 5
	report, err := Run(t.Context(), o)
	require.NoError(t, err)
	assert.Len(t, s.looked, 5)
	scopes := map[string]string{}
	for _, c := range report.Claims {
		scopes[c.Rule] = c.Scope
	}
	assert.Equal(t, "5 of 20 orders, chosen by chance and looked up one by one", scopes[ruleFound])
	assert.Equal(t, "all 20 orders", scopes[ruleDistinct])
	assert.Equal(t, "all 20 orders", scopes[ruleCounts])
	assert.Equal(t, "the product", scopes[ruleSold])
}

func TestSharedServiceIsNotCounted(t *testing.T) {
	s := &shop{onCounts: func(counts map[string]int64) { counts["confirmedOrders"] += 7 }}
	o := sample(s.open(t), "rush")
	o.Shared = true
	report, err := Run(t.Context(), o)
	require.NoError(t, err)
	for _, c := range report.Claims {
		assert.NotEqual(t, ruleCounts, c.Rule)
	}
}

// What an earlier sale left for the ledger to take is waited for: it would be counted as this sale's.
func TestAnEarlierSaleIsDrainedFirst(t *testing.T) {
	left, earlier := int64(3), int64(0)
	s := &shop{
		onCounts: func(counts map[string]int64) { counts["confirmedOrders"] += earlier },
		waiting: func() int64 {
			if left > 0 {
				left, earlier = left-1, earlier+1
			}
			return left
		},
	}
	report, err := Run(t.Context(), sample(s.open(t), "rush"))
	require.NoError(t, err)
	require.True(t, report.Proven)
}

func TestABacklogThatStaysIsTold(t *testing.T) {
	s := &shop{waiting: func() int64 { return 1 }}
	o := sample(s.open(t), "rush")
	o.LedgerWait = 10 * time.Millisecond
	report, err := Run(t.Context(), o)
	require.ErrorIs(t, err, errEarlierOrders)
	require.False(t, report.Begun())
	o.Shared = true
	_, err = Run(t.Context(), o)
	require.NoError(t, err)
}

// TestTokensAreSent to the routes of buyers and of admins, each its own.
func TestTokensAreSent(t *testing.T) {
	s := &shop{answer: func(_ *shop, ctx *fasthttp.RequestCtx) bool {
		token := string(ctx.Request.Header.Peek("Authorization"))
		path := string(ctx.Path())
		isAdmin := path == "/orders/admin/metrics" || ctx.IsPost() && path == "/inventory"
		public := ctx.IsGet() && len(path) > 10 && (path[:10] == "/inventory" || path == "/monitoring/health")
		if isAdmin && token == "Bearer "+adminToken || !isAdmin && token == "Bearer buyer" || public {
			return false
		}
		refuse(ctx, 401, "unauthorized", "")
		return true
	}}
	url := s.open(t)
	for _, scenario := range []string{"rush", "holds", "mixed"} {
		o := sample(url, scenario)
		o.Token = "buyer"
		_, err := Run(t.Context(), o)
		require.NoError(t, err, scenario)
	}
}

func TestScenariosFindTheirDamage(t *testing.T) {
	twice := func(s *shop, ctx *fasthttp.RequestCtx, _ int) bool { // nobody remembers the buyer, nor the key
		if s.stock.Current == 0 {
			return false
		}
		accept(ctx, s.place())
		return true
	}
	steal := func(s *shop, ctx *fasthttp.RequestCtx, n int) bool { // takes a unit for nobody
		if n == 4 {
			s.place()
			refuse(ctx, 503, "overloaded", "")
		}
		return n == 4
	}
	checkAll(t, map[string]wrongShop{
		"soldout, oversold": {
			sale: "soldout", rules: []string{ruleOversold, ruleSold, ruleCurrent}, text: "want at most 1, got 2",
			shop: &shop{onOrder: func(s *shop, ctx *fasthttp.RequestCtx, n int) bool {
				if n == 30 {
					accept(ctx, s.place())
					s.stock.Current, s.stock.Sold = 0, 1
				}
				return n == 30
			}},
		},
		"sustained, a sale too many": {
			sale: "sustained", rules: []string{ruleSold, ruleCurrent}, text: "soldStock", shop: &shop{onOrder: steal},
		},
		"many-products, a sale too many": {
			sale: "many-products", rules: []string{ruleSold, ruleCurrent, ruleUndersold}, text: "-", shop: &shop{onOrder: steal},
		},
		"holds, confirmed and given back": {
			sale: "holds", wait: 300 * time.Millisecond, rules: []string{ruleSold, ruleCurrent, ruleKept}, text: "soldStock",
			shop: &shop{onChange: func(s *shop, ctx *fasthttp.RequestCtx, o *shopOrder, verb string) bool {
				if verb == "confirm" {
					s.end(o.OrderID, "expired")
					reply200(ctx, o)
					return true
				}
				return false
			}},
		},
		"holds, never given back": {
			sale: "holds", wait: 300 * time.Millisecond, rules: []string{ruleHeld, ruleCurrent, ruleDurable}, text: "no unit stays held",
			shop: &shop{onOrder: keepHeld},
		},
		"holds, cancelled and sold": {
			sale: "holds", wait: 300 * time.Millisecond, rules: []string{ruleSold, ruleCurrent, ruleKept}, text: "soldStock",
			shop: &shop{onChange: func(s *shop, ctx *fasthttp.RequestCtx, o *shopOrder, verb string) bool {
				if verb == "cancel" {
					s.end(o.OrderID, "confirmed")
					reply200(ctx, o)
				}
				return verb == "cancel"
			}},
		},
		"duplicates, everybody buys twice": {
			sale: "duplicates", rules: []string{ruleOnce, ruleKey}, text: "otherwise", shop: &shop{onOrder: twice},
		},
		"duplicates, a replay that does not say so": {
			sale: "duplicates", rules: []string{ruleReplayed}, text: "otherwise",
			shop: &shop{onOrder: func(s *shop, ctx *fasthttp.RequestCtx, _ int) bool {
				id, replay := s.keys[string(ctx.Request.Header.Peek("Idempotency-Key"))]
				if replay {
					accept(ctx, id)
				}
				return replay
			}},
		},
		"mixed, an order that can't be read at once": {
			sale: "mixed", rules: []string{ruleReadable}, text: "otherwise",
			shop: &shop{onLookup: func(_ string, looked int, o *shopOrder) {
				if looked == 1 {
					o.Status = "pending"
				}
			}},
		},
	})
}

// keepHeld makes holds that do not end for an hour.
func keepHeld(s *shop, ctx *fasthttp.RequestCtx, _ int) bool {
	s.wanted.HoldSeconds = 3600
	accept(ctx, s.place())
	return true
}
