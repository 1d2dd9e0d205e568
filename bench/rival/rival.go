package rival

import (
	"context"
	"errors"
	"time"
)

// Order is what a buyer asks for.
type Order struct {
	ID       string
	Product  string
	User     string
	Quantity int64 // units, at least 1
	At       time.Time
}

// The refusals. Whatever else Sell returns leaves open whether the order was placed.
var (
	ErrSoldOut = errors.New("fewer are left")
	ErrLimit   = errors.New("the buyer has as many as one may have")
	ErrBusy    = errors.New("the lock was not to be had in time")
)

// Books are what a strategy wrote down about a product.
type Books struct {
	Left   int64 `json:"left"`   // units
	Orders int64 `json:"orders"` // records
	Units  int64 `json:"units"`  // that buyers have
}

// Rival is a way to sell.
type Rival interface {
	// Name says in a few words how.
	Name() string
	// Stock puts a new product on sale.
	Stock(ctx context.Context, product string, units int64) error
	// Sell decides one order and returns nil where it was placed. It is safe for concurrent use.
	Sell(ctx context.Context, o *Order) error
	// Books adds up what was sold of a product, when nobody sells any more.
	Books(ctx context.Context, product string) (Books, error)
}

// PerUser is how many units one buyer may have.
const PerUser = 2
