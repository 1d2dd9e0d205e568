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
	// crowds are how many connections each of its shops had, once it was shut.
	crowds []int64
}

func (f *fronted) Name() string { return f.name }

func (f *fronted) Open(context.Context) (Shop, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &frontedShop{fronted: f, url: "http://" + ln.Addr().String(), ended: make(chan error, 1)}
	s.server = &fasthttp.Server{Handler: s.answer, CloseOnShutdown: true, ConnState: s.count}
	go func() { s.ended <- s.server.Serve(ln) }()
	f.open.Add(1)
	return s, nil
}

type frontedShop struct {
	*fronted
	url    string
	server *fasthttp.Server
	ended  chan error
	crowd  atomic.Int64
}

func (s *frontedShop) count(_ net.Conn, state fasthttp.ConnState) {
	if state == fasthttp.StateNew {
		s.crowd.Add(1)
	}
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
	err := errors.Join(s.server.Shutdown(), <-s.ended)
	s.crowds = append(s.crowds, s.crowd.Load())
	return err
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
		Engine: who, Rivals: rivals, Connections: []int{4}, Rounds: 2, Duration: 20 * time.Millisecond, Warmup: 5 * time.Millisecond, Units: 30,
	}
}

// rows are those of the only load.
func rows(t *testing.T, r *Report) []Row {
	t.Helper()
	require.Len(t, r.Loads, 1)
	return r.Loads[0].Rows
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

	require.Len(t, rows(t, &report), 4)
	floor, first, second, third := rows(t, &report)[0], rows(t, &report)[1], rows(t, &report)[2], rows(t, &report)[3]
	assert.Equal(t, []Role{RoleFloor, RoleEngine, RoleRival, RoleRival}, []Role{floor.Role, first.Role, second.Role, third.Role})
	for _, row := range rows(t, &report) {
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
	assert.Contains(t, said.String(), "4 connections, round 2 of 2: honest\n")
	assert.True(t, report.Exact(), "the engine did, whatever others do")
	assert.Zero(t, honest.open.Load()+forgetful.open.Load()+generous.open.Load(), "every shop is shut")
}

func TestWhoSellsNothingDoesNotSellExactly(t *testing.T) {
	shut := &fronted{Rival: newScript(t), name: "shut", isShut: true, failEvery: 2}
	idle := &fronted{Rival: newScript(t), name: "idle", failEvery: 1}
	report, err := Run(t.Context(), small(shut, &fronted{Rival: newScript(t), name: "honest"}, idle))
	require.NoError(t, err)
	require.Len(t, rows(t, &report), 4)
	engine, honest, nobody := rows(t, &report)[1], rows(t, &report)[2], rows(t, &report)[3]
	assert.False(t, engine.SoldExactly)
	assert.Contains(t, engine.Wrong, "0 accepted of 30 units, 30 failed")
	assert.Contains(t, engine.Wrong, "30 refused as sold out, 30 left")
	assert.True(t, honest.SoldExactly, honest.Wrong)
	assert.False(t, nobody.SoldExactly)
	assert.Contains(t, nobody.Wrong, "nobody was sold anything of 30 units")
	assert.Contains(t, report.Verdict(&report.Loads[0]), "NOT PROVEN")
}

// TestWhatFailsInTheEndProvesNothing of the engine; a rival's failures may have come for what is left.
func TestWhatFailsInTheEndProvesNothing(t *testing.T) {
	engine := &fronted{Rival: newScript(t), name: "engine", failEvery: 7}
	report, err := Run(t.Context(), small(engine, &fronted{Rival: newScript(t), name: "rival", failEvery: 7}))
	require.NoError(t, err)
	assert.False(t, rows(t, &report)[1].SoldExactly)
	require.Len(t, rows(t, &report)[1].Wrong, 1)
	assert.Regexp(t, `^30 accepted of 30 units, [89] failed$`, rows(t, &report)[1].Wrong[0])
	assert.True(t, rows(t, &report)[2].SoldExactly, rows(t, &report)[2].Wrong)
}

// At a rate that is given nobody accepts more, and latencies count from the schedule.
func TestCompareAtARate(t *testing.T) {
	o := small(&fronted{Rival: newScript(t), name: "honest"})
	o.Rate, o.Duration = 200, 100*time.Millisecond
	report, err := Run(t.Context(), o)
	require.NoError(t, err)
	assert.InDelta(t, 200, report.Rate, 0)
	for _, row := range rows(t, &report) {
		assert.Less(t, row.AcceptedPerSecond, 250.0, row.Name)
		assert.Positive(t, row.P99TimesFloor, row.Name)
		assert.Positive(t, row.LateP99Us, row.Name)
		assert.LessOrEqual(t, row.LateP99Us, row.P99Us, "%s: it is part of the latency", row.Name)
	}
	assert.InDelta(t, 1, rows(t, &report)[0].P99TimesFloor, 1e-9)
	assert.True(t, rows(t, &report)[1].SoldExactly, rows(t, &report)[1].Wrong)
}

// TestCompareSeveralCrowds: each is a whole comparison of its own, on products of its own.
func TestCompareSeveralCrowds(t *testing.T) {
	var said strings.Builder
	breaks := &fronted{Rival: newScript(t), name: "breaks"}
	breaks.cook = func(b rival.Books) rival.Books {
		if strings.Contains(said.String(), "2 connections, selling out") {
			b.Left++
		}
		return b
	}
	honest := &fronted{Rival: newScript(t), name: "honest"}
	o := small(breaks, honest)
	o.Connections, o.Out = []int{4, 2}, &said
	report, err := Run(t.Context(), o)
	require.NoError(t, err)
	require.Len(t, report.Loads, 2)
	for i, connections := range []int{4, 2} {
		l := &report.Loads[i]
		assert.Equal(t, connections, l.Connections)
		require.Len(t, l.Rows, 3)
		for _, row := range l.Rows {
			assert.Len(t, row.Rates, 2, row.Name)
			assert.Positive(t, row.AcceptedPerSecond, row.Name)
		}
		assert.True(t, l.Rows[2].SoldExactly, l.Rows[2].Wrong)
		assert.Equal(t, 2, strings.Count(said.String(), fmt.Sprintf("%d connections, selling out 30 units: ", connections)))
	}
	assert.Less(t, strings.Index(said.String(), "4 connections, selling out"), strings.Index(said.String(), "2 connections, round 1 of 2"))
	assert.True(t, report.Loads[0].Engine().SoldExactly, report.Loads[0].Engine().Wrong)
	assert.Equal(t, []string{"1 left and 30 sold of 30"}, report.Loads[1].Engine().Wrong)
	assert.False(t, report.Exact(), "not with the last crowd")
	require.Len(t, honest.crowds, 6, "twice in rounds, once to be sold out, with each crowd")
	for i, most := range []int64{4, 4, 4, 2, 2, 2} {
		assert.Positive(t, honest.crowds[i])
		assert.LessOrEqual(t, honest.crowds[i], most)
	}
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
	require.Len(t, rows(t, &report), 3)
	assert.Len(t, rows(t, &report)[1].Rates, 1, "what came before is reported")
	assert.False(t, rows(t, &report)[1].SoldExactly, "nothing is proven")
	assert.Contains(t, report.Verdict(&report.Loads[0]), "NOT PROVEN")
}

// weary is not opened any more once it was so many times.
type weary struct {
	fronted
	times int
}

func (w *weary) Open(ctx context.Context) (Shop, error) {
	if w.times--; w.times < 0 {
		return nil, errBroken
	}
	return w.fronted.Open(ctx)
}

// TestSeveralCrowdsThatBreakOff reports those that were whole, the one in which it broke, and none that never came.
func TestSeveralCrowdsThatBreakOff(t *testing.T) {
	const opened = 3 // twice for rounds, once to sell out
	o := small(&weary{fronted: fronted{Rival: newScript(t), name: "weary"}, times: opened + opened - 1})
	o.Connections = []int{4, 2, 1}
	report, err := Run(t.Context(), o)
	require.ErrorIs(t, err, errBroken)
	require.ErrorContains(t, err, "2 connections: weary: open: ")
	require.Len(t, report.Loads, 2)
	assert.True(t, report.Loads[0].Engine().SoldExactly, report.Loads[0].Engine().Wrong)
	assert.Len(t, report.Loads[1].Engine().Rates, 2)
	assert.Contains(t, report.Verdict(&report.Loads[1]), "NOT PROVEN")
	assert.False(t, report.Exact())
}

func TestNobodyIsNotExact(t *testing.T) {
	assert.False(t, (&Report{}).Exact())
	assert.False(t, (&Report{Loads: []Load{{}}}).Exact())
	assert.True(t, sampleReport(asItIs).Exact())
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
		"nobody to compare":                                                  {},
		"--rounds 101: from 1 to 100":                                        {Engine: who, Rounds: 101},
		"--rate -1: from 0.001 to 10000000":                                  {Engine: who, Rate: -1},
		"--duration 1h0m0s: up to 10m0s":                                     {Engine: who, Duration: time.Hour},
		"a warm-up of 1h0m0s: up to 10m0s":                                   {Engine: who, Warmup: time.Hour},
		"--units 2000000: from 1 to 1000000":                                 {Engine: who, Units: 2_000_000},
		"--connections 100000: from 1 to 10000":                              {Engine: who, Connections: []int{64, 100_000}},
		"--connections 0: from 1 to 10000":                                   {Engine: who, Connections: []int{0}},
		"--connections -1: from 1 to 10000":                                  {Engine: who, Connections: []int{64, -1}},
		"--connections 64,256,64: 64 is there twice, each count may be once": {Engine: who, Connections: []int{64, 256, 64}},
		"--connections 1,2,3,4,5,6,7,8,9: 9 counts, at most 8":               {Engine: who, Connections: []int{1, 2, 3, 4, 5, 6, 7, 8, 9}},
	} {
		t.Run(name, func(t *testing.T) {
			if o.Engine != nil {
				require.ErrorContains(t, o.Check(), name)
			}
			_, err := Run(t.Context(), o)
			require.ErrorContains(t, err, name)
		})
	}
	require.NoError(t, (&Options{}).Check())
	require.NoError(t, (&Options{Connections: []int{1, 2, 3, 4, 5, 6, 7, 10_000}}).Check())
}

// TestCrowdsThatNobodyNamed: how far the engine is ahead goes with how many come at a time; latencies at a rate do not.
func TestCrowdsThatNobodyNamed(t *testing.T) {
	assert.Equal(t, []int{64, 256}, Options{}.withDefaults().Connections)
	assert.Equal(t, []int{64}, Options{Rate: 100}.withDefaults().Connections)
	assert.Equal(t, []int{8, 4}, Options{Rate: 100, Connections: []int{8, 4}}.withDefaults().Connections)
}

// sampleReport is of one load; change makes it another.
func sampleReport(change func(r *Report, rows []Row)) *Report {
	r := &Report{Rounds: 5, RoundSeconds: 1.5, Units: 300, Loads: []Load{{Connections: 64, Rows: []Row{
		{Name: "floor: answers, sells nothing", Role: RoleFloor, AcceptedPerSecond: 91_066, P50Us: 450, P99Us: 1510, OfFloor: 1},
		{Name: "flashsale", Role: RoleEngine, AcceptedPerSecond: 40_000, P50Us: 1230, P99Us: 4400, OfFloor: 0.44, SoldExactly: true},
		{Name: "one EVALSHA per order", Role: RoleRival, AcceptedPerSecond: 25_000, P50Us: 2310, P99Us: 5570, OfFloor: 0.27, EngineTimes: 1.6, SoldExactly: true},
		{Name: "a lock", Role: RoleRival, AcceptedPerSecond: 350, P50Us: 3100, P99Us: 922_080, OfFloor: 0.0038, EngineTimes: 114.3, Failed: 12, SoldExactly: true},
	}}}}
	change(r, r.Loads[0].Rows)
	return r
}

func asItIs(*Report, []Row) {}

func behind(_ *Report, rows []Row) { rows[2].EngineTimes = 0.9 }

func wrong(_ *Report, rows []Row) {
	rows[1].SoldExactly, rows[1].Wrong = false, []string{"7 left and 4 sold of 10"}
}

// stopped in most rounds, which leaves no ratio.
func stopped(_ *Report, rows []Row) {
	rows[1].AcceptedPerSecond, rows[2].EngineTimes, rows[3].EngineTimes = 0, 0, 0
}

// fewer rivals sold anything.
func fewer(_ *Report, rows []Row) {
	rows[3].AcceptedPerSecond, rows[3].EngineTimes, rows[3].SoldExactly = 0, 0, false
	rows[3].Wrong = []string{"nobody was sold anything of 300 units"}
}

// reversed: the rival that is listed last comes closest.
func reversed(_ *Report, rows []Row) { rows[2].EngineTimes, rows[3].EngineTimes = 114.3, 1.6 }

func stolen(r *Report, _ []Row) { r.Loads[0].Stolen = 0.144 }

func alone(r *Report, rows []Row) { r.Loads[0].Rows = rows[:2] }

func paced(r *Report, rows []Row) {
	r.Rate = 15_000
	for i, times := range []float64{1, 2.91, 3.69, 610.6} {
		rows[i].AcceptedPerSecond, rows[i].P99TimesFloor = 15_000, times
	}
	rows[1].LateP99Us = 2200 // half of it is the service's
	rows[3].AcceptedPerSecond, rows[3].Dropped = 350, 70_000
}

func late(r *Report, rows []Row) {
	paced(r, rows)
	rows[1].LateP99Us = 2201
}

func slow(r *Report, rows []Row) {
	paced(r, rows)
	rows[1].AcceptedPerSecond = 14_000
}

// together are reports of one load each as one of several; the first says what all have in common.
func together(connections []int, reports ...*Report) *Report {
	r := *reports[0]
	r.Loads = nil
	for i, one := range reports {
		r.Loads = append(r.Loads, Load{Connections: connections[i], Stolen: one.Loads[0].Stolen, Rows: one.Loads[0].Rows})
	}
	return &r
}

func TestTable(t *testing.T) {
	ahead := sampleReport(asItIs)
	for name, r := range map[string]*Report{
		"ahead": ahead, "wrong": sampleReport(wrong), "behind": sampleReport(behind), "stopped": sampleReport(stopped),
		"fewer": sampleReport(fewer), "alone": sampleReport(alone), "paced": sampleReport(paced), "late": sampleReport(late),
		"slow": sampleReport(slow), "stolen": sampleReport(stolen),
		"several":         together([]int{64, 256}, sampleReport(reversed), sampleReport(fewer)),
		"several_mixed":   together([]int{8, 64, 1024}, sampleReport(behind), sampleReport(wrong), sampleReport(alone)),
		"several_stolen":  together([]int{64, 256}, sampleReport(asItIs), sampleReport(stolen)),
		"several_at_rate": together([]int{64, 256}, sampleReport(paced), sampleReport(late)),
	} {
		t.Run(name, func(t *testing.T) {
			var page strings.Builder
			require.NoError(t, r.WriteTable(&page))
			compareGolden(t, filepath.Join("testdata", name+".golden"), page.String())
		})
	}
	asJSON, err := json.MarshalIndent(ahead, "", "  ")
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
