package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/valyala/fasthttp"
)

// ErrNoSale is what [Rush] wraps when no order at all was accepted, so that there was nothing to prove.
var ErrNoSale = errors.New("no order was accepted")

// priceOfProduct is what a unit costs; nobody pays.
const priceOfProduct = 9.99

// Rush makes a product, has all buyers order one unit each, as fast as the connections allow, and then proves from the
// outside that each unit was sold once and that the ledger has every order that was accepted.
//
// A broken rule is a *[Violation], and the report lists it too. Other errors wrap [ErrOptions], [ErrNoSale], what kept
// Rush from making the product or from reading the stock, or ctx's error; the report then holds what was counted so far
// and is not Proven. Rush ends at most one request's Timeout after ctx.
func Rush(ctx context.Context, o Options) (Report, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return Report{}, err
	}
	where, err := parseTarget(o.Target)
	if err != nil {
		return Report{}, err
	}
	r := &rush{Options: o}
	for range o.Connections {
		r.conns = append(r.conns, newConn(where, o.Timeout))
	}
	defer r.close()
	return r.run(ctx)
}

// rush is one sale.
type rush struct {
	Options
	conns []*conn
}

func (r *rush) close() {
	for _, c := range r.conns {
		c.close()
	}
}

func (r *rush) run(ctx context.Context) (Report, error) {
	report := newReport(&r.Options)
	if err := r.prepare(ctx); err != nil {
		return report, err
	}
	sold, elapsed := r.sell(ctx)
	report.count(sold, elapsed)
	if err := ctx.Err(); err != nil {
		return report, fmt.Errorf("sell %s: %w", r.Product, err)
	}
	err := r.prove(ctx, sold, &report)
	return report, err
}

// prepare makes the product and the connections.
func (r *rush) prepare(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("create %s: %w", r.Product, err)
	}
	if err := r.createProduct(); err != nil {
		return fmt.Errorf("create %s: %w", r.Product, err)
	}
	return r.connect()
}

func (r *rush) createProduct() error {
	body, err := json.Marshal(map[string]any{
		"id": r.Product, "name": r.Product, "price": priceOfProduct, "initialStock": r.Units,
	})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	answer, err := r.conns[0].post("/inventory", body, r.AdminToken)
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
	return fmt.Errorf("%s: status %d %s %s", what, r.status, r.text("code"), r.text("detail")) //nolint:err113 // nothing to match
}

// prove checks everything that must hold after a sale and notes it in the report.
func (r *rush) prove(ctx context.Context, sold *tally, report *Report) error {
	settled, err := r.settle(ctx, sold)
	if err != nil {
		return err
	}
	report.settle(&settled)
	owned := slices.Concat(sold.accepted, settled.found)
	if len(owned) == 0 && len(settled.breaches) == 0 {
		return fmt.Errorf("%w: %s", ErrNoSale, reasonsText(report.Failed))
	}
	ledger, err := r.awaitLedger(ctx, owned)
	report.Durable, report.LedgerSeconds = ledger.durable, ledger.elapsed.Seconds()
	if err != nil {
		return err
	}
	for _, broken := range [][]Breach{settled.breaches, distinctBreaches(owned), ledger.breaches} {
		report.Violations = append(report.Violations, broken...)
	}
	report.Proven = len(report.Violations) == 0
	if !report.Proven {
		return &Violation{Broken: report.Violations}
	}
	return nil
}
