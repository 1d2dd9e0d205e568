package cost

import "context"

// Engine opens partitions to be measured.
type Engine interface {
	// Open makes a partition that nobody else knows, with a shape, and opens it for sale.
	Open(ctx context.Context, shape Shape) (Partition, error)
}

// Shape is what a partition has before the first measured order.
type Shape struct {
	Products int `json:"products"` // on sale; every batch goes over all of them in turn
	Buyers   int `json:"buyers"`   // who have bought before
}

// Partition is one unit of placement in Redis, for several goroutines at once.
type Partition interface {
	// Decide has one call decide orders of n buyers, numbered from first, each for one unit, and fails unless every one
	// is done as asked. Buyers buy once; those of Confirm have a hold from an earlier Hold.
	Decide(ctx context.Context, what Kind, first, n int) error
	// Forget removes what a drainer removes once everything is in the ledger and past its grace.
	Forget(ctx context.Context) error
	// Keys names the Redis keys that grow with orders and buyers.
	Keys() Keys
	// Close removes every key.
	Close(ctx context.Context) error
}

// Keys are names of keys in Redis.
type Keys struct {
	Log, Meta, Orders, Buyers string
}

// Kind is what is asked for.
type Kind string

// The kinds, in the order in which they are measured: what is held is then confirmed.
const (
	Sale    Kind = "sale"
	Keyed   Kind = "keyed"   // a sale with an idempotency key
	Hold    Kind = "hold"    // for longer than the measurement
	Confirm Kind = "confirm" // of such a hold
)

// Kinds are all of them.
func Kinds() []Kind { return []Kind{Sale, Keyed, Hold, Confirm} }
