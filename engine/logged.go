package engine

import (
	"context"
	"fmt"
	"strconv"
)

// setOrders gives an entry its orders, and them their places: the entry decides where an order is.
func (entry *Entry) setOrders(orders []LoggedOrder) {
	for i := range orders {
		orders[i].Order.Sequence, orders[i].Order.Index = entry.Sequence, i
	}
	entry.Orders = orders
}

// granted reads an order of which an entry has the record.
func granted(id OrderID, record string) LoggedOrder {
	o, err := ParseRecord(id, record)
	if err != nil {
		return LoggedOrder{Order: Order{ID: id}, Record: record, Err: err}
	}
	return LoggedOrder{Order: o, Record: record}
}

// sold reads an order that the entry sold at once, the number-th of its partition.
func (entry *Entry) sold(id OrderID, quantity, buyer string, number int64) LoggedOrder {
	product, user, _ := SplitBuyerField(buyer)
	o := Order{
		ID: id, Product: product, User: user, Status: StatusConfirmed, Version: 1, CreatedAtMs: entry.TimeMs, UpdatedAtMs: entry.TimeMs,
		Sequence: entry.Sequence, Number: number,
	}
	err := parseCount(quantity, &o.Quantity)
	if err == nil && (!ValidProductID(product) || !ValidUserID(user)) {
		err = errRecordOwner
	}
	if err == nil {
		err = o.checkBounds()
	}
	if err != nil {
		said := quantity + "," + buyer
		return LoggedOrder{Order: Order{ID: id}, Record: said, Err: fmt.Errorf("order %s: %q: %w", id, said, err)}
	}
	return LoggedOrder{Order: o}
}

// entryOf returns the sequence of the entry that has an order, where that is all that Redis keeps of it.
func entryOf(kept string) (sequence uint64, ok bool) {
	sequence, err := strconv.ParseUint(kept, 10, 53)
	return sequence, err == nil
}

// findLogged reads an order's record in an entry. Where that is gone the order is in the ledger. byToken says that the token
// led there: then only those count that were sold at once.
func (e *Engine) findLogged(ctx context.Context, v *view, id OrderID, sequence uint64, byToken bool) (Order, bool, error) {
	at := formatUint(sequence) + "-0"
	messages, err := e.client.Do(ctx, e.client.B().Xrange().Key(v.keys.Log).Start(at).End(at).Build()).ToArray()
	if err != nil || len(messages) == 0 {
		return Order{}, false, err
	}
	entry, err := parseEntry(&messages[0])
	if err != nil {
		return Order{}, false, fmt.Errorf("order %s: %w", id, err)
	}
	for i := range entry.Orders {
		if logged := &entry.Orders[i]; logged.Order.ID == id && (logged.Record == "" || !byToken) {
			return logged.Order, logged.Err == nil, logged.Err
		}
	}
	return Order{}, false, nil
}
