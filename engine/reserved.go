package engine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// kindReserved is the kind of the entries that reserve.lua makes: running count of orders before them, then all orders in
// one value. See [reservedOrders].
const kindReserved = "reserved"

var errReservedFields = errors.New("not the fields of a batch of reservations")

// parseReserved reads what follows kind and time in such an entry.
func (entry *Entry) parseReserved(fields []string) error {
	var base int64
	if len(fields) != 2 || parseCount(fields[0], &base) != nil {
		return errReservedFields
	}
	rest := reservedOrders(fields[1])
	entry.Orders = make([]LoggedOrder, 0, rest.atMost())
	for len(rest) > 0 {
		id, text, ok := rest.next()
		logged := LoggedOrder{Record: text}
		if ok {
			logged = entry.reserved(id, text, base+int64(len(entry.Orders))+1)
		} else {
			logged.Record, logged.Err = string(rest), errReservedOrder
			rest = ""
		}
		logged.Order.Sequence, logged.Order.Index = entry.Sequence, len(entry.Orders)
		entry.Orders = append(entry.Orders, logged)
	}
	return nil
}

// reserved reads one order of the entry, the number-th of its partition.
func (entry *Entry) reserved(id OrderID, text string, number int64) LoggedOrder {
	logged := LoggedOrder{Order: Order{ID: id}}
	err := logged.Order.parseSale(text)
	if errors.Is(err, errNoSale) {
		logged.Record = text
		err = logged.Order.parse(text)
	} else if err == nil {
		o := &logged.Order
		o.Status, o.Version, o.CreatedAtMs, o.UpdatedAtMs, o.Number = StatusConfirmed, 1, entry.TimeMs, entry.TimeMs, number
		o.Sequence = entry.Sequence
		err = o.checkBounds()
	}
	if err != nil {
		return LoggedOrder{Order: Order{ID: id}, Record: text, Err: fmt.Errorf("order %s: record %q: %w", id, text, err)}
	}
	return logged
}

// reservedOrders are the orders of an entry of reserve.lua, one after another: of each its id, the length of what the entry
// has of it (2 bytes, the higher one first), and that: a record, or quantity,product|user of an order sold at once.
type reservedOrders string

const (
	idSize       = len(OrderID{})
	reservedHead = idSize + 2
	shortestSale = len("1,a|b")
)

var errReservedOrder = errors.New("the end of a batch of reservations is missing")

// atMost returns how many orders there can be.
func (r reservedOrders) atMost() int { return len(r)/(reservedHead+shortestSale) + 1 }

// next takes the first order off; ok is false where what is left can't be one.
func (r *reservedOrders) next() (id OrderID, text string, ok bool) {
	s := string(*r)
	if len(s) < reservedHead {
		return id, "", false
	}
	end := reservedHead + int(s[idSize])<<8 + int(s[idSize+1])
	if len(s) < end {
		return id, "", false
	}
	copy(id[:], s)
	*r = reservedOrders(s[end:])
	return id, s[reservedHead:end], true
}

var errNoSale = errors.New("not an order sold at once")

// parseSale reads quantity,product|user.
func (o *Order) parseSale(text string) error {
	quantity, identity, _ := strings.Cut(text, ",")
	if parseCount(quantity, &o.Quantity) != nil {
		return errNoSale
	}
	product, user, _ := SplitBuyerField(identity)
	if !ValidProductID(product) || !ValidUserID(user) {
		return errRecordOwner
	}
	o.Product, o.User = product, user
	return nil
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
