package persist

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"flashsale/engine"
)

// batch is what one transaction brings to the ledger: whole log entries, folded by order.
type batch struct {
	first, last uint64                // sequences of the entries
	logged      int64                 // orders that the entries name
	counted     int64                 // running count of orders with them, as they say themselves; 0 = they do not
	uncounted   bool                  // the last entries with orders do not say so: they can't be read
	loggedAt    time.Time             // of the last entry that says so, by the clock of Redis; zero = none does
	orders      []*engine.LoggedOrder // the last state of each order, by id
	unreadable  []engine.LoggedOrder  // records that nobody can read, of orders and of changes
	changes     []*engine.TakenChange
}

// maxEntryMs is the end of the year 9999: a time beyond it is a broken entry's, and Postgres might not take it.
const maxEntryMs = 253_402_300_800_000

// fold keeps the last state of each order. Entries must be in order and without gaps.
func fold(entries []engine.Entry) batch {
	b := batch{first: entries[0].Sequence, last: entries[len(entries)-1].Sequence}
	states := make([]state, 0, named(entries))
	for i := range entries {
		if ms := entries[i].TimeMs; ms > 0 && ms < maxEntryMs {
			b.loggedAt = time.UnixMilli(ms)
		}
		if entries[i].Change != nil {
			b.addChange(entries[i].Change, entries[i].Sequence)
		}
		b.count(&entries[i])
		states = b.addOrders(states, entries[i].Orders)
	}
	b.orders = latest(states)
	return b
}

// count takes an entry's orders into the running count. One that nobody can read counts as one order, whatever it had, until
// the next one says how many were before it.
func (b *batch) count(entry *engine.Entry) {
	orders := int64(len(entry.Orders))
	b.logged += orders
	switch {
	case entry.Counted > 0:
		b.counted, b.uncounted = entry.Counted, false
	case orders > 0:
		b.uncounted = true
		if b.counted > 0 {
			b.counted += orders
		}
	}
}

// moves returns by how much the batch moves the running count from what the ledger has.
func (b *batch) moves(from int64) int64 {
	if b.counted > 0 {
		return b.counted - from
	}
	return b.logged
}

// named counts the orders that entries name.
func named(entries []engine.Entry) (n int) {
	for i := range entries {
		n += len(entries[i].Orders)
	}
	return n
}

// state is a state of an order, with its id as two numbers, which compare faster, and its place among the states.
type state struct {
	high, low uint64
	nth       int
	logged    *engine.LoggedOrder
}

// addOrders takes an entry's orders in: those that can be read become states.
func (b *batch) addOrders(states []state, orders []engine.LoggedOrder) []state {
	for i := range orders {
		logged := &orders[i]
		if logged.Err != nil {
			b.unreadable = append(b.unreadable, *logged)
			continue
		}
		id := &logged.Order.ID
		states = append(states, state{
			high: binary.BigEndian.Uint64(id[:8]), low: binary.BigEndian.Uint64(id[8:]), nth: len(states), logged: logged,
		})
	}
	return states
}

// latest returns the last state of each order, by id.
func latest(states []state) []*engine.LoggedOrder {
	slices.SortFunc(states, func(x, y state) int {
		return cmp.Or(cmp.Compare(x.high, y.high), cmp.Compare(x.low, y.low), cmp.Compare(x.nth, y.nth))
	})
	orders := make([]*engine.LoggedOrder, 0, len(states))
	for i := range states {
		if i+1 < len(states) && states[i].high == states[i+1].high && states[i].low == states[i+1].low {
			continue // a later state follows
		}
		orders = append(orders, states[i].logged)
	}
	return orders
}

// addChange takes a change in. One that can't be read concerns no product: its id may be no text at all.
func (b *batch) addChange(c *engine.TakenChange, sequence uint64) {
	if c.Err == nil {
		b.changes = append(b.changes, c)
		return
	}
	poison := engine.LoggedOrder{Record: fmt.Sprintf("change of %q: %s", c.Product, c.Record), Err: c.Err}
	poison.Order.Sequence = sequence
	b.unreadable = append(b.unreadable, poison)
}

// products returns the ids of all products that the batch concerns, sorted: the order in which their rows are locked.
func (b *batch) products() []string {
	seen := make(map[string]bool)
	last := "" // most neighbours are of the same product
	for _, logged := range b.orders {
		if product := logged.Order.Product; product != last {
			seen[product], last = true, product
		}
	}
	for _, c := range b.changes {
		seen[c.Product] = true
	}
	ids := make([]string, 0, len(seen))
	for id := range seen {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// changeKeys names the changes that the batch brings.
func (b *batch) changeKeys() (products []string, numbers []int64) {
	for _, c := range b.changes {
		products, numbers = append(products, c.Product), append(numbers, c.Number)
	}
	return products, numbers
}

// cut returns the first entries that name about so many orders: whole entries, at least one.
func cut(entries []engine.Entry, orders int) []engine.Entry {
	named := 0
	for i := range entries {
		named += len(entries[i].Orders)
		if named > orders && i > 0 {
			return entries[:i]
		}
	}
	return entries
}

// contiguous tells whether entries follow a sequence without a gap.
func contiguous(entries []engine.Entry, after uint64) bool {
	for i := range entries {
		if entries[i].Sequence != after+uint64(i)+1 {
			return false
		}
	}
	return true
}
