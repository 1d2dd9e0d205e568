package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/alecthomas/kong"

	"flashsale/bench"
	"flashsale/bench/page"
)

type benchCmd struct {
	Run     benchRun     `cmd:"" default:"withargs" help:"Sell to a crowd, measure, and prove that it was sold exactly. The default. Exit code: 0 proven, 1 a rule is broken or nothing could be proven, 2 no rule is broken, but nobody can tell what became of some orders."`
	Compare benchCompare `cmd:"" help:"The engine against what one would use instead, on the same servers in the same run."`
	Redis   benchRedis   `cmd:"" help:"What an order costs Redis: CPU by the size of a batch, and memory."`
	Watch   benchWatch   `cmd:"" help:"Open many clients of the stream, as dashboards on many screens are: to see what they cost a sale beside them."`
	Tour    benchTour    `cmd:"" help:"All of it on a service of its own, in some minutes, with one page to show for it."`
	Floor   benchFloor   `cmd:"" help:"Serve answers that cost nothing: the floor that throughput is measured against."`
}

type benchRun struct {
	stores
	hot

	Target     string `help:"Base URL of the service; not needed with --dev." placeholder:"URL"`
	AdminToken string `env:"ADMIN_TOKEN" group:"HTTP" help:"Of the service, to make products. Environment or file only." hidden:"" secret:"yes"`
	Token      string `env:"BENCH_TOKEN" group:"HTTP" help:"Of buyers' routes, for AUTH=keys. Environment or file only." hidden:"" secret:"yes"`

	Scenario    string         `help:"What kind of sale: ${scenarios}." default:"rush" enum:"${scenarios}"`
	Buyers      int64          `help:"How many come. Default: what suits the scenario; in one by duration each visit is another." placeholder:"N" positive:"yes"`
	Visits      int64          `help:"How often at the most." placeholder:"N" positive:"yes"`
	Products    int            `help:"How many there are." placeholder:"N" positive:"yes"`
	Units       int64          `help:"Of each product." placeholder:"N" positive:"yes"`
	Zipf        *float64       `help:"How much some products are wanted more: the k-th by 1/k^X; 0 = all alike. Default: what suits the scenario." placeholder:"X"`
	Connections int            `help:"Each with one request under way." default:"64" positive:"yes"`
	Rate        float64        `help:"Visits a second on a fixed schedule (open loop), for latency. Default: as fast as the connections allow (closed loop), for the peak." placeholder:"N" positive:"yes"`
	Duration    time.Duration  `help:"What is measured, of a sale that goes on. Default: what suits the scenario." positive:"yes"`
	Warmup      *time.Duration `help:"Before it; not measured, but proven. Default: what suits the scenario, up to a quarter of the duration; none in a sale by number."`
	HoldSeconds int            `help:"Of the holds in the scenario of that name." placeholder:"N" positive:"yes"`
	Ask         string         `help:"Durability that each order asks for: fast, replicated or ledger. Default: none, the service decides." placeholder:"MODE" default:"" enum:",fast,replicated,ledger"`
	Seed        uint64         `help:"Decides who comes when and for what." default:"1" positive:"yes"`
	Timeout     time.Duration  `help:"Of a request." default:"5s" positive:"yes"`
	LedgerWait  time.Duration  `help:"For how long the ledger is waited for afterwards." default:"30s" positive:"yes"`
	Lookups     int            `help:"Orders that are looked up one by one at the most." default:"20000" positive:"yes"`
	Shared      bool           `help:"Others order at the same time: don't hold the service's count of orders against this sale."`
	Rows        bool           `help:"Prove row by row in the ledger at DATABASE_URL, too. --dev always does."`
	JSON        bool           `help:"Print the report as JSON."`
	HTML        string         `help:"Write the report as one page to this file." placeholder:"FILE"`
}

var errNoTarget = errors.New("--target: say which service, or --dev for one of its own")

// Run sells, and fails if one unit was oversold, undersold, lost or sold twice, or if nobody can tell.
func (b *benchRun) Run(ctx context.Context, parsed *kong.Context) error {
	if err := b.checkFlags(parsed); err != nil {
		return err
	}
	if o := b.options(); b.Dev || b.Target != "" {
		if err := o.Check(); err != nil {
			return err
		}
	}
	if b.Dev {
		return b.onOwnService(ctx)
	}
	if b.Target == "" {
		return errNoTarget
	}
	database := ""
	if b.Rows {
		database = b.databaseURL()
	}
	return b.sell(ctx, "", database)
}

// onOwnService sells on a service of its own.
func (b *benchRun) onOwnService(ctx context.Context) error {
	return onOwnService(ctx, b.stores, b.hot, b.AdminToken, func(ctx context.Context, own *ownService) error {
		b.Target, b.AdminToken = own.target, own.adminToken
		return b.sell(ctx, own.redisURL, own.databaseURL)
	})
}

// sell runs the scenario against the target. Where the addresses of its stores are known, the report says what they are;
// where the ledger's is, its rows are part of the proof.
func (b *benchRun) sell(ctx context.Context, redisURL, databaseURL string) error {
	undo, err := reservePage(b.HTML)
	if err != nil {
		return err
	}
	o := b.options()
	o.DatabaseURL, o.Out = databaseURL, os.Stderr
	o.Environment = bench.DescribeEnvironment(ctx, version, redisURL, databaseURL)
	o.Environment.Apart = !b.Dev
	report, err := bench.Run(ctx, o)
	if !report.Begun() {
		return errors.Join(err, undo())
	}
	return errors.Join(exitOf(err), b.print(&report), b.writePage(&report))
}

// exitUntold is the exit code of a sale in which no rule is broken, but nobody can tell what became of some orders. That of all
// other errors is 1.
const exitUntold = 2

// exitOf gives what could not be told a code of its own.
func exitOf(err error) error {
	if errors.Is(err, bench.ErrUntold) {
		return exitError{exitUntold, err}
	}
	return err
}

func (b *benchRun) options() bench.Options {
	o := bench.Options{
		Target: b.Target, Scenario: b.Scenario, AdminToken: b.AdminToken, Token: b.Token,
		Buyers: b.Buyers, Visits: b.Visits, Products: b.Products, Units: b.Units,
		Connections: b.Connections, Rate: b.Rate, Duration: b.Duration, HoldSeconds: b.HoldSeconds,
		Durability: b.Ask, Seed: b.Seed, Timeout: b.Timeout, LedgerWait: b.LedgerWait, Lookups: b.Lookups, Shared: b.Shared,
	}
	if b.Zipf != nil {
		o.Zipf, o.Uniform = *b.Zipf, *b.Zipf == 0
	}
	if b.Warmup != nil {
		o.Warmup, o.NoWarmup = *b.Warmup, *b.Warmup == 0
	}
	return o
}

func (b *benchRun) print(report *bench.Report) error {
	if !b.JSON {
		return report.WriteTable(os.Stdout)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return out.Encode(report)
}

func (b *benchRun) writePage(report *bench.Report) error {
	if b.HTML == "" {
		return nil
	}
	shown := page.Page{
		Title: "flashsale bench: " + report.Scenario, Made: report.Started, Environment: report.Environment,
		Sections: []page.Section{page.Sale(report)},
	}
	return writePage(&shown, b.HTML)
}

// reservePage fails before the sale where the page could not be written after it. What is there stays as it is; undo removes
// a file that was not there before.
func reservePage(path string) (undo func() error, err error) {
	undo = func() error { return nil }
	if path == "" {
		return undo, nil
	}
	_, missing := os.Stat(path)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("--html: %w", err)
	}
	if errors.Is(missing, os.ErrNotExist) {
		undo = func() error { return os.Remove(path) }
	}
	return undo, file.Close()
}

func writePage(shown *page.Page, path string) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return errors.Join(shown.Write(file), file.Close())
}

type benchFloor struct {
	Port int `help:"Port to listen on." default:"3999"`
}

// Run serves the floor until a signal.
func (b *benchFloor) Run(ctx context.Context) error {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(defaultHost, fmt.Sprint(b.Port)))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Printf("the floor answers at http://%s\n", ln.Addr())
	return bench.Floor(ctx, ln)
}
