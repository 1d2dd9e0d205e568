package compare

import (
	"context"
	"errors"
	"fmt"
	"net"

	"flashsale/bench"
	"flashsale/bench/load"
	"flashsale/bench/rival"
)

// Contender is one way to sell.
type Contender interface {
	Name() string
	// Open starts its server.
	Open(ctx context.Context) (Shop, error)
}

// Shop is a contender's server at work.
type Shop interface {
	// URL is where POST /orders is.
	URL() string
	// Stock puts a new product on sale.
	Stock(ctx context.Context, product string, units int64) error
	// Books waits until what was sold is where it stays, and adds it up.
	Books(ctx context.Context, product string) (rival.Books, error)
	// Close stops the server.
	Close() error
}

// floor is the contender that does nothing.
type floor struct{}

// Name says what it is.
func (floor) Name() string { return "floor: answers, sells nothing" }

// Open serves [bench.Floor] on a free port.
func (floor) Open(ctx context.Context) (Shop, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &floorShop{url: "http://" + ln.Addr().String(), cancel: cancel, ended: make(chan error, 1)}
	go func() { s.ended <- bench.Floor(ctx, ln) }()
	return s, nil
}

type floorShop struct {
	url    string
	cancel context.CancelFunc
	ended  chan error
}

// URL is where it answers.
func (s *floorShop) URL() string { return s.url }

// Stock does nothing.
func (s *floorShop) Stock(context.Context, string, int64) error { return nil }

// Books are empty.
func (s *floorShop) Books(context.Context, string) (rival.Books, error) { return rival.Books{}, nil }

// Close stops it.
func (s *floorShop) Close() error {
	s.cancel()
	return <-s.ended
}

// audit says what is wrong with the books of a sale of single units, or with the answers beside them; "" = nothing.
func audit(units int64, answered *load.Counts, books rival.Books) string {
	switch {
	case books.Orders < answered.Accepted:
		return fmt.Sprintf("%d orders accepted, %d in the books", answered.Accepted, books.Orders)
	case books.Orders > answered.Accepted+answered.Unknown:
		return fmt.Sprintf("%d orders in the books, %d accepted and %d without an answer", books.Orders, answered.Accepted, answered.Unknown)
	case books.Units != books.Orders:
		return fmt.Sprintf("%d units sold by %d orders of one", books.Units, books.Orders)
	case books.Left < 0 || books.Left+books.Units != units:
		return fmt.Sprintf("%d left and %d sold of %d", books.Left, books.Units, units)
	case answered.Refused[soldOut] > 0 && books.Left > 0:
		return fmt.Sprintf("%d refused as sold out, %d left", answered.Refused[soldOut], books.Left)
	case answered.Accepted == 0:
		return fmt.Sprintf("nobody was sold anything of %d units", units)
	}
	return ""
}

// soldOut is the code of the refusal of who came too late.
const soldOut = "sold_out"

var errNobody = errors.New("nobody to compare")
