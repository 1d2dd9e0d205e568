package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/valyala/fasthttp"
)

// pollEvery is how often the server is asked again while something is not as it must become.
const pollEvery = 100 * time.Millisecond

// settlement is what the sale looks like from outside once no order is under way.
type settlement struct {
	stock      Stock
	found      []string // ids of unknown orders that turned out to be placed
	unresolved int64    // orders of which nobody can tell
	breaches   []Breach
}

// settle finds out what became of the orders whose outcome is unknown and holds the stock against what was sold. Where
// no outcome is unknown, the first look decides. Otherwise, or where the stock can't be read, it looks again, for at
// most LedgerWait: an order without an answer may still be on its way.
func (r *rush) settle(ctx context.Context, sold *tally) (settlement, error) {
	waiting, cancel := context.WithTimeout(ctx, r.LedgerWait)
	defer cancel()
	again := time.NewTicker(pollEvery)
	defer again.Stop()
	certain := len(sold.unknown) == 0 && sold.nameless == 0
	for {
		settled, err := r.look(ctx, sold)
		resolved := len(settled.breaches) == 0 && settled.unresolved == sold.nameless
		if err == nil && (certain || resolved) {
			return settled, nil
		}
		select {
		case <-waiting.Done():
			return settled, firstError(ctx.Err(), err)
		case <-again.C:
		}
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// look asks once.
func (r *rush) look(ctx context.Context, sold *tally) (settlement, error) {
	var settled settlement
	settled.unresolved = sold.nameless
	r.lookUpUnknown(ctx, sold.unknown, &settled)
	stock, err := r.readStock()
	if err != nil {
		return settled, fmt.Errorf("stock of %s: %w", r.Product, err)
	}
	settled.stock = stock
	least := int64(len(sold.accepted) + len(settled.found))
	settled.breaches = stockBreaches(&stock, r.Units, span{least, least + settled.unresolved}, sold.refused)
	return settled, nil
}

func (r *rush) lookUpUnknown(ctx context.Context, ids []string, settled *settlement) {
	standings := make([]standing, len(ids))
	r.inTurn(ctx, len(ids), func(k, i int) { standings[i] = r.lookUp(r.conns[k], ids[i]) })
	for i, s := range standings {
		switch s {
		case standingSold, standingDurable:
			settled.found = append(settled.found, ids[i])
		case standingUnread:
			settled.unresolved++
		case standingMissing, standingOther: // it was not placed, or holds no stock
		}
	}
}

func (r *rush) readStock() (Stock, error) {
	answer, err := r.conns[0].get("/inventory/" + r.Product)
	if err != nil {
		return Stock{}, fmt.Errorf("GET /inventory: %w", err)
	}
	if err := expect(answer, fasthttp.StatusOK, "GET /inventory"); err != nil {
		return Stock{}, err
	}
	return Stock{
		Initial: answer.doc.GetInt64("initialStock"), Current: answer.doc.GetInt64("currentStock"),
		Held: answer.doc.GetInt64("heldStock"), Sold: answer.doc.GetInt64("soldStock"),
	}, nil
}
