package main

import (
	"context"
	"errors"
)

// service is background work that runs until its context ends.
type service func(context.Context) error

// runInOrder runs services side by side until ctx ends or one of them does, and then stops them in the order given,
// each only after the one before it has ended. It returns all their errors.
func runInOrder(ctx context.Context, services ...service) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	cancels := make([]context.CancelFunc, len(services))
	ended := make([]chan error, len(services))
	for i, run := range services {
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		cancels[i], ended[i] = cancel, make(chan error, 1)
		go func() {
			defer stop() // one that ends early takes the others along
			ended[i] <- run(own)
		}()
	}
	<-running.Done()
	var errs []error
	for i := range services {
		cancels[i]()
		errs = append(errs, <-ended[i])
	}
	return errors.Join(errs...)
}
