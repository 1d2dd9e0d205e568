package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"flashsale/bench"
	"flashsale/bench/compare"
	"flashsale/bench/cost"
	"flashsale/bench/page"
	"flashsale/engine"
	"flashsale/internal/devstack"
)

type benchTour struct {
	stores
	hot

	AdminToken string  `env:"ADMIN_TOKEN" group:"HTTP" help:"Of its own service. Environment or file only." hidden:"" secret:"yes"`
	Out        string  `help:"Folder for report.html and report.json. Default: bench/results." default:"bench/results" placeholder:"DIR"`
	Scale      float64 `help:"How large and how long the sales are: 0.1 = a tenth." default:"1"`
}

// tourReport is everything that a tour found.
type tourReport struct {
	Made        time.Time         `json:"made"`
	Environment bench.Environment `json:"environment"`
	Sales       []bench.Report    `json:"sales"`
	Compare     compare.Report    `json:"compare"`
	Redis       *cost.Report      `json:"redis"`
}

// errTour is what a tour ends with where a part failed; each has said why.
var errTour = errors.New("a part of the tour failed")

// minTourScale leaves every sale something to prove.
const minTourScale = 0.01

// Run makes the tour and fails if any proof does. What was found until then is written.
func (b *benchTour) Run(ctx context.Context) error {
	if !(b.Scale >= minTourScale && b.Scale <= 100) { // NaN is neither
		return fmt.Errorf("--scale: from %g to 100", minTourScale) //nolint:err113 // nothing to match
	}
	slog.SetDefault(warnings())
	report := tourReport{Made: time.Now().UTC()}
	shown := page.Page{Title: "flashsale bench", Made: report.Made}
	err := onOwnService(ctx, b.stores, b.hot, b.AdminToken, func(ctx context.Context, own *ownService) error {
		report.Environment = bench.DescribeEnvironment(ctx, version, own.redisURL, own.databaseURL)
		return b.sales(ctx, own, &report, &shown)
	})
	if ctx.Err() == nil {
		err = errors.Join(err, b.competition(ctx, &report, &shown), b.redisCost(ctx, &report, &shown))
	}
	shown.Environment = report.Environment
	if written := b.write(&report, &shown); written != nil {
		return errors.Join(err, written)
	}
	fmt.Printf("\n%s\n%s\n", shown.Verdict(), filepath.Join(b.Out, tourPage))
	return err
}

// tourStop is one sale of the tour.
type tourStop struct {
	title   string
	options bench.Options
	half    bool // on a schedule of half the rate that the sale before it reached
}

func (b *benchTour) stops() []tourStop {
	n := func(whole int64) int64 { return max(1, int64(float64(whole)*b.Scale)) }
	long := func(whole time.Duration) time.Duration { return time.Duration(float64(whole) * b.Scale) }
	return []tourStop{
		{title: "rush", options: bench.Options{Scenario: "rush", Buyers: n(100_000), Units: n(20_000)}},
		{title: "sustained", options: bench.Options{Scenario: "sustained", Duration: long(15 * time.Second)}},
		{title: "sustained, at half the rate", options: bench.Options{Scenario: "sustained", Duration: long(10 * time.Second), Connections: 256}, half: true},
		{title: "sold out", options: bench.Options{Scenario: "soldout", Duration: long(5 * time.Second)}},
		{title: "holds", options: bench.Options{Scenario: "holds", Buyers: n(20_000), Units: n(8_000)}},
		{title: "duplicates", options: bench.Options{Scenario: "duplicates", Buyers: n(10_000), Units: n(8_000)}},
		{title: "mixed", options: bench.Options{Scenario: "mixed", Duration: long(5 * time.Second)}},
		{title: "many products", options: bench.Options{Scenario: "many-products", Buyers: n(50_000), Products: int(n(1000))}},
	}
}

const (
	// tourLookups is how many orders a stop looks up one by one; the ledger's rows are read too, all of them.
	tourLookups = 5000
	// tourLedgerWait leaves a slow machine time to drain what the stops bring.
	tourLedgerWait = 2 * time.Minute

	tourPage = "report.html"
	tourData = "report.json"
)

func (b *benchTour) sales(ctx context.Context, own *ownService, all *tourReport, shown *page.Page) error {
	failed, before := error(nil), 0.0
	stops := b.stops()
	for i := range stops {
		stop := &stops[i]
		o := stop.options
		o.Target, o.AdminToken, o.DatabaseURL, o.Out = own.target, own.adminToken, own.databaseURL, os.Stderr
		o.Environment, o.Lookups, o.LedgerWait = all.Environment, tourLookups, tourLedgerWait
		if stop.half {
			o.Rate = max(1, before/2)
		}
		report, err := bench.Run(ctx, o)
		if ctx.Err() != nil {
			return err
		}
		before = report.AcceptedPerSecond
		all.Sales = append(all.Sales, report)
		section := page.Sale(&report)
		section.ID, section.Title = fmt.Sprintf("part-%d", i+1), stop.title
		if err != nil {
			failed = errTour
			section.OK = false
		}
		shown.Sections = append(shown.Sections, section)
		fmt.Printf("%-28s %9.0f accepted/s %9.0f requests/s  %s\n",
			stop.title, report.AcceptedPerSecond, report.RequestsPerSecond, section.Verdict)
	}
	return failed
}

// Of the competition and of what Redis takes, at full scale.
const (
	tourRounds      = 5 // at each count of connections
	tourFewRounds   = 2 // at a scale below the next
	tourRoundsScale = 0.1
	tourRound       = 1500 * time.Millisecond
	tourCompared    = 300   // units to be sold out by each
	tourRedisOrders = 3_000 // ten times as many for memory, which one script forgets: more is too long for a busy machine
	tourRedisRounds = 3
)

// comparedRounds are few where they are too short for their figures to say anything: they show that all sell exactly.
func (b *benchTour) comparedRounds() int {
	if b.Scale < tourRoundsScale {
		return tourFewRounds
	}
	return tourRounds
}

func (b *benchTour) competition(ctx context.Context, all *tourReport, shown *page.Page) (err error) {
	servers, err := startPrivate(ctx, "everysec")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.Close()) }()
	c := benchCompare{stores: b.stores, hot: b.hot}
	c.RedisURL, c.DatabaseURL = servers.redis.URL(), servers.postgres.DatabaseURL()
	all.Compare, err = c.compare(ctx, compare.Options{
		Rounds: b.comparedRounds(), Units: tourCompared, Duration: time.Duration(float64(tourRound) * b.Scale), Out: os.Stderr,
	})
	sections := page.Compare(&all.Compare)
	if err != nil {
		sections = append(sections, page.Failed("compare", err))
	}
	shown.Sections = append(shown.Sections, sections...)
	for i := range sections {
		fmt.Printf("%-28s %s\n", sections[i].Title, sections[i].Verdict)
	}
	if err == nil && !all.Compare.Exact() {
		return errNotExact
	}
	return err
}

func (b *benchTour) redisCost(ctx context.Context, all *tourReport, shown *page.Page) (err error) {
	server, err := devstack.NewRedisServer(ctx, "appendfsync everysec", "auto-aof-rewrite-percentage 0")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	client, err := engine.Connect(ctx, server.URL())
	if err != nil {
		return err
	}
	defer client.Close()
	report, err := cost.Measure(ctx, server.URL(), &measuredEngine{client: client}, cost.Options{
		Batches: []int{1, 8, 64, 128}, Orders: max(256, int(tourRedisOrders*b.Scale)), Rounds: tourRedisRounds, Out: os.Stderr,
	})
	if err != nil {
		shown.Sections = append(shown.Sections, page.Failed("redis", err))
		return err
	}
	all.Redis = &report
	section := page.Cost(&report)
	shown.Sections = append(shown.Sections, section)
	fmt.Printf("%-28s %s\n", "redis", section.Verdict)
	return nil
}

func (b *benchTour) write(report *tourReport, shown *page.Page) error {
	if err := os.MkdirAll(b.Out, 0o755); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	data, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	return errors.Join(
		os.WriteFile(filepath.Join(b.Out, tourData), append(data, '\n'), 0o644), writePage(shown, filepath.Join(b.Out, tourPage)),
	)
}
