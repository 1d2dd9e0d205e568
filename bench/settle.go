package bench

import (
	"context"
	"time"
)

// pollEvery is how often the server is asked again while something is not as it must become.
const pollEvery = 100 * time.Millisecond

// settlement is what the sale looks like from outside once no order is under way.
type settlement struct {
	rules
	stock      Stock            // of all products together
	found      []order          // whose placing was unknown, and that are there
	ends       map[string]int64 // of those whose end was unknown, by state
	unresolved int64            // orders of which nobody can tell whether they were placed
	undecided  int64            // placed, but nobody can tell how they end
	untold     string           // the buyer of one of them
	placed     []span           // by product
	sold       []span
}

// settle finds out what became of the orders whose outcome is unknown and holds the stock against what was sold. Where no
// outcome is unknown and nothing was held, the first look decides. Otherwise, or where the stock can't be read, it looks
// again, for at most LedgerWait: an order without an answer may still be on its way, and holds expire in their time.
func (s *sale) settle(ctx context.Context) (settlement, error) {
	patience := s.LedgerWait
	if s.scenario.holds {
		patience += time.Duration(s.HoldSeconds) * time.Second
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again := time.NewTicker(pollEvery)
	defer again.Stop()
	if s.scenario.once {
		s.book.dropAnswered()
	}
	unknown, undecided := s.book.beyond()
	certain := len(s.book.unsure)+len(s.book.unnamed) == 0 && unknown+undecided == 0 && !s.scenario.holds
	for {
		settled, err := s.look(ctx)
		resolved := len(settled.broken) == 0 && settled.unresolved == unknown && settled.undecided == undecided
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

// look asks once.
func (s *sale) look(ctx context.Context) (settlement, error) {
	settled := settlement{
		ends: map[string]int64{}, placed: make([]span, len(s.products)), sold: make([]span, len(s.products)),
	}
	settled.unresolved, settled.undecided = s.book.beyond()
	for i := range s.book.products {
		p := &s.book.products[i]
		settled.placed[i] = span{p.placed, p.placed + p.unknown}
		settled.sold[i] = span{p.confirmed, p.confirmed + p.unknown + p.undecided}
	}
	s.askForNames(ctx, &settled)
	s.lookUpUnsure(ctx, &settled)
	err := s.checkStocks(ctx, &settled)
	return settled, err
}

// whose names one of the buyers of whose orders nobody can tell; "" = they are too many for the bench to remember.
func (t *settlement) whose() string {
	if t.untold == "" {
		return ""
	}
	return ", such as one of " + t.untold
}

func (s *sale) lookUpUnsure(ctx context.Context, settled *settlement) {
	unsure := s.book.unsure
	standings, states := make([]standing, len(unsure)), make([]string, len(unsure))
	s.inTurn(ctx, len(unsure), func(k, i int) { standings[i], states[i] = s.lookUp(s.provers[k], &unsure[i]) })
	for i := range unsure {
		settled.resolve(unsure[i], standings[i], states[i])
		if standings[i] == standingUnread || standings[i] == standingEarly {
			settled.untold = s.book.user(unsure[i].buyer)
		}
	}
}

// resolve widens or narrows what is known by one order.
func (t *settlement) resolve(o order, st standing, state string) {
	placed, sold := &t.placed[o.product], &t.sold[o.product]
	switch st {
	case standingUnread, standingEarly:
		sold.most++
		if !o.placed {
			placed.most++
			t.unresolved++
			return
		}
		t.undecided++
		return
	case standingSold, standingDurable, standingOther:
	case standingMissing:
		return
	}
	if state == statusConfirmed {
		sold.least++
		sold.most++
	}
	t.ends[state]++
	if o.placed {
		return
	}
	placed.least++
	placed.most++
	o.want = state
	t.found = append(t.found, o)
}

func (s *sale) checkStocks(ctx context.Context, settled *settlement) error {
	stocks, failures := make([]Stock, len(s.products)), make([]error, len(s.products))
	s.inTurn(ctx, len(s.products), func(k, i int) { stocks[i], failures[i] = s.readStock(s.provers[k], s.products[i]) })
	if err := firstError(append(failures, ctx.Err())...); err != nil {
		return err
	}
	settled.scope("the product")
	if len(stocks) > 1 {
		settled.scope("each of all %s products", grouped(int64(len(stocks))))
	}
	for i := range stocks {
		name := ""
		if len(stocks) > 1 {
			name = s.products[i]
		}
		settled.checkStock(name, &stocks[i], s.Units, settled.placed[i], settled.sold[i], s.book.products[i].soldOut)
		settled.stock.add(&stocks[i])
	}
	return nil
}
