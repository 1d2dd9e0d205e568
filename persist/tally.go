package persist

import "flashsale/engine"

// tally is how many orders of each state the ledger has more, or fewer.
type tally map[engine.Status]int64

// tally counts what a batch really changes: each order that it writes leaves the state that it had, and one on which a
// dead letter has the last word counts as failed, once.
func (t *ledgerTx) tally(v *verdict) tally {
	moved := make(tally)
	if len(t.old) == 0 && len(t.buried) == 0 {
		moved.arrive(v.rows)
	} else {
		for _, row := range v.rows {
			moved.move(t.standing(row.ID), row.Status)
		}
	}
	if len(v.dead) == 0 {
		return moved
	}
	for _, o := range v.rows { // an order may have a row and a dead letter of the same batch
		at := logPlace{t.from.epoch.Number, o.Sequence, o.Index}
		t.old[o.ID] = oldOrder{status: o.Status, quantity: o.Quantity, version: o.Version, logPlace: at}
	}
	for i := range v.dead {
		if id := v.dead[i].Order.ID; id != (engine.OrderID{}) {
			before := t.standing(id)
			t.bury(&v.dead[i])
			moved.move(before, t.standing(id))
		}
	}
	return moved
}

// foretell counts what a batch of new orders brings unless one of them is refused, so that it is counted by the statement that
// moves the position. Only states that a new order has.
func foretell(b batch) tally {
	var pending, confirmed int64
	for _, logged := range b.orders {
		switch logged.Order.Status {
		case engine.StatusPending:
			pending++
		case engine.StatusConfirmed:
			confirmed++
		default: // counted when it is known what becomes of it
		}
	}
	return tally{engine.StatusPending: pending, engine.StatusConfirmed: confirmed}
}

// without returns what of the tally was not foretold.
func (m tally) without(foretold tally) tally {
	for status, n := range foretold {
		m[status] -= n
	}
	return m
}

// bury notes a dead letter of the batch. One that nobody can read says nothing new of an order that has others.
func (t *ledgerTx) bury(dead *engine.LoggedOrder) {
	l := letterOf(dead, t.from.epoch.Number)
	if _, buried := t.buried[dead.Order.ID]; !buried || l.readable {
		t.buried[dead.Order.ID] = l
	}
}

// standing returns the state that the ledger has an order in; "" = it does not have it.
func (t *ledgerTx) standing(id engine.OrderID) engine.Status {
	row, known := t.old[id]
	last, buried := t.buried[id]
	switch {
	case known && !last.overrides(row):
		return row.status
	case known || buried:
		return engine.StatusFailed
	}
	return ""
}

// arrive counts rows of orders that the ledger knew nothing of: by runs, for most are of one state.
func (m tally) arrive(rows []*engine.Order) {
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].Status == rows[0].Status {
			n++
		}
		m[rows[0].Status] += int64(n)
		rows = rows[n:]
	}
}

func (m tally) move(from, to engine.Status) {
	if from != "" {
		m[from]--
	}
	m[to]++
}

// still tells whether nothing moves.
func (m tally) still() bool {
	for _, n := range m {
		if n != 0 {
			return false
		}
	}
	return true
}
