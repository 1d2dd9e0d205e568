package engine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// kindAccepted is the kind of the entries that reserve.lua makes: running count of orders before them, ids (the token that all
// share, then the rest of each), and in the same order pairs of fields: a quantity with the product|user of everybody to whom so
// many were sold at once, joined by spaces, or [grantedField] with the record of one order that is held or has a key.
const (
	kindAccepted = "accepted"
	grantedField = "record"
	restSize     = idSize - tokenSize
)

var errAcceptedFields = errors.New("not the fields of accepted orders")

// parseAccepted reads what follows kind and time in such an entry. Where it has not as many ids as orders nobody knows which
// are whose.
func (entry *Entry) parseAccepted(fields []string) error {
	var base int64
	ids, ok := newAcceptedIDs(fields[1])
	if parseCount(fields[0], &base) != nil || !ok {
		return errAcceptedFields
	}
	orders := make([]LoggedOrder, 0, ids.left())
	for i := 2; i < len(fields); i += 2 {
		if fields[i] == grantedField {
			if !ids.next() {
				return errAcceptedFields
			}
			orders = append(orders, granted(ids.id, fields[i+1]))
			continue
		}
		for buyer := range strings.SplitSeq(fields[i+1], " ") {
			if !ids.next() {
				return errAcceptedFields
			}
			orders = append(orders, entry.sold(ids.id, fields[i], buyer, base+int64(len(orders))+1))
		}
	}
	if ids.left() > 0 {
		return errAcceptedFields
	}
	entry.setOrders(orders)
	entry.Counted = countedFrom(base, orders)
	return nil
}

// acceptedIDs are the ids of such an entry, read one after another.
type acceptedIDs struct {
	id    OrderID // the one that was read last
	rests string  // of those to come
}

func newAcceptedIDs(text string) (ids acceptedIDs, ok bool) {
	if len(text) < tokenSize || (len(text)-tokenSize)%restSize != 0 {
		return ids, false
	}
	ids.rests = text[copy(ids.id[:tokenSize], text):]
	return ids, true
}

func (ids *acceptedIDs) left() int { return len(ids.rests) / restSize }

func (ids *acceptedIDs) next() bool {
	if ids.rests == "" {
		return false
	}
	ids.rests = ids.rests[copy(ids.id[tokenSize:], ids.rests):]
	return true
}

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
