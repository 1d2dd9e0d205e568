package bench

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"flashsale/bench/load"
)

// Scenario is a kind of sale.
type Scenario struct {
	Name  string
	About string // one sentence

	defaults       Options
	visitsPerBuyer int64
	ops            []string
	placing        int      // how many of them, from the first, place orders
	refusals       []string // codes that may be answered; anything else is a breach
	holds          bool     // stock is held, and given back in the end
	once           bool     // no buyer has more than one order, however often they come
	answerRules    []string // that an answer can break by itself
	script         func(s *sale, m *load.OrderMaker) func(connection int) load.Script
}

// Codes of problem documents that mean something here (DESIGN, HTTP).
const (
	codeSoldOut       = "sold_out"
	codeDuplicate     = "duplicate_order"
	codeLimitExceeded = "limit_exceeded"
)

const (
	endless = 1_000_000_000 // units that no bench sells
	// defaultHold is the shortest that leaves time to confirm on a busy machine, in seconds.
	defaultHold = 2
)

// Scenarios returns all kinds of sales.
func Scenarios() []Scenario {
	plain := []string{"order"}
	return []Scenario{
		{
			Name: "rush", About: "a crowd for a small stock",
			defaults: Options{Buyers: 5000, Units: 1000}, ops: plain, placing: 1, refusals: []string{codeSoldOut}, script: orderOnce,
		},
		{
			Name: "soldout", About: "a crowd for one unit: nearly all are refused",
			defaults: Options{Units: 1, Duration: 10 * time.Second, Warmup: time.Second},
			ops:      plain, placing: 1, refusals: []string{codeSoldOut}, script: orderOnce,
		},
		{
			Name: "sustained", About: "stock without end, and a ledger that has to keep pace",
			defaults: Options{Units: endless, Duration: 30 * time.Second, Warmup: 2 * time.Second},
			ops:      plain, placing: 1, refusals: []string{codeSoldOut}, script: orderOnce,
		},
		{
			Name: "holds", About: "everyone reserves; half confirm, a tenth cancel, the rest let it expire",
			defaults: Options{Buyers: 5000, Units: 1000, HoldSeconds: defaultHold},
			ops:      []string{"hold", "confirm", "cancel"}, placing: 1, refusals: []string{codeSoldOut}, holds: true, script: holdAndDecide,
		},
		{
			Name: "duplicates", About: "double clicks, replays of a key, buyers who want more than their limit",
			defaults: Options{Buyers: 5000, Units: 2500}, visitsPerBuyer: 2,
			ops: []string{"double click", "replay", "over the limit"}, placing: 3,
			refusals: []string{codeSoldOut, codeDuplicate, codeLimitExceeded}, once: true,
			answerRules: []string{ruleOnce, ruleKey, ruleReplayed}, script: orderTwice,
		},
		{
			Name: "mixed", About: "orders, each read back, and twice as many looks at the stock",
			defaults: Options{Units: endless, Duration: 10 * time.Second, Warmup: time.Second},
			ops:      []string{"order", "read order", "read stock"}, placing: 1, refusals: []string{codeSoldOut},
			answerRules: []string{ruleReadable, ruleReads}, script: orderAndRead,
		},
		{
			Name: "many-products", About: "a crowd for a thousand products, some wanted far more than others",
			defaults: Options{Buyers: 50_000, Products: 1000, Units: 100, Zipf: 1},
			ops:      plain, placing: 1, refusals: []string{codeSoldOut}, script: orderOnce,
		},
	}
}

// scenarioOf finds one by its name; "" = the first.
func scenarioOf(name string) (*Scenario, bool) {
	all := Scenarios()
	at := slices.IndexFunc(all, func(s Scenario) bool { return name == "" || s.Name == name })
	if at < 0 {
		return nil, false
	}
	return &all[at], true
}

// heeds fails where something is asked for that would change nothing about this kind of sale.
func (s *Scenario) heeds(o *Options) error {
	switch {
	case o.HoldSeconds > 0 && !s.holds:
		return fmt.Errorf("%w: --hold-seconds %d: only --scenario holds has holds", ErrOptions, o.HoldSeconds)
	case o.Duration > 0 && s.once:
		return fmt.Errorf("%w: --duration %s: --scenario %s ends when all have come, each twice; --buyers says how many", ErrOptions, o.Duration, s.Name)
	case o.Zipf > 0 && cmp.Or(o.Products, s.defaults.Products, 1) == 1:
		return fmt.Errorf("%w: --zipf %g: there is one product, which all want; --products makes more", ErrOptions, o.Zipf)
	}
	return nil
}

// mayRefuse returns the codes that buyers may be refused with; who comes again is a duplicate for a while.
func (s *Scenario) mayRefuse(o *Options) []string {
	if o.comeOnce() {
		return s.refusals
	}
	return append(slices.Clone(s.refusals), codeDuplicate)
}
