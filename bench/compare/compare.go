package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"flashsale/bench/load"
	"flashsale/internal/positive"
)

// Options say who competes and for how long. Values that are not positive become the defaults.
type Options struct {
	Engine Contender
	Rivals []Contender

	Connections []int         // counts, compared one after another: connections with one request under way each; default 64 and 256, with a Rate 64
	Rounds      int           // of each count; default 5
	Duration    time.Duration // of each round of each contender; default 1500 ms
	Warmup      time.Duration // before it; default 300 ms
	Rate        float64       // orders begun a second in each round, on a schedule, for latency; 0 = closed loop, for the peak rate
	Units       int64         // to be sold out in the end; default 300
	Product     string        // first part of the ids of products, which must not exist yet; default bench

	Out io.Writer // for progress, a line a step; nil = none
}

// Bounds of [Options].
const (
	maxLoads    = 8
	maxRounds   = 100
	maxDuration = 10 * time.Minute
	maxUnits    = 1_000_000

	// endless is a stock that no round sells out.
	endless = 1_000_000_000
	// crowd is how many times as many buyers come as there are units to sell out.
	crowd = 2
)

// ErrOptions is what [Run] wraps when it was asked for something that it can't do.
var ErrOptions = errors.New("bench compare options")

// largerCrowd is the second count of the default. How many orders share a call of the engine's goes with how many come at a time:
// a crowd of one count alone says little of another.
const largerCrowd = 256

func (o Options) withDefaults() Options {
	switch {
	case len(o.Connections) > 0:
	case o.Rate == 0:
		o.Connections = []int{load.DefaultConnections, largerCrowd}
	default:
		o.Connections = []int{load.DefaultConnections}
	}
	o.Rounds = positive.Or(o.Rounds, 5)
	o.Duration = positive.Or(o.Duration, 1500*time.Millisecond)
	o.Warmup = positive.Or(o.Warmup, 300*time.Millisecond)
	o.Units = positive.Or(o.Units, 300)
	if o.Product == "" {
		o.Product = "bench"
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	return o
}

// Check returns what [Run] would say of the options, whoever competes, before anything is there to compete: an error names the
// flag, what was given, and what is allowed.
func (o *Options) Check() error {
	full := o.withDefaults()
	return full.check()
}

func (o *Options) check() error {
	switch {
	case o.Rounds > maxRounds:
		return fmt.Errorf("%w: --rounds %d: from 1 to %d", ErrOptions, o.Rounds, maxRounds)
	case o.Duration > maxDuration:
		return fmt.Errorf("%w: --duration %s: up to %s", ErrOptions, o.Duration, maxDuration)
	case o.Warmup > maxDuration:
		return fmt.Errorf("%w: a warm-up of %s: up to %s", ErrOptions, o.Warmup, maxDuration)
	case o.Units > maxUnits:
		return fmt.Errorf("%w: --units %d: from 1 to %d", ErrOptions, o.Units, maxUnits)
	}
	return o.checkConnections()
}

// checkConnections looks at each count, and at what a round of it would send.
func (o *Options) checkConnections() error {
	if n := len(o.Connections); n > maxLoads {
		return fmt.Errorf("%w: --connections %s: %d counts, at most %d", ErrOptions, listed(o.Connections), n, maxLoads)
	}
	for i, connections := range o.Connections {
		if connections < 1 { // for [load.Plan] that is its default
			return fmt.Errorf("%w: --connections %d: from 1 to %d", ErrOptions, connections, load.MaxConnections)
		}
		if slices.Contains(o.Connections[:i], connections) {
			return fmt.Errorf("%w: --connections %s: %d is there twice, each count may be once", ErrOptions, listed(o.Connections), connections)
		}
		plan := o.plan(connections)
		if err := plan.Check(); err != nil {
			return err
		}
	}
	return nil
}

// listed writes numbers as they are given on the command line.
func listed(numbers []int) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(numbers), "[]"), " ", ",")
}

// plan is the load of each round.
func (o *Options) plan(connections int) load.Plan {
	return load.Plan{Connections: connections, Rate: o.Rate, Warmup: o.Warmup, Duration: o.Duration}
}

// Run has them compete, at one count of connections after another. The report says what was wrong with anybody's books; an error
// is of something that kept the comparison from its end, and then the report has what came before.
func Run(ctx context.Context, o Options) (Report, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return Report{}, err
	}
	if o.Engine == nil {
		return Report{}, fmt.Errorf("%w: %w", ErrOptions, errNobody)
	}
	r := Report{Rounds: o.Rounds, RoundSeconds: o.Duration.Seconds(), Rate: o.Rate, Units: o.Units}
	for _, connections := range o.Connections {
		c := newComparison(&o, connections)
		err := c.run(ctx)
		r.Loads = append(r.Loads, c.load())
		if err != nil {
			return r, fmt.Errorf("%d connections: %w", connections, err)
		}
	}
	return r, nil
}

// comparison is of one count of connections.
type comparison struct {
	*Options
	connections int
	entries     []*entry // the floor, the engine, the rivals
}

func newComparison(o *Options, connections int) *comparison {
	c := &comparison{Options: o, connections: connections}
	for _, who := range append([]Contender{floor{}, o.Engine}, o.Rivals...) {
		c.entries = append(c.entries, &entry{contender: who})
	}
	c.entries[0].isFloor, c.entries[1].isEngine = true, true
	return c
}

// entry is a contender with what it has done so far.
type entry struct {
	contender Contender
	isFloor   bool
	isEngine  bool
	rounds    []round
	failed    int64 // requests of all rounds
	dropped   int64 // of all rounds, where there is a schedule: not sent, because they were too late
	soldOut   bool  // exactly
	wrong     []string
}

// round is what was measured in one.
type round struct {
	perSecond    float64 // accepted
	p50Us, p99Us int64
	lateUs       int64   // by how much orders were begun late, at p99, where there is a schedule
	stolen       float64 // as load.Result has it
}

func (c *comparison) run(ctx context.Context) error {
	for n := range c.Rounds {
		for _, i := range turns(len(c.entries), n) {
			e := c.entries[i]
			c.say("round %d of %d: %s", n+1, c.Rounds, e.contender.Name())
			if err := c.round(ctx, e, c.product(i, fmt.Sprint(n))); err != nil {
				return fmt.Errorf("%s: %w", e.contender.Name(), err)
			}
		}
	}
	for i, e := range c.entries {
		if e.isFloor {
			continue
		}
		c.say("selling out %d units: %s", c.Units, e.contender.Name())
		if err := c.sellOut(ctx, e, c.product(i, "last")); err != nil {
			return fmt.Errorf("%s: %w", e.contender.Name(), err)
		}
	}
	return nil
}

// product is the id of what a contender sells once: of another sale it is another.
func (c *comparison) product(entry int, sale string) string {
	return fmt.Sprintf("%s-%d-%d-%s", c.Product, c.connections, entry, sale)
}

func (c *comparison) say(format string, args ...any) {
	line := fmt.Sprintf("%d connections, ", c.connections) + fmt.Sprintf(format, args...)
	_, _ = fmt.Fprintln(c.Out, line) // progress that can't be written is not worth an error
}

// round measures a contender once.
func (c *comparison) round(ctx context.Context, e *entry, product string) error {
	result, err := c.sell(ctx, e, product, endless, c.plan(c.connections))
	if err != nil {
		return err
	}
	e.dropped += result.Dropped
	e.rounds = append(e.rounds, newRound(&result))
	return nil
}

func newRound(result *load.Result) round {
	op := &result.Ops[0]
	return round{
		perSecond: result.PerSecond(op.Counts.Accepted), p50Us: quantile(op.AcceptedUs, 50), p99Us: quantile(op.AcceptedUs, 99),
		lateUs: quantile(result.LateUs, 99), stolen: result.Stolen,
	}
}

func quantile(h *hdrhistogram.Histogram, q float64) int64 {
	if h.TotalCount() == 0 {
		return 0
	}
	return h.ValueAtQuantile(q)
}

// sellOut lets more buyers come than there are units. What failed a rival may have come for what is left; with the engine,
// whose proof this is, nothing may fail.
func (c *comparison) sellOut(ctx context.Context, e *entry, product string) error {
	plan := load.Plan{Connections: c.connections, Visits: crowd * c.Units}
	result, err := c.sell(ctx, e, product, c.Units, plan)
	if err != nil {
		return err
	}
	all := result.Ops[0].Everything()
	sold := all.Accepted + all.Unknown
	failed := load.Total(all.Failed)
	if sold < c.Units-failed || all.Accepted > c.Units || e.isEngine && failed > 0 {
		e.wrong = append(e.wrong, fmt.Sprintf("%d accepted of %d units, %d failed", all.Accepted, c.Units, failed))
	}
	e.soldOut = len(e.wrong) == 0
	return nil
}

// sell opens a contender's shop for one load, and checks its books.
func (c *comparison) sell(ctx context.Context, e *entry, product string, units int64, plan load.Plan) (result load.Result, err error) {
	shop, err := e.contender.Open(ctx)
	if err != nil {
		return result, fmt.Errorf("open: %w", err)
	}
	defer func() { err = errors.Join(err, shop.Close()) }()
	if err := shop.Stock(ctx, product, units); err != nil {
		return result, err
	}
	if result, err = order(ctx, shop, product, plan); err != nil {
		return result, err
	}
	all := result.Ops[0].Everything()
	e.failed += load.Total(all.Failed)
	if e.isFloor {
		return result, nil
	}
	books, err := shop.Books(ctx, product)
	if err != nil {
		return result, err
	}
	if wrong := audit(units, &all, books); wrong != "" {
		e.wrong = append(e.wrong, wrong)
	}
	return result, nil
}

// order sends the load: every visit is another buyer, for one unit.
func order(ctx context.Context, shop Shop, product string, plan load.Plan) (load.Result, error) {
	target, err := load.ParseTarget(shop.URL())
	if err != nil {
		return load.Result{}, err
	}
	maker, err := load.NewOrderMaker(&target, &load.Orders{Products: []string{product}, Users: "u-"})
	if err != nil {
		return load.Result{}, err
	}
	run, err := load.New(target, plan, maker.Script)
	if err != nil {
		return load.Result{}, err
	}
	return run.Do(ctx)
}
