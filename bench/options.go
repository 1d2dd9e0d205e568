package bench

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"flashsale/bench/load"
)

// Options say what [Run] sells to whom. Numbers that are 0 and texts that are empty become what suits the scenario.
type Options struct {
	Target     string // base URL of the server, such as http://127.0.0.1:3000; needed
	Scenario   string // name of one of [Scenarios]; default rush
	AdminToken string // for `Authorization: Bearer`, to make products; needed where the server asks for one
	Token      string // the same for buyers' routes; default none

	Buyers   int64   // user ids. Each comes once or, in a sale by Duration, in turn; 0 there = each visit another
	Visits   int64   // most visits; default in a sale by number: as many as suit Buyers
	Products int     // how many there are
	Units    int64   // of each product
	Zipf     float64 // how much the first products are wanted more: the k-th in proportion to 1/k^Zipf; 0 = what suits the scenario
	Uniform  bool    // instead: all alike

	Connections int           // each with one request under way at most; default 64
	Rate        float64       // visits a second on a fixed schedule (open loop); 0 = as fast as the connections allow
	Warmup      time.Duration // of a sale by Duration, not measured but proven; 0 = what suits the scenario
	NoWarmup    bool          // instead: none
	Duration    time.Duration // measured; 0 = until all have come
	HoldSeconds int           // of the holds in the scenario of that name
	Durability  string        // asked for with each order; "" = what the server does by default
	Seed        uint64        // decides who comes when and for what; default 1

	Product     string        // id of the product, with more than one the beginning of their ids; must not exist yet
	Timeout     time.Duration // of each request; default 5 s
	LedgerWait  time.Duration // for the ledger to have every order, after the sale; default 30 s
	Lookups     int           // orders that are looked up one by one at the most; default 20,000
	Shared      bool          // others order too, so that the ledger's counts of orders say nothing about this sale
	DatabaseURL string        // of the ledger, to hold its rows against the orders one by one; "" = not

	Environment Environment // for the report
	Out         io.Writer   // for progress: a bar on a terminal, lines elsewhere; nil = none
}

// Defaults of [Options].
const (
	DefaultLedgerWait = 30 * time.Second
	DefaultLookups    = 20_000
)

// Bounds of [Options].
const (
	maxBuyers     = 1_000_000_000
	maxUnits      = 1_000_000_000_000
	maxProducts   = 100_000
	maxProductLen = 50 // a number may follow
)

// ErrOptions is what [Run] wraps when it was asked for something that it can't do.
var ErrOptions = load.ErrOptions

// What the server asks of product ids and durability (DESIGN, Vocabulary). It also makes them fit for paths and JSON.
var (
	productRule    = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$`)
	durabilityRule = regexp.MustCompile(`^[a-z]*$`)
	tokenRule      = regexp.MustCompile(`^[[:graph:]]*$`)
)

func (o Options) withDefaults(s *Scenario) Options { //nolint:gocritic // once a run
	o.Scenario = s.Name
	o.Buyers = cmp.Or(o.Buyers, s.defaults.Buyers)
	o.Products = cmp.Or(o.Products, max(1, s.defaults.Products))
	o.Units = cmp.Or(o.Units, s.defaults.Units)
	o.HoldSeconds = cmp.Or(o.HoldSeconds, s.defaults.HoldSeconds)
	if o.Zipf == 0 && !o.Uniform {
		o.Zipf = s.defaults.Zipf
	}
	if o.Duration == 0 && o.Visits == 0 {
		o.Duration = s.defaults.Duration
	}
	if o.Duration > 0 && o.Warmup == 0 && !o.NoWarmup {
		o.Warmup = min(s.defaults.Warmup, o.Duration/4)
	}
	if o.Visits == 0 && (o.Duration == 0 || s.once) {
		o.Visits = o.Buyers * max(1, s.visitsPerBuyer)
	}
	o.Connections = cmp.Or(o.Connections, load.DefaultConnections)
	o.Timeout = cmp.Or(o.Timeout, load.DefaultTimeout)
	o.LedgerWait = cmp.Or(o.LedgerWait, DefaultLedgerWait)
	o.Lookups = cmp.Or(o.Lookups, DefaultLookups)
	o.Seed = cmp.Or(o.Seed, 1)
	if o.Product == "" {
		o.Product = freshProduct(time.Now())
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	return o
}

// Check returns what [Run] would say of the options before it asks the target anything, and of all but the target: an error
// wraps [ErrOptions] and names the flag, what was given, and what is allowed.
func (o *Options) Check() error {
	full, scenario, err := o.complete()
	if err != nil {
		return err
	}
	if _, err := load.NewPicker(full.Products, full.Zipf, full.Seed); err != nil {
		return err //nolint:wrapcheck // it says what is wrong with the option
	}
	plan := full.plan(scenario)
	return plan.Check() //nolint:wrapcheck // as above
}

// complete fills in what suits the scenario.
func (o *Options) complete() (Options, *Scenario, error) {
	scenario, known := scenarioOf(o.Scenario)
	if !known {
		return Options{}, nil, fmt.Errorf("%w: scenario %q is none of %s", ErrOptions, o.Scenario, strings.Join(ScenarioNames(), ", "))
	}
	if err := o.check(); o.Product != "" && err != nil {
		return Options{}, nil, err
	}
	if err := scenario.heeds(o); err != nil {
		return Options{}, nil, err
	}
	full := o.withDefaults(scenario)
	err := full.check()
	return full, scenario, err
}

// plan is the load that suits the scenario.
func (o *Options) plan(s *Scenario) load.Plan {
	return load.Plan{
		Connections: o.Connections, Rate: o.Rate, Warmup: o.Warmup, Duration: o.Duration, Visits: o.Visits, Timeout: o.Timeout, Ops: s.ops,
	}
}

func (o *Options) check() error {
	switch {
	case len(o.Product) > maxProductLen || !productRule.MatchString(o.Product):
		return fmt.Errorf("%w: product %q is not up to %d of %s", ErrOptions, o.Product, maxProductLen, productRule)
	case o.Buyers < 0 || o.Buyers > maxBuyers:
		return fmt.Errorf("%w: --buyers %d: from 1 to %d", ErrOptions, o.Buyers, maxBuyers)
	case o.Units < 0 || o.Units > maxUnits:
		return fmt.Errorf("%w: --units %d: from 1 to %d", ErrOptions, o.Units, int64(maxUnits))
	case o.Products < 0 || o.Products > maxProducts:
		return fmt.Errorf("%w: --products %d: from 1 to %d", ErrOptions, o.Products, maxProducts)
	case o.HoldSeconds < 0:
		return fmt.Errorf("%w: --hold-seconds %d: from 1", ErrOptions, o.HoldSeconds)
	case !durabilityRule.MatchString(o.Durability):
		return fmt.Errorf("%w: durability %q is not a word", ErrOptions, o.Durability)
	case !tokenRule.MatchString(o.Token) || !tokenRule.MatchString(o.AdminToken):
		return fmt.Errorf("%w: a token has characters that no header takes", ErrOptions)
	}
	return nil
}

// comeOnce is true where no buyer comes a second time.
func (o *Options) comeOnce() bool { return o.Buyers == 0 || o.Visits > 0 && o.Visits <= o.Buyers }

func freshProduct(now time.Time) string {
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails: it ends the process instead (crypto/rand)
	return "bench-" + strconv.FormatInt(now.Unix(), 10) + "-" + hex.EncodeToString(random[:])
}

// productIDs returns the ids of all products.
func (o *Options) productIDs() []string {
	if o.Products == 1 {
		return []string{o.Product}
	}
	ids := make([]string, o.Products)
	for i := range ids {
		ids[i] = o.Product + "-" + strconv.Itoa(i)
	}
	return ids
}
