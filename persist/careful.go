package persist

import (
	"context"
	"errors"
	"fmt"

	"flashsale/engine"
)

// writeCarefully writes a batch of which Postgres refuses some rows: those become dead letters, all others land. A dead
// letter moves no counter. So one that would have given units back leaves fewer for the others, and where they don't
// suffice the batch is judged again without it: else the drain would try for ever what can't be committed.
func (t *ledgerTx) writeCarefully(ctx context.Context) (verdict, error) {
	dead := t.batch.unreadable
	for {
		v := judge(t.batch, t.products, t.old)
		savepoint, err := t.Begin(ctx)
		if err != nil {
			return v, fmt.Errorf("savepoint: %w", err)
		}
		refused, err := t.writeAround(ctx, v.rows)
		if err != nil {
			return v, err
		}
		v.withdraw(refused, t.old)
		if len(refused) == 0 || !v.oversells(t.products) {
			v.dead = append(append(v.dead, refused...), dead...)
			return v, savepoint.Commit(ctx)
		}
		if err := savepoint.Rollback(ctx); err != nil {
			return v, fmt.Errorf("savepoint: %w", err)
		}
		dead = append(refused, dead...)
		t.batch.orders = without(t.batch.orders, idsOf(refused))
	}
}

// writeAround halves the rows until those at fault stand alone, and returns these.
func (t *ledgerTx) writeAround(ctx context.Context, rows []*engine.Order) (refused []engine.LoggedOrder, err error) {
	if len(rows) == 0 {
		return nil, nil
	}
	savepoint, err := t.Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("savepoint: %w", err)
	}
	_, err = t.insert(ctx, savepoint, rows)
	if err == nil {
		return nil, savepoint.Commit(ctx)
	}
	if rollback := savepoint.Rollback(ctx); rollback != nil {
		return nil, fmt.Errorf("savepoint: %w", errors.Join(rollback, err))
	}
	if !isDataError(err) {
		return nil, err
	}
	if len(rows) == 1 {
		return []engine.LoggedOrder{{Order: *rows[0], Record: t.record(rows[0].ID), Err: err}}, nil
	}
	half := len(rows) / 2
	first, err := t.writeAround(ctx, rows[:half])
	if err != nil {
		return nil, err
	}
	second, err := t.writeAround(ctx, rows[half:])
	return append(first, second...), err
}

// record returns the log's own words for an order.
func (t *ledgerTx) record(id engine.OrderID) string {
	for i := range t.batch.orders {
		if t.batch.orders[i].Order.ID == id {
			return t.batch.orders[i].Text()
		}
	}
	return ""
}

// withdraw takes rows that Postgres refuses out of a verdict, with what they would have moved.
func (v *verdict) withdraw(refused []engine.LoggedOrder, old map[engine.OrderID]oldOrder) {
	if len(refused) == 0 {
		return
	}
	for i := range refused {
		o := &refused[i].Order
		v.deltas[o.Product] -= sold(o.Status, o.Quantity) - soldBefore(old, o.ID)
	}
	gone := idsOf(refused)
	kept := make([]*engine.Order, 0, len(v.rows))
	for i := range v.rows {
		if !gone[v.rows[i].ID] {
			kept = append(kept, v.rows[i])
		}
	}
	v.rows = kept
}

// oversells tells whether the verdict sells more of a product than there is.
func (v *verdict) oversells(products map[string]ledgerProduct) bool {
	for product, delta := range v.deltas {
		if products[product].sold+delta > products[product].initial {
			return true
		}
	}
	return false
}

func idsOf(orders []engine.LoggedOrder) map[engine.OrderID]bool {
	ids := make(map[engine.OrderID]bool, len(orders))
	for i := range orders {
		ids[orders[i].Order.ID] = true
	}
	return ids
}

// without returns the orders whose ids are not among some, in memory of its own: a batch may be tried again.
func without(orders []*engine.LoggedOrder, ids map[engine.OrderID]bool) []*engine.LoggedOrder {
	kept := make([]*engine.LoggedOrder, 0, len(orders))
	for i := range orders {
		if !ids[orders[i].Order.ID] {
			kept = append(kept, orders[i])
		}
	}
	return kept
}
