package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/alecthomas/kong"

	"flashsale/bench/cost"
	"flashsale/engine"
	"flashsale/internal/devstack"
)

type benchRedis struct {
	Dev           bool   `help:"Start a Redis for it, on temporary data."`
	Fsync         string `help:"With --dev: its appendfsync." enum:"always,everysec,no" default:"everysec"`
	RedisURL      string `env:"REDIS_URL" group:"Redis" help:"One server that has nothing else to do meanwhile; nothing but keys of the bench's own is touched." placeholder:"URL" secret:"url"`
	RedisHost     string `env:"REDIS_HOST" group:"Redis" help:"Used where there is no REDIS_URL. Default: 127.0.0.1."`
	RedisPort     int    `env:"REDIS_PORT" group:"Redis" help:"Default: 6379." placeholder:"PORT"`
	RedisPassword string `env:"REDIS_PASSWORD" group:"Redis" help:"Environment or file only." hidden:"" secret:"yes"`

	Batches  []int    `help:"Orders a call, measured one after another." default:"1,2,4,8,16,32,64,128" positive:"yes"`
	Orders   int      `help:"Orders of each measurement." default:"10000" positive:"yes"`
	Rounds   int      `help:"Measurements of each kind, of which the median counts." default:"3" positive:"yes"`
	InFlight int      `help:"Calls under way at once." default:"2" positive:"yes"`
	Products []int    `help:"How many are on sale. The first is the base that others are compared with." default:"1" positive:"yes"`
	Buyers   []int    `help:"How many have bought before; the first is the base." default:"1000"`
	Kinds    []string `help:"What is measured: sale, keyed (with an idempotency key), hold, confirm (of a hold)." default:"sale,keyed,hold,confirm"`
	Backlog  int      `help:"Orders that wait for the ledger before the first is measured."`
	Memory   bool     `help:"Measure memory too." default:"true" negatable:""`
	JSON     bool     `help:"Print the report as JSON."`
}

// Run measures what orders cost Redis.
func (b *benchRedis) Run(ctx context.Context, parsed *kong.Context) (err error) {
	named := stores{RedisURL: b.RedisURL, RedisHost: b.RedisHost, RedisPort: b.RedisPort, RedisPassword: b.RedisPassword}
	url, o := named.redisURL(), b.options()
	if err := errors.Join(checkServerFlags(parsed, b.Dev), o.Check()); err != nil {
		return err
	}
	if b.Dev {
		server, err := devstack.NewRedisServer(ctx, "appendfsync "+b.Fsync, "auto-aof-rewrite-percentage 0")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.Close()) }()
		url = server.URL()
	}
	client, err := engine.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("REDIS_URL or REDIS_HOST (--dev starts one): %w", err)
	}
	defer client.Close()
	report, err := cost.Measure(ctx, url, &measuredEngine{client: client}, o)
	if err != nil {
		return err
	}
	if b.JSON {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		return out.Encode(report)
	}
	return report.WriteTable(os.Stdout)
}

func (b *benchRedis) options() cost.Options {
	o := cost.Options{
		Batches: b.Batches, Orders: b.Orders, Rounds: b.Rounds, InFlight: b.InFlight, Products: b.Products, Buyers: b.Buyers,
		Backlog: b.Backlog, NoMemory: !b.Memory, Out: os.Stderr,
	}
	for _, kind := range b.Kinds {
		o.Kinds = append(o.Kinds, cost.Kind(kind))
	}
	return o
}
