package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"flashsale/engine"
	"flashsale/internal/devstack"
	"flashsale/persist"
)

// startStack finds or starts the servers of development, says in one line which, and puts their addresses into s.
func startStack(ctx context.Context, s *stores, postgresOnly bool) (*devstack.Stack, error) {
	return startStackSaying(ctx, os.Stdout, s, postgresOnly)
}

func startStackSaying(ctx context.Context, out io.Writer, s *stores, postgresOnly bool) (*devstack.Stack, error) {
	dataDir := s.DataDir
	if dataDir == "" {
		dataDir = devstack.DefaultDataDir()
	}
	stack, err := devstack.Start(ctx, devstack.Options{DataDir: dataDir, Getenv: s.environment, NoRedis: postgresOnly})
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintln(out, stack); err != nil {
		return nil, errors.Join(err, stack.Close())
	}
	s.RedisURL, s.DatabaseURL = stack.RedisURL(), stack.DatabaseURL()
	return stack, nil
}

// demo product: what `make run` puts on sale where there is nothing.
const (
	demoProduct = "demo"
	demoUnits   = 1_000_000
)

// ensureDemo makes the demo product if there is no product at all, and returns the id of one to try: the demo product
// where it is there, whatever else is.
func ensureDemo(ctx context.Context, store *persist.Store) (string, error) {
	if _, err := store.Product(ctx, demoProduct); err == nil {
		return demoProduct, nil
	}
	products, err := store.Products(ctx, "", 1)
	if err != nil {
		return "", err
	}
	if len(products) > 0 {
		return products[0].ID, nil
	}
	demo := engine.NewProduct{Actor: "make run", Reason: "demo product"}
	demo.ID, demo.Name, demo.PriceCents = demoProduct, "Demo sneaker", 9900
	demo.Stock.Initial, demo.Terms.Active = demoUnits, true
	_, err = store.CreateProduct(ctx, demo)
	var known *engine.Error
	if errors.As(err, &known) && known.Code == engine.CodeInvalidState {
		return demoProduct, nil // another process was faster
	}
	return demoProduct, err
}

// greet prints what a person at the terminal wants next.
func greet(address, product, adminToken, psql string) {
	var b strings.Builder
	fmt.Fprintf(&b, "\nflashsale is open at http://%s\n\n", address)
	fmt.Fprintf(&b, "  dashboard    http://%s/dashboard\n", address)
	fmt.Fprintf(&b, "  demo shop    http://%s/demo\n", address)
	fmt.Fprintf(&b, "  admin token  %s\n", adminToken)
	if psql != "" {
		fmt.Fprintf(&b, "  ledger       %s\n", psql)
	}
	fmt.Fprintf(&b, "\nPlace an order:\n\n  curl -i http://%s/orders -H 'content-type: application/json' -d '{\"productId\":%q,\"userId\":\"ann\",\"quantity\":1}'\n\n", address, product)
	fmt.Print(b.String())
}
