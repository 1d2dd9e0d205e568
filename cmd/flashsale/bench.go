package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"flashsale/bench"
)

type benchCmd struct {
	Rush    benchRush    `cmd:"" default:"withargs" help:"A crowd for a small stock; proves that exactly the stock was sold. The default."`
	Compare benchCompare `cmd:"" help:"The engine against what one would use instead, on the same servers in the same run."`
	Redis   benchRedis   `cmd:"" help:"What an order costs Redis: CPU by the size of a batch, and memory."`
	Floor   benchFloor   `cmd:"" help:"Serve answers that cost nothing: the floor that throughput is measured against."`
}

type benchRush struct {
	stores
	hot

	Target      string `help:"Base URL of the service; not needed with --dev." placeholder:"URL"`
	AdminToken  string `env:"ADMIN_TOKEN" group:"HTTP" help:"Of the service, to make the product. Environment or file only." hidden:"" secret:"yes"`
	Buyers      int    `help:"How many come, each for one unit." default:"5000"`
	Units       int64  `help:"How many units there are." default:"1000"`
	Connections int    `help:"Connections, each with one request under way." default:"64"`
	JSON        bool   `help:"Print the report as JSON."`
}

// openTimeout bounds how long the bench waits for its own service to take orders.
const openTimeout = 30 * time.Second

var errNoTarget = errors.New("--target: say which service, or --dev for one of its own")

// Run sends the crowd and fails if one unit was oversold, undersold, lost or sold twice.
func (b *benchRush) Run(ctx context.Context) error {
	if b.Dev {
		return b.onOwnService(ctx)
	}
	if b.Target == "" {
		return errNoTarget
	}
	return b.rush(ctx)
}

// onOwnService runs the service beside the bench, on the development stack, on a free port.
func (b *benchRush) onOwnService(ctx context.Context) (err error) {
	serve := &serveCmd{stores: b.stores, hot: b.hot, authSettings: authSettings{AdminToken: b.AdminToken}, NodeEnv: "development"}
	if err := errors.Join(serve.check(), serve.chooseAdminToken()); err != nil {
		return err
	}
	stack, err := startStack(ctx, &serve.stores, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stack.Close()) }()
	b.AdminToken = serve.AdminToken
	n, err := serve.newNode(ctx)
	if err != nil {
		return err
	}
	defer n.close()
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(defaultHost, "0"))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	b.Target = "http://" + ln.Addr().String()
	return n.serve(ctx, serve, ln, func(ctx context.Context) error {
		open, cancel := context.WithTimeout(ctx, openTimeout)
		defer cancel()
		if err := n.awaitOpen(open); err != nil {
			return fmt.Errorf("wait for sales to open: %w", err)
		}
		return b.rush(ctx)
	})
}

func (b *benchRush) rush(ctx context.Context) error {
	report, err := bench.Rush(ctx, bench.Options{
		Target: b.Target, AdminToken: b.AdminToken, Buyers: b.Buyers, Units: b.Units, Connections: b.Connections, Out: os.Stderr,
	})
	if b.JSON {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		return errors.Join(err, out.Encode(report))
	}
	return errors.Join(err, report.WriteTable(os.Stdout))
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
