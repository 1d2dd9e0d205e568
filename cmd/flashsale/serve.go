package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"

	"github.com/alecthomas/kong"
	"github.com/jackc/pgx/v5/pgxpool"

	"flashsale/engine"
	"flashsale/httpapi"
	"flashsale/internal/pause"
	"flashsale/persist"
)

type serveCmd struct {
	stores
	hot
	guards
	authSettings
	metricsSettings
	logSettings

	Host        string `env:"HOST" group:"HTTP" help:"Address to listen on." default:"127.0.0.1"`
	Port        int    `env:"PORT" group:"HTTP" help:"Port to listen on." default:"3000"`
	NodeEnv     string `env:"NODE_ENV" group:"HTTP" help:"development or production: production logs JSON and never migrates by itself." default:"development" enum:"development,production,test"`
	FrontendURL string `env:"FRONTEND_URL" group:"HTTP" help:"Origin whose pages may call the API." placeholder:"URL"`
}

// Run serves until a signal: then it answers what is in flight, drains the log and stops what it started.
func (s *serveCmd) Run(ctx context.Context, parsed *kong.Context) error {
	level := newLogLevel(logLevels[s.LogLevel], s.Dev)
	slog.SetDefault(newLogger(os.Stderr, s.NodeEnv == production, level))
	err := s.run(ctx, parsed, level)
	if s.NodeEnv == production {
		return logEnd(err)
	}
	return err
}

func (s *serveCmd) run(ctx context.Context, parsed *kong.Context, level *logLevel) (err error) {
	err = errors.Join(
		s.check(), s.checkReplicas(), s.applyGuards(&httpapi.Config{}), s.checkAuth(s.NodeEnv == production), s.checkMetrics(), s.chooseAdminToken(),
	)
	if err != nil {
		return err
	}
	psql := ""
	if s.Dev {
		stack, err := startStack(ctx, &s.stores, false)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stack.Close()) }()
		psql = stack.PsqlCommand()
	}
	s.tellSettings(parsed)
	n, err := s.waitingNode(ctx)
	if err != nil {
		return err
	}
	defer n.close()
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(s.Host, strconv.Itoa(s.Port)))
	if err != nil {
		return fmt.Errorf("HOST, PORT: %w", err)
	}
	n.level = level
	n.demoAway.Store(s.Dev)
	return n.serve(ctx, s, ln, func(ctx context.Context) error {
		return n.welcome(ctx, s, ln.Addr().String(), psql)
	})
}

const production = "production"

// tellSettings says what is in force: a line each for people, and one of JSON for who reads logs.
func (s *serveCmd) tellSettings(parsed *kong.Context) {
	if s.NodeEnv != production {
		fmt.Println("settings, as they are in force:")
		fmt.Print(describeSettings(parsed))
		return
	}
	var all []any
	for _, setting := range settingsInForce(parsed) {
		all = append(all, setting.name, setting.value)
	}
	slog.Info("settings, as they are in force", all...)
}

var errNoAdminToken = errors.New("ADMIN_TOKEN: must be set, for the routes that change products; only --dev makes one up")

// chooseAdminToken makes a token for this run where --dev has none; its greeting shows it.
func (s *serveCmd) chooseAdminToken() error {
	if s.AdminToken != "" {
		return nil
	}
	if !s.Dev {
		if s.Auth == authKeys || s.Auth == authJWT {
			return nil // there are keys and tokens of admins
		}
		return errNoAdminToken
	}
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return fmt.Errorf("admin token: %w", err)
	}
	s.AdminToken = hex.EncodeToString(random[:])
	return nil
}

var errSchemaBehind = errors.New("the ledger's schema is behind this version: run `flashsale migrate up` first")

// prepareSchema brings the ledger's schema up in development, and elsewhere refuses one that is behind.
func prepareSchema(ctx context.Context, pool *pgxpool.Pool, migrate bool) error {
	if migrate {
		_, err := persist.MigrateUp(ctx, pool)
		return err
	}
	steps, err := persist.MigrateStatus(ctx, pool)
	if err != nil {
		return err
	}
	for _, step := range steps {
		if !step.Applied {
			return fmt.Errorf("%w (%s is missing)", errSchemaBehind, step.Name)
		}
	}
	return nil
}

// serve runs the process's services, and host beside them, until ctx ends or one of them does. The door is the first to
// be shut: requests in flight still find the engine, and what the engine has confirmed still finds the drainer.
func (n *node) serve(ctx context.Context, s *serveCmd, ln net.Listener, host service) error {
	origin, err := httpapi.OriginOf(s.FrontendURL)
	if err != nil {
		return fmt.Errorf("FRONTEND_URL: %w", err)
	}
	config := httpapi.Config{
		AdminToken: s.AdminToken, Tokens: n.door.tokens, Version: version, Origin: origin, MaxHold: s.HoldMax,
		Metrics: n.metrics, MetricsApart: s.MetricsAddr != "", Pprof: s.Pprof, Demo: s.Dev, Preparing: n.preparing,
	}
	if err := s.applyGuards(&config); err != nil {
		return err
	}
	server := httpapi.New(httpapi.Deps{
		Checks: []httpapi.Check{{Name: "redis", Probe: n.pingRedis, Meanwhile: "no order is decided"}, s.ledgerCheck(n)},
	}, config)
	serveMetrics, err := s.listenMetrics(ctx, server)
	if err != nil {
		return err
	}
	err = runInOrder(ctx,
		func(ctx context.Context) error { return server.Serve(ctx, ln) },
		host,
		func(ctx context.Context) error { return n.work(ctx, s, server) },
		n.door.run,
		n.level.run,
		serveMetrics,
	)
	slog.Info("stopped", "orders_not_in_ledger", n.backlog())
	return err
}

// backlog is how many orders wait for the ledger, as far as this process knows.
func (n *node) backlog() (orders int64) {
	if n.engine == nil {
		return 0
	}
	for partition := range n.engine.Partitions() {
		orders += n.engine.State(partition).Backlog
	}
	return orders
}

// welcome makes the demo product in development and says where everything is; then it waits for the end.
func (n *node) welcome(ctx context.Context, s *serveCmd, address, psql string) error {
	if s.Dev {
		if product, there := n.demo(ctx); there {
			n.demoAway.Store(false)
			greet(address, product, s.AdminToken, psql)
		}
	}
	slog.Info("listening", "address", "http://"+address, "version", version)
	<-ctx.Done()
	slog.Info("closed; draining the log")
	return nil
}

// demo waits until sales are open and until there is a product to try, the demo product unless there are others, however long
// that takes: a disk may stall, and a developer is told why. It is not there where ctx ended first.
func (n *node) demo(ctx context.Context) (product string, there bool) {
	if n.awaitOpen(ctx) != nil {
		return "", false
	}
	for said := ""; ; {
		product, err := ensureDemo(ctx, n.store)
		if err == nil {
			_, there, err = n.engine.Stock(ctx, product) // a change that is recorded may not have reached Redis
		}
		if there {
			return product, true
		}
		if err != nil && ctx.Err() == nil && oneLine(err) != said {
			said = oneLine(err)
			slog.Warn("the demo product is not on sale yet", "error", said)
		}
		if !pause.For(ctx, storePause) {
			return "", false
		}
	}
}

// awaitOpen waits until the stores are there and all partitions take orders.
func (n *node) awaitOpen(ctx context.Context) error {
	select {
	case <-n.connected:
	case <-ctx.Done():
		return ctx.Err()
	}
	for partition := range n.engine.Partitions() {
		if err := n.engine.AwaitOpen(ctx, partition); err != nil {
			return err
		}
	}
	return nil
}

// ledgerCheck asks Postgres, without which orders go on unless their answers wait for it.
func (s *serveCmd) ledgerCheck(n *node) httpapi.Check {
	if s.Durability == engine.DurabilityLedger.String() {
		return httpapi.Check{Name: "postgres", Probe: n.pingLedger, Meanwhile: "orders wait for it, and fail"}
	}
	return httpapi.Check{
		Name: "postgres", Probe: n.pingLedger, OrdersGoOn: true, Meanwhile: "orders go on and wait for it, products can't be changed",
	}
}
