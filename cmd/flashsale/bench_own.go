package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// openTimeout bounds how long the bench waits for its own service to take orders.
const openTimeout = 30 * time.Second

// ownService is a service that runs beside the bench, in the same process.
type ownService struct {
	target, adminToken    string
	redisURL, databaseURL string
}

// onOwnService runs the service on the development stack, on a free port, for as long as do takes.
func onOwnService(
	ctx context.Context, named stores, hot hot, adminToken string, do func(context.Context, *ownService) error,
) (err error) {
	named.Dev = true
	serve := &serveCmd{stores: named, hot: hot, authSettings: authSettings{AdminToken: adminToken}, NodeEnv: "development"}
	if err := errors.Join(serve.check(), serve.chooseAdminToken()); err != nil {
		return err
	}
	stack, err := startStack(ctx, &serve.stores, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stack.Close()) }()
	n, err := serve.newNode(ctx)
	if err != nil {
		return err
	}
	defer n.close()
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(defaultHost, "0"))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	own := &ownService{
		target: "http://" + ln.Addr().String(), adminToken: serve.AdminToken,
		redisURL: serve.redisURL(), databaseURL: serve.databaseURL(),
	}
	return n.serve(ctx, serve, ln, func(ctx context.Context) error {
		open, cancel := context.WithTimeout(ctx, openTimeout)
		defer cancel()
		if err := n.awaitOpen(open); err != nil {
			return fmt.Errorf("wait for sales to open: %w", err)
		}
		return do(ctx, own)
	})
}
