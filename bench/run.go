package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"flashsale/bench/load"
)

// ErrNoSale is what [Run] wraps when no order at all was accepted, so that there was nothing to prove.
var ErrNoSale = errors.New("no order was accepted")

// ErrUntold is what [Run] wraps when every rule holds, but for some orders nobody can tell whether they were placed, or how they
// ended.
var ErrUntold = errors.New("nobody can tell what became of")

const (
	// priceOfProduct is what a unit costs; nobody pays.
	priceOfProduct = 9.99
	// maxProvers bounds the connections that products are made and orders are looked up on.
	maxProvers = 64
)

// Run makes products, has buyers do what the scenario says, and then proves from the outside that each unit was sold once
// and that the ledger has every order that was accepted.
//
// A broken rule is a *[Violation], and the report lists it too. Other errors wrap [ErrOptions], [ErrNoSale], [ErrUntold], what kept
// Run from making products or from reading the stock, or ctx's error; the report then holds what was counted so far and is
// not Proven. Run ends at most one request's Timeout after ctx.
func Run(ctx context.Context, o Options) (Report, error) { //nolint:gocritic // once a run
	s, err := newSale(ctx, o)
	if err != nil {
		return Report{}, err
	}
	defer s.close()
	report, err := s.run(ctx)
	if err != nil && ctx.Err() != nil && !report.Begun() {
		err = &interruption{cause: ctx.Err()}
	}
	if broken := (*Violation)(nil); err != nil && !errors.As(err, &broken) {
		report.Error = strings.Join(strings.Fields(err.Error()), " ") // drivers break their lines
	}
	return report, err
}

// interruption is the error of a sale that was broken off.
type interruption struct {
	after time.Duration // since the first order; 0 = there was none
	cause error         // the context's
}

// Error says when.
func (e *interruption) Error() string {
	if e.after == 0 {
		return "interrupted before the first order"
	}
	return fmt.Sprintf("interrupted after %.1f s", e.after.Seconds())
}

// Unwrap returns the context's error.
func (e *interruption) Unwrap() error { return e.cause }

// sale is one run.
type sale struct {
	Options
	scenario *Scenario
	target   load.Target
	products []string
	chance   load.Picker // of ten, for what visitors decide
	book     *book
	provers  []*conn
}

// decisions is how many equal chances there are for what a visitor does: halves, thirds and tenths can be made of them.
const decisions = 30

func newSale(ctx context.Context, o Options) (*sale, error) { //nolint:gocritic // once a run
	full, scenario, err := o.complete()
	if err != nil {
		return nil, err
	}
	s := &sale{Options: full, scenario: scenario}
	if s.target, err = load.ParseTarget(o.Target); err != nil {
		return nil, err //nolint:wrapcheck // it says what is wrong with the option
	}
	if s.chance, err = load.NewPicker(decisions, 0, s.Seed+1); err != nil {
		return nil, err //nolint:wrapcheck // it can't be
	}
	s.products = s.productIDs()
	s.book = newBook(&s.Options, s.products)
	for range min(s.Connections, maxProvers) {
		s.provers = append(s.provers, newConn(ctx, &s.target, s.Timeout, s.Token))
	}
	return s, nil
}

// ScenarioNames returns the names of [Scenarios].
func ScenarioNames() (names []string) {
	all := Scenarios()
	for i := range all {
		names = append(names, all[i].Name)
	}
	return names
}

func (s *sale) close() {
	for _, c := range s.provers {
		c.close()
	}
}

func (s *sale) run(ctx context.Context) (Report, error) {
	report := newReport(s)
	attack, err := s.attack()
	if err != nil {
		return report, err
	}
	if err := s.prepare(ctx); err != nil {
		return report, err
	}
	if s.Environment.Apart {
		report.Environment.Service = s.describeService()
	}
	before, err := s.countsAtRest(ctx)
	if err != nil {
		return report, err
	}
	watch := s.watch(ctx)
	shown := showProgress(s.Out, s.Scenario, attack.Progress, s.Visits, s.Warmup+s.Duration)
	begun := time.Now()
	result, err := attack.Do(ctx)
	shown.stop()
	report.count(&result, s)
	report.Timeline, report.LagAtEnd = watch.stop()
	if err == nil {
		err = s.prove(ctx, &result, before, watch.claims(), &report)
	}
	if ctx.Err() != nil {
		err = &interruption{after: time.Since(begun), cause: ctx.Err()}
	}
	return report, err
}

// attack prepares the load.
func (s *sale) attack() (*load.Run, error) {
	maker, err := load.NewOrderMaker(&s.target, &load.Orders{
		Products: s.products, Zipf: s.Zipf, Users: s.Product + "-", Buyers: s.Buyers, Durability: s.Durability,
		Token: s.Token, Seed: s.Seed,
	})
	if err != nil {
		return nil, err //nolint:wrapcheck // it says what is wrong with the options
	}
	//nolint:wrapcheck // as above
	return load.New(s.target, s.plan(s.scenario), s.scenario.script(s, maker))
}

// prepare puts everything on sale, once it is clear that orders can be asked for and rows can be read.
func (s *sale) prepare(ctx context.Context) error {
	if err := s.findInLedger(ctx, nil); err != nil {
		return err
	}
	if err := s.probe(); err != nil {
		return err
	}
	if err := s.makeProducts(ctx); err != nil {
		return err
	}
	return s.findInLedger(ctx, s.products)
}

// makeProducts puts everything on sale.
func (s *sale) makeProducts(ctx context.Context) error {
	failures := make([]error, len(s.provers))
	var made atomic.Int64
	var shown *progress
	if len(s.products) > 1 {
		shown = showSteps(s.Out, "products", len(s.products), &made)
		defer shown.stop()
	}
	s.inTurn(ctx, len(s.products), func(k, i int) {
		if failures[k] == nil {
			failures[k] = s.makeProduct(s.provers[k], s.products[i])
			made.Add(1)
		}
	})
	if err := firstError(append(failures, ctx.Err())...); err != nil {
		return fmt.Errorf("create products: %w", err)
	}
	return nil
}

func (s *sale) makeProduct(c *conn, id string) error {
	product := map[string]any{"id": id, "name": id, "price": priceOfProduct, "initialStock": s.Units}
	if s.scenario.once {
		product["perUserLimit"] = 1
	}
	body, err := json.Marshal(product)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	answer, err := c.post("/inventory", body, s.AdminToken)
	if err != nil {
		return fmt.Errorf("POST /inventory: %w", err)
	}
	return expect(answer, fasthttp.StatusCreated, "POST /inventory")
}

// expect returns an error unless the status is the one that was hoped for.
func expect(r reply, status int, what string) error {
	if r.status == status {
		return nil
	}
	said := strings.TrimSpace(r.text("code") + " " + r.text("detail"))
	switch {
	case r.location != "":
		said = "to " + strconv.Quote(r.location) + ": give --target as it is at the end of the redirects"
	case said == "":
		said = fmt.Sprintf("where %d was to come", status)
	}
	return fmt.Errorf("%s: status %d %s", what, r.status, said) //nolint:err113 // nothing to match
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// inTurn does n tasks over all provers, each of them one at a time, and returns when all are done or, with those that have
// begun, when ctx ends.
func (s *sale) inTurn(ctx context.Context, n int, do func(k, task int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for k := range min(len(s.provers), max(1, n)) {
		all.Go(func() {
			for ctx.Err() == nil {
				task := int(next.Add(1) - 1)
				if task >= n {
					return
				}
				do(k, task)
			}
		})
	}
	all.Wait()
}
