package compare

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"flashsale/bench/load"
	"flashsale/bench/rival"
	"flashsale/internal/devstack/devtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }

// fronted is a rival behind a server of the test's own. Its name goes before the rival's.
type fronted struct {
	rival.Rival
	name string
	// cook, if set, changes what its books say.
	cook func(rival.Books) rival.Books
	// lie, if set, is what it answers whatever the rival says.
	lie int
	// failEvery, if set, is how often it answers that it is overloaded, and does nothing; every other: once in so many orders.
	failEvery int64
	// isShut sells nothing: whoever is not told that it is overloaded is told that all is sold.
	isShut bool
	open   atomic.Int64
}

func (f *fronted) Name() string { return f.name }

func (f *fronted) Open(context.Context) (Shop, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &frontedShop{fronted: f, url: "http://" + ln.Addr().String(), ended: make(chan error, 1)}
	s.server = &fasthttp.Server{Handler: s.answer, CloseOnShutdown: true}
	go func() { s.ended <- s.server.Serve(ln) }()
	f.open.Add(1)
	return s, nil
}

type frontedShop struct {
	*fronted
	url    string
	server *fasthttp.Server
	ended  chan error
}

func (s *frontedShop) URL() string { return s.url }

func (s *frontedShop) Books(ctx context.Context, product string) (rival.Books, error) {
	books, err := s.Rival.Books(ctx, product)
	if s.cook != nil {
		books = s.cook(books)
	}
	return books, err
}

func (s *frontedShop) Close() error {
	s.open.Add(-1)
	return errors.Join(s.server.Shutdown(), <-s.ended)
}

var ids atomic.Int64

func (s *frontedShop) answer(ctx *fasthttp.RequestCtx) {
	var body struct {
		ProductID, UserID string
		Quantity          int64
	}
	if err := json.Unmarshal(ctx.PostBody(), &body); err != nil {
		ctx.SetStatusCode(400)
		return
	}
	n := ids.Add(1)
	switch {
	case s.failEvery > 0 && n%s.failEvery == 0:
		ctx.SetStatusCode(503)
		ctx.SetBodyString(`{"code":"overloaded"}`)
		return
	case s.isShut:
		ctx.SetStatusCode(409)
		ctx.SetBodyString(`{"code":"sold_out"}`)
		return
	}
	id := fmt.Sprintf("00000000-0000-4000-8000-%012d", n)
	err := s.Sell(ctx, &rival.Order{ID: id, Product: body.ProductID, User: body.UserID, Quantity: body.Quantity, At: time.Now()})
	ctx.SetStatusCode(201)
	ctx.SetBodyString(`{"orderId":"` + id + `"}`)
	if err != nil && s.lie == 0 {
		ctx.SetStatusCode(409)
		ctx.SetBodyString(`{"code":"sold_out"}`)
	}
}

func newScript(t *testing.T) rival.Rival {
	t.Helper()
	client, err := rival.Connect(devtest.SharedRedis(t))
	require.NoError(t, err)
	prefix := fmt.Sprintf("compare-%d", ids.Add(1))
	t.Cleanup(func() {
		require.NoError(t, rival.Clean(context.Background(), client, prefix))
		client.Close()
	})
	return rival.NewScript(client, prefix)
}

func small(who Contender, rivals ...Contender) Options {
	return Options{
		Engine: who, Rivals: rivals, Connections: 4, Rounds: 2, Duration: 20 * time.Millisecond, Warmup: 5 * time.Millisecond, Units: 30,
	}
}

func TestCompare(t *testing.T) {
	honest := &fronted{Rival: newScript(t), name: "honest"}
	forgetful := &fronted{Rival: newScript(t), name: "forgetful", cook: func(b rival.Books) rival.Books {
		b.Orders--
		b.Units--
		b.Left++
		return b
	}}
	generous := &fronted{Rival: newScript(t), name: "generous", lie: 201} // says yes to everybody
	var said strings.Builder
	o := small(honest, forgetful, generous)
	o.Out = &said
	report, err := Run(t.Context(), o)
	require.NoError(t, err)

	require.Len(t, report.Rows, 4)
	floor, first, second, third := report.Rows[0], report.Rows[1], report.Rows[2], report.Rows[3]
	assert.Equal(t, []Role{RoleFloor, RoleEngine, RoleRival, RoleRival}, []Role{floor.Role, first.Role, second.Role, third.Role})
	for _, row := range report.Rows {
		assert.Positive(t, row.AcceptedPerSecond, row.Name)
		assert.Positive(t, row.OfFloor, row.Name)
		assert.GreaterOrEqual(t, row.P99Us, row.P50Us, row.Name)
		assert.Len(t, row.Rates, 2)
		assert.Zero(t, row.Failed, row.Name)
		assert.Zero(t, row.LateP99Us, "there is no schedule to be late on")
	}
	assert.InDelta(t, 1, floor.OfFloor, 1e-9)
	assert.False(t, floor.SoldExactly, "it sells nothing")
	assert.Zero(t, first.EngineTimes)
	assert.Positive(t, second.EngineTimes)
	assert.True(t, first.SoldExactly, first.Wrong)
	assert.False(t, second.SoldExactly)
	assert.Len(t, second.Wrong, 3, "two rounds and the end")
	assert.False(t, third.SoldExactly)
	assert.Equal(t, []string{"60 orders accepted, 30 in the books", "60 accepted of 30 units, 0 failed"}, third.Wrong)
	assert.Contains(t, said.String(), "round 2 of 2: honest\n")
	assert.Zero(t, honest.open.Load()+forgetful.open.Load()+generous.open.Load(), "every shop is shut")
}

func TestWhoSellsNothingDoesNotSellExactly(t *testing.T) {
	shut := &fronted{Rival: newScript(t), name: "shut", isShut: true, failEvery: 2}
	idle := &fronted{Rival: newScript(t), name: "idle", failEvery: 1}
	report, err := Run(t.Context(), small(shut, &fronted{Rival: newScript(t), name: "honest"}, idle))
	require.NoError(t, err)
	require.Len(t, report.Rows, 4)
	engine, honest, nobody := report.Rows[1], report.Rows[2], report.Rows[3]
	assert.False(t, engine.SoldExactly)
	assert.Contains(t, engine.Wrong, "0 accepted of 30 units, 30 failed")
	assert.Contains(t, engine.Wrong, "30 refused as sold out, 30 left")
	assert.True(t, honest.SoldExactly, honest.Wrong)
	assert.False(t, nobody.SoldExactly)
	assert.Contains(t, nobody.Wrong, "nobody was sold anything of 30 units")
	assert.Contains(t, report.Verdict(), "NOT PROVEN")
}

// TestWhatFailsInTheEndProvesNothing of the engine; a rival's failures may have come for what is left.
func TestWhatFailsInTheEndProvesNothing(t *testing.T) {
	engine := &fronted{Rival: newScript(t), name: "engine", failEvery: 7}
	report, err := Run(t.Context(), small(engine, &fronted{Rival: newScript(t), name: "rival", failEvery: 7}))
	require.NoError(t, err)
	assert.False(t, report.Rows[1].SoldExactly)
	require.Len(t, report.Rows[1].Wrong, 1)
	assert.Regexp(t, `^30 accepted of 30 units, [89] failed$`, report.Rows[1].Wrong[0])
	assert.True(t, report.Rows[2].SoldExactly, report.Rows[2].Wrong)
}

// At a rate that is given nobody accepts more, and latencies count from the schedule.
func TestCompareAtARate(t *testing.T) {
	o := small(&fronted{Rival: newScript(t), name: "honest"})
	o.Rate, o.Duration = 200, 100*time.Millisecond
	report, err := Run(t.Context(), o)
	require.NoError(t, err)
	assert.InDelta(t, 200, report.Rate, 0)
	for _, row := range report.Rows {
		assert.Less(t, row.AcceptedPerSecond, 250.0, row.Name)
		assert.Positive(t, row.P99TimesFloor, row.Name)
		assert.Positive(t, row.LateP99Us, row.Name)
		assert.LessOrEqual(t, row.LateP99Us, row.P99Us, "%s: it is part of the latency", row.Name)
	}
	assert.InDelta(t, 1, report.Rows[0].P99TimesFloor, 1e-9)
	assert.True(t, report.Rows[1].SoldExactly, report.Rows[1].Wrong)
}

// TestFloorSellsNothing asks it for its books, which it has none of.
func TestFloorSellsNothing(t *testing.T) {
	shop, err := floor{}.Open(t.Context())
	require.NoError(t, err)
	result, err := order(t.Context(), shop, "shoe", load.Plan{Connections: 2, Visits: 20})
	require.NoError(t, err)
	assert.EqualValues(t, 20, result.Ops[0].Counts.Accepted)
	books, err := shop.Books(t.Context(), "shoe")
	require.NoError(t, err)
	assert.Equal(t, rival.Books{}, books)
	require.NoError(t, shop.Close())
}

// broken can't be opened.
type broken struct{ fronted }

var errBroken = errors.New("closed today")

func (*broken) Open(context.Context) (Shop, error) { return nil, errBroken }

func TestCompareThatBreaksOff(t *testing.T) {
	report, err := Run(t.Context(), small(&fronted{Rival: newScript(t), name: "honest"}, &broken{fronted{name: "broken"}}))
	require.ErrorIs(t, err, errBroken)
	require.ErrorContains(t, err, "broken: open")
	require.Len(t, report.Rows, 3)
	assert.Len(t, report.Rows[1].Rates, 1, "what came before is reported")
	assert.False(t, report.Rows[1].SoldExactly, "nothing is proven")
	assert.Contains(t, report.Verdict(), "NOT PROVEN")
}

func TestAudit(t *testing.T) {
	accepted := func(n, unknown int64) *load.Counts { return &load.Counts{Accepted: n, Unknown: unknown} }
	refused := func(n int64) *load.Counts { return &load.Counts{Accepted: n, Refused: map[string]int64{soldOut: 4}} }
	tests := map[string]struct {
		answered *load.Counts
		books    rival.Books
		wrong    string
	}{
		"exact":           {accepted(3, 0), rival.Books{Left: 7, Orders: 3, Units: 3}, ""},
		"unknown, placed": {accepted(2, 1), rival.Books{Left: 7, Orders: 3, Units: 3}, ""},
		"unknown, not":    {accepted(3, 1), rival.Books{Left: 7, Orders: 3, Units: 3}, ""},
		"lost":            {accepted(4, 0), rival.Books{Left: 7, Orders: 3, Units: 3}, "4 orders accepted, 3 in the books"},
		"twice":           {accepted(2, 0), rival.Books{Left: 7, Orders: 3, Units: 3}, "3 orders in the books, 2 accepted and 0 without an answer"},
		"units":           {accepted(3, 0), rival.Books{Left: 8, Orders: 3, Units: 2}, "2 units sold by 3 orders of one"},
		"undersold":       {accepted(3, 0), rival.Books{Left: 6, Orders: 3, Units: 3}, "6 left and 3 sold of 10"},
		"sold out":        {refused(10), rival.Books{Left: 0, Orders: 10, Units: 10}, ""},
		"not sold out":    {refused(9), rival.Books{Left: 1, Orders: 9, Units: 9}, "4 refused as sold out, 1 left"},
		"nothing sold":    {accepted(0, 1), rival.Books{Left: 10}, "nobody was sold anything of 10 units"},
		"oversold":        {accepted(11, 0), rival.Books{Left: -1, Orders: 11, Units: 11}, "-1 left and 11 sold of 10"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { assert.Equal(t, tt.wrong, audit(10, tt.answered, tt.books)) })
	}
}

func TestOptionsThatCannotBe(t *testing.T) {
	who := &fronted{name: "nobody"}
	for name, o := range map[string]Options{
		"nobody to compare":                     {},
		"--rounds 101: from 1 to 100":           {Engine: who, Rounds: 101},
		"--rate -1: from 0.001 to 10000000":     {Engine: who, Rate: -1},
		"--duration 1h0m0s: up to 10m0s":        {Engine: who, Duration: time.Hour},
		"a warm-up of 1h0m0s: up to 10m0s":      {Engine: who, Warmup: time.Hour},
		"--units 2000000: from 1 to 1000000":    {Engine: who, Units: 2_000_000},
		"--connections 100000: from 1 to 10000": {Engine: who, Connections: 100_000},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Run(t.Context(), o)
			require.ErrorContains(t, err, name)
			if o.Engine != nil {
				require.ErrorContains(t, o.Check(), name)
			}
		})
	}
	require.NoError(t, (&Options{}).Check())
}

func TestTable(t *testing.T) {
	report := Report{Connections: 64, Rounds: 5, RoundSeconds: 1.5, Units: 300, Rows: []Row{
		{Name: "floor: answers, sells nothing", Role: RoleFloor, AcceptedPerSecond: 91_066, P50Us: 450, P99Us: 1510, OfFloor: 1},
		{Name: "flashsale", Role: RoleEngine, AcceptedPerSecond: 40_000, P50Us: 1230, P99Us: 4400, OfFloor: 0.44, SoldExactly: true},
		{Name: "one EVALSHA per order", Role: RoleRival, AcceptedPerSecond: 25_000, P50Us: 2310, P99Us: 5570, OfFloor: 0.27, EngineTimes: 1.6, SoldExactly: true},
		{Name: "a lock", Role: RoleRival, AcceptedPerSecond: 350, P50Us: 3100, P99Us: 922_080, OfFloor: 0.0038, EngineTimes: 114.3, Failed: 12, SoldExactly: true},
	}}
	wrong := report
	wrong.Rows = append([]Row{}, report.Rows...)
	wrong.Rows[1].SoldExactly, wrong.Rows[1].Wrong = false, []string{"7 left and 4 sold of 10"}
	behind := report
	behind.Rows = append([]Row{}, report.Rows...)
	behind.Rows[2].EngineTimes = 0.9
	stopped := report // in most rounds, which leaves no ratio
	stopped.Rows = append([]Row{}, report.Rows...)
	stopped.Rows[1].AcceptedPerSecond, stopped.Rows[2].EngineTimes, stopped.Rows[3].EngineTimes = 0, 0, 0
	fewer := report // rivals that sold
	fewer.Rows = append([]Row{}, report.Rows...)
	fewer.Rows[3].AcceptedPerSecond, fewer.Rows[3].EngineTimes, fewer.Rows[3].SoldExactly = 0, 0, false
	fewer.Rows[3].Wrong = []string{"nobody was sold anything of 300 units"}
	paced := report
	paced.Rate, paced.Rows = 15_000, append([]Row{}, report.Rows...)
	for i, times := range []float64{1, 2.91, 3.69, 610.6} {
		paced.Rows[i].AcceptedPerSecond, paced.Rows[i].P99TimesFloor = 15_000, times
	}
	paced.Rows[1].LateP99Us = 2200 // half of it is the service's
	paced.Rows[3].AcceptedPerSecond, paced.Rows[3].Dropped = 350, 70_000
	late := paced
	late.Rows = append([]Row{}, paced.Rows...)
	late.Rows[1].LateP99Us = 2201
	alone := report
	alone.Rows = report.Rows[:2]
	slow := paced
	slow.Rows = append([]Row{}, paced.Rows...)
	slow.Rows[1].AcceptedPerSecond = 14_000
	for name, r := range map[string]Report{"ahead": report, "wrong": wrong, "behind": behind, "stopped": stopped, "fewer": fewer, "alone": alone, "paced": paced, "late": late, "slow": slow} {
		t.Run(name, func(t *testing.T) {
			var page strings.Builder
			require.NoError(t, r.WriteTable(&page))
			compareGolden(t, filepath.Join("testdata", name+".golden"), page.String())
		})
	}
	asJSON, err := json.MarshalIndent(report, "", "  ")
	require.NoError(t, err)
	compareGolden(t, filepath.Join("testdata", "report.json.golden"), string(asJSON)+"\n")
}

// compareGolden fails where the file is missing; `go test ./bench/compare -update` writes it.
func compareGolden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "write it with -update")
	assert.Equal(t, string(want), got)
}
