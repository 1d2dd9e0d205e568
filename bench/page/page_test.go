package page

import (
	"encoding/xml"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"flashsale/bench"
	"flashsale/bench/load"
)

func latencySample(p50 int64) bench.Latency {
	l := bench.Latency{P50Us: p50, P95Us: 3 * p50, P99Us: 5 * p50, P999Us: 9 * p50, P9999Us: 20 * p50, MaxUs: 21 * p50}
	for i := range bench.CurvePercentiles {
		l.Curve = append(l.Curve, p50/2*int64(i+1))
	}
	return l
}

// sampleReport is of a sale with everything that can be shown.
func sampleReport() *bench.Report {
	r := &bench.Report{
		Scenario: "rush", About: "a crowd for a small stock", Target: "http://127.0.0.1:3000", Started: time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC),
		Settings:    bench.Settings{Buyers: 5000, Products: 3, Units: 1000, Connections: 64, Rate: 500, Zipf: 1, HoldSeconds: 2, Seed: 1},
		Environment: bench.Environment{CPU: "AMD EPYC", Cores: 2, Redis: "Redis 7.0.15"},
		Accepted:    1000, Refused: map[string]int64{"sold_out": 3990}, Failed: map[string]int64{"503 overloaded": 10},
		AcceptedPerSecond: 500, RequestsPerSecond: 2500, Seconds: 2, WarmupSeconds: 0.5, SlotSeconds: 0.02, Latency: latencySample(900),
		Late: &bench.Lateness{Latency: latencySample(60), Visits: 4000, Dropped: 4}, Proven: true,
		LagAtEnd: bench.Moment{Seconds: 2.5, LagOrders: 1234, LagSeconds: 0.25}, Stock: bench.Stock{Initial: 3000, Current: 2000, Sold: 1000},
		Claims: []bench.Claim{
			{Rule: "soldStock = orders confirmed", Scope: "the product", Holds: true},
			{Rule: "every order has an id of its own", Scope: "all 1,000 orders", Holds: true},
			{Rule: "no stock is below zero", Scope: "the product", Holds: true},
		},
	}
	r.Ops = []bench.OpReport{{
		Name: "order", Accepted: 1000, Refused: r.Refused, Failed: r.Failed, AcceptedLatency: latencySample(900), RefusedLatency: latencySample(90),
	}}
	for i := range 125 {
		r.Slots = append(r.Slots, load.Slot{Accepted: 10, Refused: 30, Failed: int64(i % 2)})
		r.Timeline = append(r.Timeline, bench.Moment{Seconds: float64(i) / 50, Left: int64(3000 - 8*i), Held: int64(i), LagOrders: int64(i % 7)})
	}
	return r
}

func render(t *testing.T, sections ...Section) string {
	t.Helper()
	p := Page{Title: "flashsale bench", Made: time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC), Sections: sections}
	var b strings.Builder
	require.NoError(t, p.Write(&b))
	return b.String()
}

var tags = regexp.MustCompile(`<[^>]*>`)

func plain(html string) string {
	return strings.Join(strings.Fields(tags.ReplaceAllString(html, " ")), " ")
}

func TestPageShowsTheVerdictFirst(t *testing.T) {
	text := plain(render(t, Sale(sampleReport())))
	verdict := strings.Index(text, "sold exactly: 1,000 of 3,000, nothing lost, nothing twice")
	require.Positive(t, verdict)
	assert.Less(t, verdict, strings.Index(text, "a crowd for a small stock"))
	for _, want := range []string{
		"500 /s", "1,234 orders at the end", "sold out 3,990 (79.8 %)", "503 overloaded 10 (0.2 %)", "99.99 %", "begun late by",
		"open: 500/s by schedule; begun late by 300 µs at p99; dropped 4", "warm-up", "held",
		"the product ", "all 1,000 orders every order has an id of its own",
	} {
		assert.Contains(t, text, want)
	}
	assert.Equal(t, 1, strings.Count(text, "the product "), "claims are gathered by what they were checked on")
}

func TestPageOfABrokenSale(t *testing.T) {
	r := sampleReport()
	r.Proven = false
	r.Claims[0].Holds = false
	r.Violations = []bench.Breach{{Rule: "soldStock = orders confirmed", Want: "1000", Got: "1001"}}
	html := render(t, Sale(r))
	assert.Contains(t, html, `class="verdict bad"`)
	assert.Contains(t, html, `<li class="bad">soldStock = orders confirmed</li>`)
	assert.Contains(t, plain(html), "NOT CORRECT: 1 broken")
	assert.Contains(t, plain(html), "want 1000, got 1001")
}

// TestPageOfAServiceElsewhere does not pass the bench's machine off as the service's.
func TestPageOfAServiceElsewhere(t *testing.T) {
	p := Page{Environment: bench.Environment{CPU: "AMD EPYC", Apart: true, Service: "not known from here"}}
	var b strings.Builder
	require.NoError(t, p.Write(&b))
	text := plain(b.String())
	assert.Contains(t, text, "· the bench on AMD EPYC")
	assert.Contains(t, text, "Where the bench ran, and what the service says of itself")
	assert.Contains(t, text, "Service not known from here")
}

// TestTilesSayWhoseLatencyTheyShow: refusals are answered sooner than orders are sold.
func TestTilesSayWhoseLatencyTheyShow(t *testing.T) {
	r := sampleReport()
	require.Equal(t, "refused orders too", latencyTile("p50", r, 900).Note)
	r.Refused = nil
	require.Equal(t, "orders", latencyTile("p50", r, 900).Note)
}

// TestPageOfAQuickSale: it is over between two looks, and is drawn to its end all the same.
func TestPageOfAQuickSale(t *testing.T) {
	r := sampleReport()
	r.Timeline = []bench.Moment{{Seconds: 0.001, Left: 3000}, {Seconds: 0.5, Left: 2000}}
	assert.Contains(t, string(stockLeft(r).SVG), ">2.5 s<", "the axis is that of the rates")
	r.Claims = []bench.Claim{{Rule: "no stock is below zero", Scope: "not checked", Skipped: true}}
	assert.Contains(t, render(t, Sale(r)), `<li class="skipped">no stock is below zero</li>`)
}

// TestPageOfWhatIsNotKnown says so, and why the sale was not proven.
func TestPageOfWhatIsNotKnown(t *testing.T) {
	r := sampleReport()
	r.Proven, r.Error, r.LagAtEnd, r.Stock = false, "stock of demo: connection refused", bench.Moment{}, bench.Stock{}
	r.Details = map[string]string{"503 overloaded": "the queue is full"}
	r.Late.Dropped, r.Stolen = 4000, 0.3
	text := plain(render(t, Sale(r)))
	for _, want := range []string{
		"NOT PROVEN: stock of demo: connection refused", "503 overloaded: the queue is full", "ledger behind – not known",
		"the schedule was not kept: 4,000 of 8,000 visits were dropped", "begun late by 4,000 2,000",
		"Host the host gave 30 % of",
	} {
		assert.Contains(t, text, want)
	}
}

// TestPageOfASaleOfWhichNobodyCanTell is not one of a sale that was proven.
func TestPageOfASaleOfWhichNobodyCanTell(t *testing.T) {
	r := sampleReport()
	r.Checked, r.Proven, r.Unresolved, r.Error = true, false, 2, "nobody can tell what became of 2 orders"
	s := Sale(r)
	assert.False(t, s.OK)
	assert.Contains(t, plain(render(t, s)), "NOT PROVEN: nobody can tell what became of 2 orders; sold ")
}

func TestPageOfSeveral(t *testing.T) {
	broken := sampleReport()
	broken.Scenario, broken.Proven = "holds", false
	html := render(t, Sale(sampleReport()), Sale(broken))
	assert.Contains(t, plain(html), "1 of 2 parts failed")
	assert.Contains(t, html, `href="#sale-holds"`)
	assert.Contains(t, html, `id="sale-holds"`)
	assert.Contains(t, plain(render(t, Sale(sampleReport()), Sale(sampleReport()))), "all 2 parts passed")
}

// TestPageNeedsNothingElse: it is read where there is no network, and it runs nothing.
func TestPageNeedsNothingElse(t *testing.T) {
	html := render(t, Sale(sampleReport()))
	for _, never := range []string{"<script", "<link", "<img", "<iframe", "@import", "url(", `src=`, `href="http`} {
		assert.NotContains(t, html, never)
	}
}

func TestPageEscapesWhatItShows(t *testing.T) {
	r := sampleReport()
	r.Scenario, r.Target = `<script>alert(1)</script>`, `"><b>`
	r.Ops[0].Name = "<i>op</i>"
	html := render(t, Sale(r))
	assert.NotContains(t, html, "<script")
	assert.NotContains(t, html, "<i>op")
}

var drawings = regexp.MustCompile(`(?s)<svg.*?</svg>`)

func TestDrawingsAreSound(t *testing.T) {
	endless := sampleReport()
	endless.Settings.Units = 1_000_000_000
	empty := &bench.Report{Scenario: "rush", Ops: []bench.OpReport{{Name: "order"}}, Slots: []load.Slot{{}}, SlotSeconds: 0.02}
	empty.Timeline = []bench.Moment{{}, {}}
	for name, r := range map[string]*bench.Report{"full": sampleReport(), "endless": endless, "empty": empty, "nothing": {}} {
		t.Run(name, func(t *testing.T) {
			for _, svg := range drawings.FindAllString(render(t, Sale(r)), -1) {
				require.NoError(t, xml.Unmarshal([]byte(svg), new(struct{})), svg)
				assert.NotRegexp(t, `NaN|Inf`, svg)
			}
		})
	}
}

func TestPageThatCannotBeWritten(t *testing.T) {
	require.ErrorIs(t, (&Page{}).Write(brokenPipe{}), errPipe)
	assert.False(t, (&Page{}).OK(), "nothing is no success")
}

var errPipe = errors.New("pipe is broken")

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errPipe }

func TestNumbersForPeople(t *testing.T) {
	for want, got := range map[string]string{
		"0": trim(0), "0.5": trim(0.5), "0.123": trim(0.1234), "12.3": trim(12.34), "1234": trim(1234), "41.2k": short(41234),
		"3M": short(3e6), "1G": short(1e9), "1,234,567": count(1_234_567), "-1,234": count(-1234), "99": count(99), "99.99 %": trimPercent(99.99),
	} {
		assert.Equal(t, want, got)
	}
	assert.Equal(t, []float64{0, 2.5, 5, 7.5, 10}, ticks(9, 4))
	assert.Equal(t, []float64{0, 1}, ticks(0, 4))
}
