package engine

import (
	"cmp"
	"context"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// machineLedger is what somebody knows who reads only the log.
type machineLedger struct {
	last     uint64
	count    int64 // orders logged
	products map[string]*Stock
	orders   map[string]Order // as of their last change
	records  map[string]string
	ids      []string // in the order of their first appearance
}

func newMachineLedger() machineLedger {
	return machineLedger{products: map[string]*Stock{}, orders: map[string]Order{}, records: map[string]string{}}
}

// drain reads what the log has gained, as persist does.
func (mc *machine) drain(t *rapid.T) {
	entries, err := mc.link.ReadLog(context.Background(), mc.keys, mc.ledger.last, 100, 0)
	require.NoError(t, err)
	for _, entry := range entries {
		require.Equal(t, mc.ledger.last+1, entry.Sequence, "the log must have no gap")
		mc.ledger.last = entry.Sequence
		if c := entry.Change; c != nil {
			require.NoError(t, c.Err)
			p := cmp.Or(mc.ledger.products[c.Product], &Stock{})
			require.Equal(t, p.Change+1, c.Number, "changes of %s in the log", c.Product)
			p.Initial, p.Current, p.Change = p.Initial+c.Applied, p.Current+c.Applied, c.Number
			mc.ledger.products[c.Product] = p
		}
		for i, o := range entry.Orders {
			require.NoError(t, o.Err)
			require.Equal(t, []any{entry.Sequence, i, entry.TimeMs}, []any{o.Order.Sequence, o.Order.Index, o.Order.UpdatedAtMs}, "place and time of a logged order")
			mc.ledger.take(t, &o)
		}
	}
	require.Equal(t, mc.model.seq, int64(mc.ledger.last), "the log must reach the sequence of meta")
}

// successors are the ways that DESIGN.md draws.
var successors = map[Status][]Status{
	"":              {StatusPending, StatusConfirmed},
	StatusPending:   {StatusPending, StatusConfirmed, StatusCancelled, StatusExpired},
	StatusExpired:   {StatusConfirmed},
	StatusConfirmed: {StatusCancelled},
}

// take moves an order to its next state and the counters with it.
func (l *machineLedger) take(t *rapid.T, logged *LoggedOrder) {
	o, id := logged.Order, string(logged.Order.ID[:])
	before := l.orders[id]
	require.Contains(t, successors[before.Status], o.Status, "%s: no way leads there from %s", logged.Text(), before.Status)
	require.Equal(t, before.Version+1, o.Version, "%s: version", logged.Text())
	require.Equal(t, l.count+1, o.Number, "%s: running count", logged.Text())
	if before.Status == "" {
		require.Equal(t, o.UpdatedAtMs, o.CreatedAtMs, "%s: a new order", logged.Text())
		l.ids = append(l.ids, id)
	} else {
		require.Equal(t, []any{before.Product, before.User, before.CreatedAtMs, before.Request, before.IdempotencyKey},
			[]any{o.Product, o.User, o.CreatedAtMs, o.Request, o.IdempotencyKey}, "%s: what never changes", logged.Text())
		require.GreaterOrEqual(t, before.Quantity, o.Quantity, "%s: units", logged.Text())
		require.GreaterOrEqual(t, o.ExpiresAtMs, before.ExpiresAtMs, "%s: a hold is never shortened", logged.Text())
	}
	p := l.products[o.Product]
	moveUnits(p, &before, -1)
	moveUnits(p, &o, +1)
	l.count, l.orders[id], l.records[id] = o.Number, o, logged.Text()
}

// moveUnits counts the units of an order among the held or the sold, and takes them from those left.
func moveUnits(s *Stock, o *Order, sign int64) {
	units := sign * o.Quantity
	switch o.Status {
	case StatusPending:
		s.Held += units
		s.Current -= units
	case StatusConfirmed:
		s.Sold += units
		s.Current -= units
	default: // has nothing
	}
}

type orderUnits struct{ held, sold int64 }

// units sums up what orders have, by what they are grouped by.
func (l *machineLedger) units(by func(*Order) string) map[string]orderUnits {
	sums := map[string]orderUnits{}
	for _, o := range l.orders {
		sum := sums[by(&o)]
		switch o.Status {
		case StatusPending:
			sum.held += o.Quantity
		case StatusConfirmed:
			sum.sold += o.Quantity
		default: // has nothing
		}
		sums[by(&o)] = sum
	}
	return sums
}

// check runs after every step: all that Redis holds under the prefix is what the model says, the counters add up, and
// the log alone explains them, what buyers have, and which holds are due when.
func (mc *machine) check(t *rapid.T) {
	require.Equal(t, mc.model.dump(mc.keys), dumpKeys(t, mc.n.client, "model*"), "what Redis holds under the prefix")
	mc.drain(t)
	mc.checkProducts(t)
	mc.checkBuyers(t)
	mc.checkHolds(t)
}

func (mc *machine) checkProducts(t *rapid.T) {
	sums := mc.ledger.units(func(o *Order) string { return o.Product })
	for product, value := range mc.model.stock {
		if mc.spoilt.has("stock", product) {
			continue
		}
		stock, err := ParseStock(value)
		require.NoError(t, err)
		requireSum(t, product, stock)
		require.Equal(t, *mc.ledger.products[product], stock, "%s: the sum of the log's entries and the counters", product)
		require.Equal(t, sums[product], orderUnits{stock.Held, stock.Sold}, "%s: the sum of the orders' units and the counters", product)
	}
}

func (mc *machine) checkBuyers(t *rapid.T) {
	sums := mc.ledger.units(func(o *Order) string { return o.Product + "|" + o.User })
	for field := range sums {
		require.Contains(t, mc.model.buyers, field, "a buyer with orders")
	}
	for field := range mc.model.buyers {
		if mc.spoilt.has("buyer", field) {
			continue
		}
		product, user, _ := SplitBuyerField(field)
		bought, held, _, _, ok := mc.model.buyer(product, user)
		require.True(t, ok)
		require.Equal(t, sums[field], orderUnits{held, bought}, "%s: the sum of the orders' units and what the buyer has", field)
	}
}

// checkHolds holds the set of holds against the orders: exactly those that are pending, each due when it says, or later
// where its counters could not be read.
func (mc *machine) checkHolds(t *rapid.T) {
	for id, ms := range mc.model.expiry {
		o := mc.ledger.orders[id]
		if !mc.spoilt.has("stray", id) {
			require.Equal(t, StatusPending, o.Status, "%q is among the holds", id)
			require.GreaterOrEqual(t, ms, o.ExpiresAtMs, "%q: when it is looked at", id)
		}
		if !mc.spoilt.has("stray", id) && !mc.model.postponed[id] {
			require.Equal(t, o.ExpiresAtMs, ms, "%q: when it is due", id)
		}
	}
	for id, o := range mc.ledger.orders {
		if o.Status == StatusPending && !mc.spoilt.has("order", id) {
			require.Contains(t, mc.model.expiry, id, "a hold of %s", o.Product)
			require.Contains(t, mc.model.records, id, "trim must never forget a hold")
		}
	}
}
