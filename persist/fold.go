package persist

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"flashsale/engine"
)

// batch is what one transaction brings to the ledger: whole log entries, folded by order.
type batch struct {
	first, last uint64               // sequences of the entries
	logged      int64                // orders that the entries name, for the running count
	loggedAt    time.Time            // of the last entry that says so, by the clock of Redis; zero = none does
	orders      []engine.LoggedOrder // the last state of each order, by id
	unreadable  []engine.LoggedOrder // records that nobody can read, of orders and of changes
	changes     []*engine.TakenChange
}

// maxEntryMs is the end of the year 9999: a time beyond it is a broken entry's, and Postgres might not take it.
const maxEntryMs = 253_402_300_800_000

// fold keeps the last state of each order. Entries must be in order and without gaps.
func fold(entries []engine.Entry) batch {
	b := batch{first: entries[0].Sequence, last: entries[len(entries)-1].Sequence}
	places := make(map[engine.OrderID]int)
	for i := range entries {
		if ms := entries[i].TimeMs; ms > 0 && ms < maxEntryMs {
			b.loggedAt = time.UnixMilli(ms)
		}
		if entries[i].Change != nil {
			b.addChange(entries[i].Change, entries[i].Sequence)
		}
		for _, logged := range entries[i].Orders {
			b.logged++
			b.add(logged, places)
		}
	}
	slices.SortFunc(b.orders, func(x, y engine.LoggedOrder) int {
		return bytes.Compare(x.Order.ID[:], y.Order.ID[:])
	})
	return b
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

func (b *batch) add(logged engine.LoggedOrder, places map[engine.OrderID]int) {
	if logged.Err != nil {
		b.unreadable = append(b.unreadable, logged)
		return
	}
	if at, seen := places[logged.Order.ID]; seen {
		b.orders[at] = logged
		return
	}
	places[logged.Order.ID] = len(b.orders)
	b.orders = append(b.orders, logged)
}

// products returns the ids of all products that the batch concerns, sorted: the order in which their rows are locked.
func (b *batch) products() []string {
	seen := make(map[string]bool)
	for i := range b.orders {
		seen[b.orders[i].Order.Product] = true
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
