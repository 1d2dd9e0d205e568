package bench

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

// small is a sale of 20 units to 50 buyers.
func small(target string) Options {
	return Options{
		Target: target, AdminToken: adminToken, Buyers: 50, Units: 20, Connections: 4,
		Timeout: 10 * time.Second, LedgerWait: 10 * time.Second,
	}
}

func TestRushSellsExactly(t *testing.T) {
	s := &shop{}
	o := small(s.open(t))
	var shown bytes.Buffer
	o.Out = &shown

	report, err := Run(t.Context(), o)

	require.NoError(t, err)
	assert.True(t, report.Proven)
	assert.Equal(t, []Breach{}, report.Violations, "a list in JSON too")
	assert.EqualValues(t, 20, report.Accepted)
	assert.Equal(t, map[string]int64{"sold_out": 30}, report.Refused)
	assert.Empty(t, report.Failed)
	assert.Equal(t, Stock{Initial: 20, Sold: 20}, report.Stock)
	assert.EqualValues(t, 20, report.Durable)
	assert.Equal(t, "sold exactly: 20 of 20, nothing lost, nothing twice (each order looked up; --rows reads every row)", report.Verdict())
	assert.InEpsilon(t, 50/report.Seconds, report.RequestsPerSecond, 1e-9)
	assert.InEpsilon(t, 20/report.Seconds, report.AcceptedPerSecond, 1e-9)
	assert.Positive(t, report.Latency.P50Us)
	assert.GreaterOrEqual(t, report.Latency.MaxUs, report.Latency.P99Us)
	assert.Len(t, s.users, 50, "every buyer is another user")
	assert.Len(t, s.looked, 20, "every accepted order is looked up")
	assert.Regexp(t, `^rush: [\d,]+/s  accepted 20  refused 30  failed 0\nledger: 20 of 20\n$`, shown.String())
	assert.Equal(t, Moment{Seconds: report.LagAtEnd.Seconds, LagOrders: 3, LagSeconds: 0.25}, report.LagAtEnd)
	require.GreaterOrEqual(t, len(report.Timeline), 2, "also of a sale that is over in a moment")
	assert.Equal(t, Moment{Left: 20, LagOrders: 3, LagSeconds: 0.25}, report.Timeline[0], "before the first order")
	for _, c := range report.Claims {
		assert.True(t, c.Holds, c.String())
	}
}

func TestRushSellsToAllWhenThereIsEnough(t *testing.T) {
	s := &shop{}
	o := small(s.open(t))
	o.Buyers = 10
	report, err := Run(t.Context(), o)
	require.NoError(t, err)
	assert.Equal(t, "sold exactly: 10 of 20, nothing lost, nothing twice (each order looked up; --rows reads every row)", report.Verdict())
	assert.Equal(t, Stock{Initial: 20, Current: 10, Sold: 10}, report.Stock)
}

func TestRushUsesAFreshProduct(t *testing.T) {
	s := &shop{}
	o := small(s.open(t))
	first, err := Run(t.Context(), o)
	require.NoError(t, err)
	second, err := Run(t.Context(), o)
	require.NoError(t, err)
	assert.Regexp(t, `^bench-\d+-[0-9a-f]{8}$`, first.Product)
	assert.NotEqual(t, first.Product, second.Product)
}

func TestRushWaitsForTheLedger(t *testing.T) {
	s := &shop{onLookup: func(_ string, looked int, o *shopOrder) { o.Durable = looked >= 3 }}
	report, err := Run(t.Context(), small(s.open(t)))
	require.NoError(t, err)
	assert.EqualValues(t, 20, report.Durable)
	assert.Len(t, s.looked, 20)
	for id, looked := range s.looked {
		assert.Equal(t, 3, looked, "lookups of %s", id)
	}
}

func TestRushCountsFailuresApart(t *testing.T) {
	s := &shop{onOrder: func(_ *shop, ctx *fasthttp.RequestCtx, n int) bool {
		switch {
		case n <= 3:
			refuse(ctx, 503, "overloaded", "")
		case n == 4:
			ctx.SetStatusCode(429)
		default:
			return false
		}
		return true
	}}
	report, err := Run(t.Context(), small(s.open(t)))
	require.NoError(t, err)
	assert.Equal(t, map[string]int64{"503 overloaded": 3, "429": 1}, report.Failed)
	assert.EqualValues(t, 20, report.Accepted)
	assert.EqualValues(t, 26, report.Refused["sold_out"])
	assert.Zero(t, report.Unresolved, "both are definite")
	assert.Equal(t, "sold exactly: 20 of 20, nothing lost, nothing twice (each order looked up; --rows reads every row); failed requests: 4", report.Verdict())
}

func TestRushWithoutAnySale(t *testing.T) {
	s := &shop{onOrder: func(_ *shop, ctx *fasthttp.RequestCtx, _ int) bool {
		refuse(ctx, 503, "unavailable", "")
		ctx.SetBodyString(`{"code":"unavailable","detail":"no store"}`)
		return true
	}}
	report, err := Run(t.Context(), small(s.open(t)))
	require.ErrorIs(t, err, ErrNoSale)
	require.ErrorContains(t, err, "503 unavailable 50 (503 unavailable: no store)")
	assert.False(t, report.Proven)
	assert.Equal(t, "NOT PROVEN: "+err.Error(), report.Verdict())
	assert.True(t, report.Begun())
}

func TestRushNeedsTheAdminToken(t *testing.T) {
	s := &shop{}
	o := small(s.open(t))
	o.AdminToken = "wrong"
	_, err := Run(t.Context(), o)
	require.ErrorContains(t, err, "status 403 forbidden")
	assert.Empty(t, s.users, "nobody may order what does not exist")
}

func TestRushWithoutAServer(t *testing.T) {
	o := small("http://127.0.0.1:1")
	report, err := Run(t.Context(), o)
	require.ErrorContains(t, err, "connection refused")
	assert.False(t, report.Begun())
}

// TestRushAtASilentServer: what is not measured is bounded by the timeout, too, and so is a handshake.
func TestRushAtASilentServer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			time.AfterFunc(10*time.Second, func() { _ = c.Close() }) // who still waits then hears another end
		}
	}()
	for _, scheme := range []string{"http://", "https://"} {
		o := small(scheme + ln.Addr().String())
		o.Timeout = 50 * time.Millisecond
		report, err := Run(t.Context(), o)
		require.ErrorContains(t, err, "POST "+o.Target+"/orders: ")
		require.ErrorContains(t, err, "timeout")
		assert.False(t, report.Begun())
	}
}

// TestRushThatIsSentElsewhere: nothing is followed, for a POST would become something else on the way.
func TestRushThatIsSentElsewhere(t *testing.T) {
	s := &shop{answer: func(_ *shop, ctx *fasthttp.RequestCtx) bool {
		ctx.Redirect("https://shop.example"+string(ctx.Path()), 301)
		return true
	}}
	_, err := Run(t.Context(), small(s.open(t)))
	require.ErrorContains(t, err, `status 301 to "https://shop.example/`)
}

func TestRushEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &shop{onOrder: func(_ *shop, _ *fasthttp.RequestCtx, n int) bool {
		if n == 10 {
			cancel()
		}
		return false
	}}
	report, err := Run(ctx, small(s.open(t)))
	require.ErrorIs(t, err, context.Canceled)
	require.Regexp(t, `^interrupted after \d+\.\d s$`, err.Error())
	assert.False(t, report.Proven)
	assert.False(t, report.StockKnown())
	assert.Equal(t, "NOT PROVEN: "+err.Error(), report.Verdict())
	assert.GreaterOrEqual(t, report.Accepted, int64(10))
	assert.Less(t, s.arrived, 20, "who has not ordered yet stays away")
}

func TestRushRefusesOptions(t *testing.T) {
	tests := map[string]func(*Options){
		"no target":            func(o *Options) { o.Target = "" },
		"target without http":  func(o *Options) { o.Target = "127.0.0.1:3000" },
		"product for a script": func(o *Options) { o.Product = `a"b` },
		"another scenario":     func(o *Options) { o.Scenario = "war" },
		"product too long":     func(o *Options) { o.Product = strings.Repeat("x", maxProductLen+1) },
		"odd durability":       func(o *Options) { o.Durability = `a"` },
		"token with a line":    func(o *Options) { o.Token = "a\r\nb" },
		"too many products":    func(o *Options) { o.Products = maxProducts + 1 },
		"time backwards":       func(o *Options) { o.Duration = -1 },
		"too many buyers":      func(o *Options) { o.Buyers = maxBuyers + 1 },
		"too many units":       func(o *Options) { o.Units = maxUnits + 1 },
		"odd shares":           func(o *Options) { o.Zipf = -1 },
		"too many connections": func(o *Options) { o.Connections = 10_001 },
		"holds of no holds":    func(o *Options) { o.HoldSeconds = 5 },
		"shares of one":        func(o *Options) { o.Zipf = 1 },
		"twice for a time":     func(o *Options) { o.Scenario, o.Duration = "duplicates", time.Second },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			o := small("http://127.0.0.1:1")
			change(&o)
			_, err := Run(t.Context(), o)
			require.ErrorIs(t, err, ErrOptions)
			if !strings.Contains(name, "target") {
				require.ErrorIs(t, o.Check(), ErrOptions, "before a service is started")
			}
		})
	}
	require.NoError(t, (&Options{}).Check())
}

func TestDefaults(t *testing.T) {
	for _, scenario := range Scenarios() {
		o := Options{Target: "http://localhost", Scenario: scenario.Name}.withDefaults(&scenario)
		require.NoError(t, o.check())
		assert.Equal(t, 64, o.Connections)
		assert.Equal(t, 5*time.Second, o.Timeout)
		assert.Equal(t, 30*time.Second, o.LedgerWait)
		assert.Positive(t, o.Units)
		assert.True(t, o.Duration > 0 || o.Visits > 0, "%s ends", scenario.Name)
	}
	rush, known := scenarioOf("")
	require.True(t, known)
	o := Options{}.withDefaults(rush)
	assert.EqualValues(t, 5000, o.Buyers)
	assert.EqualValues(t, 5000, o.Visits)
	assert.EqualValues(t, 1000, o.Units)
}

// TestListsOfBuyersWhoComeAgainAndAgain: an order that is on a later page of its buyer's list is there.
func TestListsOfBuyersWhoComeAgainAndAgain(t *testing.T) {
	s := &shop{onOrder: func(s *shop, ctx *fasthttp.RequestCtx, _ int) bool {
		accept(ctx, s.place())
		return true
	}}
	o := small(s.open(t))
	o.Buyers, o.Visits, o.Units = 2, 5*listLimit, 5*listLimit
	report, err := Run(t.Context(), o)
	require.NoError(t, err)
	assert.True(t, report.Proven)
}
