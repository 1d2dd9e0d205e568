package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"flashsale/bench/load"
	"flashsale/internal/positive"
)

// Options say who competes and for how long. Values that are not positive become the defaults.
type Options struct {
	Engine Contender
	Rivals []Contender

	Connections int           // each with one request under way; default 64
	Rounds      int           // default 5
	Duration    time.Duration // of each round of each contender; default 1500 ms
	Warmup      time.Duration // before it; default 300 ms
	Rate        float64       // orders begun a second in each round, on a schedule, for latency; 0 = closed loop, for the peak rate
	Units       int64         // to be sold out in the end; default 300
	Product     string        // first part of the ids of products, which must not exist yet; default bench

	Out io.Writer // for progress, a line a step; nil = none
}

// Bounds of [Options].
const (
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

func (o Options) withDefaults() Options {
	o.Connections = positive.Or(o.Connections, load.DefaultConnections)
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
	plan := o.plan()
	return plan.Check()
}

// plan is the load of each round.
func (o *Options) plan() load.Plan {
	return load.Plan{Connections: o.Connections, Rate: o.Rate, Warmup: o.Warmup, Duration: o.Duration}
}

// Run has them compete. The report says what was wrong with anybody's books; an error is of something that kept the
// comparison from its end, and then the report has what came before.
func Run(ctx context.Context, o Options) (Report, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return Report{}, err
	}
	if o.Engine == nil {
		return Report{}, fmt.Errorf("%w: %w", ErrOptions, errNobody)
	}
	c := &comparison{Options: o}
	for _, who := range append([]Contender{floor{}, o.Engine}, o.Rivals...) {
		c.entries = append(c.entries, &entry{contender: who})
	}
	c.entries[0].isFloor, c.entries[1].isEngine = true, true
	err := c.run(ctx)
	return c.report(), err
}

type comparison struct {
	Options
	entries []*entry // the floor, the engine, the rivals
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
	lateUs       int64 // by how much orders were begun late, at p99, where there is a schedule
}

func (c *comparison) run(ctx context.Context) error {
	for n := range c.Rounds {
		for _, i := range turns(len(c.entries), n) {
			e := c.entries[i]
			c.say("round %d of %d: %s", n+1, c.Rounds, e.contender.Name())
			if err := c.round(ctx, e, fmt.Sprintf("%s-%d-%d", c.Product, i, n)); err != nil {
				return fmt.Errorf("%s: %w", e.contender.Name(), err)
			}
		}
	}
	for i, e := range c.entries[1:] {
		c.say("selling out %d units: %s", c.Units, e.contender.Name())
		if err := c.sellOut(ctx, e, fmt.Sprintf("%s-%d-last", c.Product, i)); err != nil {
			return fmt.Errorf("%s: %w", e.contender.Name(), err)
		}
	}
	return nil
}

func (c *comparison) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.Out, format+"\n", args...) // progress that can't be written is not worth an error
}

// round measures a contender once.
func (c *comparison) round(ctx context.Context, e *entry, product string) error {
	result, err := c.sell(ctx, e, product, endless, c.plan())
	if err != nil {
		return err
	}
	op := &result.Ops[0]
	e.dropped += result.Dropped
	e.rounds = append(e.rounds, round{
		perSecond: result.PerSecond(op.Counts.Accepted), p50Us: quantile(op.AcceptedUs, 50), p99Us: quantile(op.AcceptedUs, 99),
		lateUs: quantile(result.LateUs, 99),
	})
	return nil
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
	plan := load.Plan{Connections: c.Connections, Visits: crowd * c.Units}
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
