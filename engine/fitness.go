package engine

import (
	"context"
	"log/slog"
	"time"
)

const (
	// fitnessInterval is how often the servers are looked at again: settings may be changed under a running service, and a
	// replica that is promoted has settings of its own.
	fitnessInterval = 10 * time.Second
	// fitnessTimeout bounds one look.
	fitnessTimeout = 2 * time.Second
)

// unfitReason is what a partition's state says while a server may forget what it has: nobody is told the names of hosts.
const unfitReason = "Redis is not set up as it must be (it may evict what was sold): the log says what to change"

// watchFitness looks at the servers now and then until ctx ends.
func (e *Engine) watchFitness(ctx context.Context) {
	for sleep(ctx, fitnessInterval) {
		e.lookAtServers(ctx)
	}
}

// lookAtServers notes whether the servers can still keep the promises, and logs it when that changes. Sales go on: to stop
// them, or not, until somebody has set it right is for people to decide.
func (e *Engine) lookAtServers(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, fitnessTimeout)
	defer cancel()
	err := checkServers(ctx, e.client, func(string) {})
	switch {
	case err == nil && e.unfit.Swap(false):
		slog.Info("redis is set up as it must be again")
	case err != nil && !Away(err) && !e.unfit.Swap(true):
		slog.Error("redis is not set up as it must be: what was sold may be forgotten", "error", err)
	}
}
