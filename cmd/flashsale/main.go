// Command flashsale is the reservation engine: server, migrations and bench in one binary.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"flashsale/bench"
	"flashsale/internal/devstack"
)

// version is set by the build.
var version = "dev"

// cli is everything the command line takes.
type cli struct {
	Config kong.ConfigFlag `env:"FLASHSALE_CONFIG" help:"File with NAME=value lines, the names those of the environment. Default: .env where there is one." placeholder:"FILE"`

	Serve   serveCmd   `cmd:"" help:"Run the service."`
	Migrate migrateCmd `cmd:"" help:"Bring the ledger's schema up or down, or show where it is."`
	Bench   benchCmd   `cmd:"" help:"Send a crowd of buyers to a service and prove that it sold exactly what it had."`
	Keys    keysCmd    `cmd:"" help:"API keys, for AUTH=keys."`
	Health  healthCmd  `cmd:"" help:"Ask whether a service on this machine is well; for container engines."`
	Version versionCmd `cmd:"" help:"Print the version."`

	Reconcile reconcileCmd `cmd:"" help:"Compare Redis with the ledger, while sales go on, and explain every drift. Exit code: 0 clean, 1 drift, 2 it could not tell."`

	Products productsCmd `cmd:"" help:"Import products from a CSV file, or export them to one."`
}

func main() {
	if slices.Contains(os.Args[1:], "serve") {
		allowTimerSlack()
	}
	if err := run(os.Args[1:]); err != nil {
		if !errors.As(err, &loggedError{}) {
			fmt.Fprintln(os.Stderr, "flashsale: "+saidOf(err))
		}
		os.Exit(exitCode(os.Args[1:], err))
	}
}

// exitCode is 1 unless an error has a code of its own. What reconcile can't even read is no drift.
func exitCode(args []string, err error) int {
	var exit exitError
	switch {
	case errors.As(err, &exit):
		return exit.code
	case slices.Contains(args, "reconcile"):
		return exitUnknown
	}
	return 1
}

// saidOf is what a person at the terminal is told: one line, but where servers are missing, for one of those lines is to be pasted.
func saidOf(err error) string {
	if errors.Is(err, devstack.ErrNotInstalled) {
		return err.Error()
	}
	return oneLine(err)
}

// oneLine joins the lines of an error; the drivers break theirs.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

func run(args []string) error {
	var c cli
	parser, err := newParser(&c)
	if err != nil {
		return err
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return err
	}
	if err := errors.Join(refuseSecrets(parsed), refuseNegative(parsed)); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	parsed.BindTo(ctx, (*context.Context)(nil))
	return parsed.Run()
}

func newParser(c *cli, options ...kong.Option) (*kong.Kong, error) {
	return kong.New(c, append([]kong.Option{
		kong.Name("flashsale"),
		kong.Description("The reservation engine for flash sales: Redis decides, Postgres remembers."),
		kong.Vars{"scenarios": strings.Join(bench.ScenarioNames(), ",")},
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Configuration(loadEnvFile, ".env"),
	}, options...)...)
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run() error {
	_, err := fmt.Println("flashsale " + version)
	return err
}
