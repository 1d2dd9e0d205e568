package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"flashsale/bench/compare"
	"flashsale/bench/rival"
	"flashsale/engine"
	"flashsale/httpapi"
)

// serving is an HTTP server at work on a free port.
type serving struct {
	url    string
	cancel context.CancelFunc
	ended  chan error
}

func startServing(ctx context.Context, serve func(ctx context.Context, ln net.Listener) error) (*serving, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(defaultHost, "0"))
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &serving{url: "http://" + ln.Addr().String(), cancel: cancel, ended: make(chan error, 1)}
	go func() { s.ended <- serve(ctx, ln) }()
	return s, nil
}

// URL is where POST /orders is.
func (s *serving) URL() string { return s.url }

// Close stops the server and waits until it has stopped.
func (s *serving) Close() error {
	s.cancel()
	return <-s.ended
}

// engineContender is a whole node, as `serve` runs it: with its drainer and its sweeps.
type engineContender struct {
	stores
	hot
}

// Name says what it is.
func (c *engineContender) Name() string { return "flashsale" }

// Open starts the node and waits until it is open for sale.
func (c *engineContender) Open(ctx context.Context) (_ compare.Shop, err error) {
	s := &serveCmd{stores: c.stores, hot: c.hot, authSettings: authSettings{AdminToken: freshBenchName()}, NodeEnv: "development"}
	n, err := s.newNode(ctx)
	if err != nil {
		return nil, err
	}
	shop := &engineShop{node: n}
	opened := make(chan struct{})
	shop.serving, err = startServing(ctx, func(ctx context.Context, ln net.Listener) error {
		return n.serve(ctx, s, ln, func(ctx context.Context) error {
			if err := n.awaitOpen(ctx); err != nil {
				return nil //nolint:nilerr // it was stopped before
			}
			close(opened)
			<-ctx.Done()
			return nil
		})
	})
	if err != nil {
		n.close()
		return nil, err
	}
	select {
	case <-opened:
		return shop, nil
	case err = <-shop.ended:
		shop.ended <- nil
	case <-time.After(openTimeout):
		err = errNotOpen
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, errors.Join(err, shop.Close())
}

var errNotOpen = fmt.Errorf("the service was not open within %s", openTimeout)

type engineShop struct {
	*serving
	node *node
}

// Stock makes the product, with the limit that the rivals have.
func (s *engineShop) Stock(ctx context.Context, product string, units int64) error {
	p := engine.NewProduct{Actor: "bench compare", Reason: "to be sold"}
	p.ID, p.Name, p.Stock.Initial = product, product, units
	p.Terms = engine.Terms{Active: true, PerUserLimit: rival.PerUser}
	_, err := s.node.store.CreateProduct(ctx, p)
	return err
}

// ledgerPoll is how often the backlog is looked at.
const ledgerPoll = 5 * time.Millisecond

// Books waits for the ledger: its rows are the orders, Redis says what is left.
func (s *engineShop) Books(ctx context.Context, product string) (books rival.Books, err error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	again := time.NewTicker(ledgerPoll)
	defer again.Stop()
	for s.node.backlog() > 0 {
		select {
		case <-again.C:
		case <-ctx.Done():
			return books, fmt.Errorf("wait for the ledger: %w", ctx.Err())
		}
	}
	sold, err := s.node.store.Product(ctx, product)
	if err != nil {
		return books, err
	}
	books.Left, books.Units = sold.Stock.Current, sold.Stock.Sold
	books.Orders, err = rival.LedgerOrders(ctx, s.node.pool, product)
	return books, err
}

// Close lets the node drain and stops it.
func (s *engineShop) Close() error {
	err := s.serving.Close()
	s.node.close()
	return err
}

// rivalContender puts a rival behind the very server that the engine has: the same settings, the same decoding, the same
// answers. Only who decides is another.
type rivalContender struct {
	rival    rival.Rival
	redisURL string
}

// Name says what it is.
func (c *rivalContender) Name() string { return c.rival.Name() }

// Open starts a server that asks the rival.
func (c *rivalContender) Open(ctx context.Context) (compare.Shop, error) {
	client, err := engine.Connect(ctx, c.redisURL)
	if err != nil {
		return nil, err
	}
	idle, err := engine.New(client, engine.Config{}) // decides nothing: none of its partitions is open
	if err != nil {
		client.Close()
		return nil, err
	}
	server := httpapi.New(httpapi.Deps{Reserver: &rivalReserver{Reserver: idle, rival: c.rival}}, httpapi.Config{Metrics: metrics.NewSet()})
	s, err := startServing(ctx, func(ctx context.Context, ln net.Listener) error {
		defer client.Close()
		return server.Serve(ctx, ln)
	})
	if err != nil {
		client.Close()
		return nil, err
	}
	return &rivalShop{serving: s, Rival: c.rival}, nil
}

type rivalShop struct {
	*serving
	rival.Rival
}

// rivalReserver lets a rival decide.
type rivalReserver struct {
	httpapi.Reserver
	rival rival.Rival
}

// Reserve asks the rival. There is no deadline but the rival's own: to keep one for each order costs.
func (r *rivalReserver) Reserve(o *engine.Reservation, now time.Time) error {
	o.ID = engine.NewOrderID(engine.PartitionOf(o.Product, r.Partitions()), now)
	err := r.rival.Sell(context.Background(), &rival.Order{
		ID: o.ID.String(), Product: o.Product, User: o.User, Quantity: o.Quantity, At: now,
	})
	switch {
	case err == nil:
	case errors.Is(err, rival.ErrSoldOut):
		return engine.ErrSoldOut
	case errors.Is(err, rival.ErrLimit):
		return engine.ErrLimitExceeded
	case errors.Is(err, rival.ErrBusy):
		return engine.ErrQueueFull
	default:
		return err
	}
	o.Order = engine.Order{
		ID: o.ID, Product: o.Product, User: o.User, Quantity: o.Quantity, Status: engine.StatusConfirmed, Version: 1,
		CreatedAtMs: now.UnixMilli(), UpdatedAtMs: now.UnixMilli(),
	}
	return nil
}
