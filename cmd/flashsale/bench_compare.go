package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/alecthomas/kong"
	"github.com/redis/rueidis"

	"flashsale/bench/compare"
	"flashsale/bench/rival"
)

type benchCompare struct {
	stores
	hot

	Fsync       string        `help:"With --dev: appendfsync of its Redis." enum:"always,everysec,no" default:"everysec"`
	Connections []int         `help:"Counts of connections, compared one after another; each connection has one request under way. Default: 64,256; with --rate 64." placeholder:"N,…" positive:"yes"`
	Rounds      int           `help:"How often each is measured at each count, in turn; the medians count." default:"5" positive:"yes"`
	Duration    time.Duration `help:"Of each round of each." default:"1500ms" positive:"yes"`
	Rate        float64       `help:"Orders begun a second, on a schedule, to compare latencies. Default: as fast as the connections go." placeholder:"N" positive:"yes"`
	Units       int64         `help:"What each has to sell out in the end." default:"300" positive:"yes"`
	JSON        bool          `help:"Print the report as JSON."`
}

var errNotExact = errors.New("the engine did not sell exactly")

// Run has the engine and its rivals compete, on servers of its own with --dev, or on those that are named: under a prefix
// and in a database of its own, which go again.
func (b *benchCompare) Run(ctx context.Context, parsed *kong.Context) (err error) {
	o := b.options()
	if err := errors.Join(b.checkFlags(parsed), b.check(), b.checkPartitions(), o.Check()); err != nil {
		return err
	}
	slog.SetDefault(warnings())
	if b.Dev {
		servers, err := startPrivate(ctx, b.Fsync)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, servers.Close()) }()
		b.RedisURL, b.DatabaseURL = servers.redis.URL(), servers.postgres.DatabaseURL()
	}
	report, err := b.compare(ctx, o)
	return b.tell(os.Stdout, &report, err)
}

// tell writes what there is to report of a comparison that ended with err, and returns what the command ends with.
func (b *benchCompare) tell(w io.Writer, report *compare.Report, err error) error {
	if len(report.Loads) == 0 {
		return err
	}
	if b.JSON {
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		err = errors.Join(err, out.Encode(report))
	} else {
		err = errors.Join(err, report.WriteTable(w))
	}
	if err == nil && !report.Exact() {
		return errNotExact
	}
	return err
}

// warnings is the log of a bench that starts one service after another: what each says when all is well is nobody's business.
func warnings() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// compare has all compete on the servers that are named, as the options say.
func (b *benchCompare) compare(ctx context.Context, o compare.Options) (report compare.Report, err error) {
	name := freshBenchName()
	b.RedisPrefix = "bench-" + name
	database, err := createDatabase(ctx, b.databaseURL(), "flashsale_bench_"+name)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, database.drop(context.WithoutCancel(ctx))) }()
	client, err := rival.Connect(b.redisURL())
	if err != nil {
		return report, fmt.Errorf("REDIS_URL or REDIS_HOST (--dev starts one): %w", err)
	}
	defer client.Close()
	defer func() { err = errors.Join(err, rival.Clean(context.WithoutCancel(ctx), client, b.RedisPrefix)) }()
	postgres, err := rival.NewPostgres(ctx, database.url)
	if err != nil {
		return report, err
	}
	defer postgres.Close()
	drained := rival.NewDrained(client, b.RedisPrefix+":drained", postgres)
	defer drained.Close()
	b.DatabaseURL = database.url
	o.Engine, o.Rivals = &engineContender{stores: b.stores, hot: b.hot}, b.rivals(client, drained, postgres)
	return compare.Run(ctx, o)
}

func (b *benchCompare) options() compare.Options {
	return compare.Options{
		Connections: b.Connections, Rounds: b.Rounds, Duration: b.Duration, Rate: b.Rate, Units: b.Units, Out: os.Stderr,
	}
}

func (b *benchCompare) rivals(client rueidis.Client, drained *rival.Drained, postgres *rival.Postgres) []compare.Contender {
	var all []compare.Contender
	for _, r := range []rival.Rival{
		rival.NewScript(client, b.RedisPrefix+":script"), drained, rival.NewLock(client, b.RedisPrefix+":lock"), postgres,
	} {
		all = append(all, &rivalContender{rival: r, redisURL: b.redisURL()})
	}
	return all
}

// freshBenchName is part of a prefix and of a database that nobody else has.
func freshBenchName() string {
	var random [6]byte
	_, _ = rand.Read(random[:]) // never fails: it ends the process instead (crypto/rand)
	return hex.EncodeToString(random[:])
}
