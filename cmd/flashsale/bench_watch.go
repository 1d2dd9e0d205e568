package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"flashsale/bench/watch"
)

type benchWatch struct {
	Target  string        `help:"Base URL of the service." placeholder:"URL" required:""`
	Token   string        `env:"BENCH_TOKEN" group:"HTTP" help:"A monitor's, where figures are not for everybody. Environment or file only." hidden:"" secret:"yes"`
	Clients int           `help:"How many watch; a service takes 1,024." default:"1000" positive:"yes"`
	For     time.Duration `help:"For how long, once all are there." default:"30s" positive:"yes"`
}

var errWatchersLost = errors.New("the service let go of some who watched")

// Run watches, and fails where somebody was not let in or was let go of.
func (b *benchWatch) Run(ctx context.Context) error {
	told, err := watch.Run(ctx, watch.Options{Target: b.Target, Token: b.Token, Clients: b.Clients, For: b.For})
	if err != nil {
		return err
	}
	fmt.Printf("%d watched for %s and got %.2f updates a second each; %d were let go of\n",
		told.Clients, told.Took.Round(time.Second), told.PerClient(), told.Lost)
	if told.Lost > 0 {
		return errWatchersLost
	}
	return nil
}
