package reconcile

import (
	"context"

	"flashsale/engine"
)

// isDead tells whether the letter, not the row, has the last word on its order, as in persist/dead.go: the order has failed.
func (l *letter) isDead() bool {
	if l.row == nil {
		return l.order.Status != engine.StatusCancelled && l.order.Status != engine.StatusExpired
	}
	held := l.row.Status == engine.StatusPending || l.row.Status == engine.StatusExpired
	return held && l.order.Status == engine.StatusConfirmed && l.isLater()
}

// isLater tells whether the letter comes after the row in the log.
func (l *letter) isLater() bool {
	switch {
	case l.row == nil:
		return true
	case l.epoch != l.row.epoch:
		return l.epoch > l.row.epoch
	case l.order.Sequence != l.row.Sequence:
		return l.order.Sequence > l.row.Sequence
	}
	return l.order.Index > l.row.Index
}

// standing returns an order as Redis should have it: mostly as its row has it. Of a dead letter of this epoch Redis has what
// was logged, as long as nobody has dealt with it. One of an earlier epoch went through a rebuild, which counts it as sold
// while it is open. nil = Redis need not know it.
func (l *letter) standing(epoch uint64) *engine.Order {
	switch {
	case l.open && l.epoch == epoch && l.isLater():
		return &l.order
	case l.isDead() && l.open:
		sold := l.order
		sold.Status = engine.StatusConfirmed
		return &sold
	case l.isDead() || l.row == nil:
		return nil
	}
	return &l.row.Order
}

// standing returns an order as Redis should have it at the snapshot.
func (f *frame) standing(partition int, id engine.OrderID, r *row) *engine.Order {
	if l := f.letters[id]; l != nil {
		return l.standing(f.places[partition].epoch.Number)
	}
	if r == nil {
		return nil
	}
	return &r.Order
}

// move is what the tail of the log does to an order.
type move struct {
	before *engine.Order // as Redis should have had it at the snapshot; nil = it was not there
	after  *engine.Order
}

// moves plays the log between the snapshot and a look for the orders that concern it.
func (f *frame) moves(ctx context.Context, l *look, concerned func(o *engine.Order) bool) (map[engine.OrderID]*move, error) {
	found := make(map[engine.OrderID]*move)
	var older []engine.OrderID // that were there before
	entries := f.tails[l.partition].until(l.audit.Sequence)
	for i := range entries {
		for k := range entries[i].Orders {
			logged := &entries[i].Orders[k]
			if logged.Err != nil || !concerned(&logged.Order) {
				continue
			}
			id := logged.Order.ID
			if found[id] == nil {
				found[id] = &move{}
				if logged.Order.Version > 1 {
					older = append(older, id)
				}
			}
			found[id].after = &logged.Order
		}
	}
	rows, err := f.rows(ctx, older)
	if err != nil {
		return nil, err
	}
	for _, id := range older {
		found[id].before = f.standing(l.partition, id, rows[id])
	}
	return found, nil
}

// wantedPairs returns what Redis should have of the buyers of a look, given what the rows of the ledger add up to.
func (f *frame) wantedPairs(ctx context.Context, l *look, byRows map[pair]units) (map[pair]units, error) {
	want := make(map[pair]units, len(l.pairs))
	for _, p := range l.pairs {
		want[p] = byRows[p]
	}
	for id, letter := range f.letters {
		p := pair{letter.order.Product, letter.order.User}
		if _, asked := want[p]; asked {
			want[p] = want[p].plus(letter.correction(f.places[id.Partition()].epoch.Number))
		}
	}
	moves, err := f.moves(ctx, l, func(o *engine.Order) bool {
		_, asked := want[pair{o.Product, o.User}]
		return asked
	})
	for _, m := range moves {
		p := pair{m.after.Product, m.after.User}
		want[p] = want[p].plus(unitsOf(m.after)).minus(unitsOf(m.before))
	}
	return want, err
}

// correction is what a letter adds to what the row of its order takes.
func (l *letter) correction(epoch uint64) units {
	var by units
	if l.row != nil {
		by = unitsOf(&l.row.Order)
	}
	return unitsOf(l.standing(epoch)).minus(by)
}

// wantedStocks returns the counters that Redis should have of the products of a look; those that it should not know are not
// in it.
func (f *frame) wantedStocks(ctx context.Context, l *look, products map[string]*ledgerProduct, byRows map[string]units) (map[string]engine.Stock, error) {
	taken := make(map[string]units, len(l.query.Products))
	want := make(map[string]engine.Stock, len(l.query.Products))
	for _, id := range l.query.Products {
		taken[id] = byRows[id]
		if p := products[id]; p != nil && p.taken > 0 {
			want[id] = engine.Stock{Initial: p.initial, Change: p.taken}
		}
	}
	for id, letter := range f.letters {
		if u, asked := taken[letter.order.Product]; asked {
			taken[letter.order.Product] = u.plus(letter.correction(f.places[id.Partition()].epoch.Number))
		}
	}
	moves, err := f.moves(ctx, l, func(o *engine.Order) bool {
		_, asked := taken[o.Product]
		return asked
	})
	for _, m := range moves {
		taken[m.after.Product] = taken[m.after.Product].plus(unitsOf(m.after)).minus(unitsOf(m.before))
	}
	f.playChanges(l, products, want)
	for id, s := range want {
		s.Held, s.Sold = taken[id].held, taken[id].sold
		s.Current = s.Initial - s.Held - s.Sold
		want[id] = s
	}
	return want, err
}

// playChanges brings in the changes of products that the tail of the log has.
func (f *frame) playChanges(l *look, products map[string]*ledgerProduct, want map[string]engine.Stock) {
	entries := f.tails[l.partition].until(l.audit.Sequence)
	for i := range entries {
		c := entries[i].Change
		if c == nil || c.Err != nil {
			continue
		}
		s, known := want[c.Product]
		if p := products[c.Product]; !known && p != nil { // its first change
			s = engine.Stock{Initial: p.initial}
		} else if !known {
			continue
		}
		s.Change = c.Number
		if !c.Refused {
			s.Initial += c.Applied
		}
		want[c.Product] = s
	}
}
