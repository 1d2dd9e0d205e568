package bench

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"time"
)

// Options say what [Rush] sells to whom. Values that are not positive, and texts that are empty, become the defaults.
type Options struct {
	Target     string // base URL of the server, such as http://127.0.0.1:3000; needed
	AdminToken string // for `Authorization: Bearer`, to make the product; needed where the server asks for one

	Buyers      int    // who come, each with a user id of their own and for one unit; default 5000
	Units       int64  // what there is to sell; default 1000
	Connections int    // each with one request under way at most (closed loop); default 64
	Product     string // id of the product, which must not exist yet; default bench-<unix time>-<random>

	Timeout    time.Duration // of each request; default 5 s
	LedgerWait time.Duration // for the ledger to have every order, after the sale; default 30 s

	Out io.Writer // for progress: a bar on a terminal, lines elsewhere; nil = none
}

// Defaults of [Options].
const (
	DefaultBuyers      = 5000
	DefaultUnits       = 1000
	DefaultConnections = 64
	DefaultTimeout     = 5 * time.Second
	DefaultLedgerWait  = 30 * time.Second
)

// Bounds of [Options].
const (
	maxBuyers      = 10_000_000 // their order ids are kept in memory
	maxUnits       = 1_000_000_000_000
	maxConnections = 10_000
)

// ErrOptions is what [Rush] wraps when it was asked for something that it can't do.
var ErrOptions = errors.New("bench options")

// productRule is what the server asks of product ids (DESIGN, Vocabulary). It also makes them fit for paths and JSON.
var productRule = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$`)

func (o Options) withDefaults() Options {
	o.Buyers = orDefault(o.Buyers, DefaultBuyers)
	o.Units = orDefault(o.Units, DefaultUnits)
	o.Connections = orDefault(o.Connections, DefaultConnections)
	o.Timeout = orDefault(o.Timeout, DefaultTimeout)
	o.LedgerWait = orDefault(o.LedgerWait, DefaultLedgerWait)
	if o.Product == "" {
		o.Product = freshProduct(time.Now())
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	return o
}

func (o *Options) check() error {
	switch {
	case !productRule.MatchString(o.Product):
		return fmt.Errorf("%w: product %q is not %s", ErrOptions, o.Product, productRule)
	case o.Buyers > maxBuyers:
		return fmt.Errorf("%w: %d buyers, at most %d", ErrOptions, o.Buyers, maxBuyers)
	case o.Units > maxUnits:
		return fmt.Errorf("%w: %d units, at most %d", ErrOptions, o.Units, maxUnits)
	case o.Connections > maxConnections:
		return fmt.Errorf("%w: %d connections, at most %d", ErrOptions, o.Connections, maxConnections)
	}
	return nil
}

// orDefault returns the fallback for anything that is not positive.
func orDefault[T int | int64 | time.Duration](value, fallback T) T {
	if value <= 0 {
		return fallback
	}
	return value
}

func freshProduct(now time.Time) string {
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails: it ends the process instead (crypto/rand)
	return "bench-" + strconv.FormatInt(now.Unix(), 10) + "-" + hex.EncodeToString(random[:])
}
