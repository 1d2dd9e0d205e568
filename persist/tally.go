package persist

import "flashsale/engine"

// tally is how many orders of each state the ledger has more, or fewer.
type tally map[engine.Status]int64

// tally counts what a batch really changes: each order that it writes leaves the state that it had. An order that has
// dead letters and no row counts as failed, once.
func (t *ledgerTx) tally(v *verdict) tally {
	moved := make(tally)
	for i := range v.rows {
		moved.move(t.standing(v.rows[i].ID), v.rows[i].Status)
	}
	if len(v.dead) == 0 {
		return moved
	}
	known := make(map[engine.OrderID]bool, len(v.rows)+len(v.dead))
	for i := range v.rows {
		known[v.rows[i].ID] = true
	}
	for i := range v.dead {
		id := v.dead[i].Order.ID
		if id == (engine.OrderID{}) || known[id] || t.standing(id) != "" {
			continue
		}
		known[id] = true
		moved.move("", engine.StatusFailed)
	}
	return moved
}

// standing returns the state that the ledger had an order in before the batch; "" = it did not have it.
func (t *ledgerTx) standing(id engine.OrderID) engine.Status {
	if old, known := t.old[id]; known {
		return old.status
	}
	if t.buried[id] {
		return engine.StatusFailed
	}
	return ""
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
