package engine

import (
	"errors"
	"strings"
)

// kindReserved is the kind of the entries that reserve.lua made in the version before: running count of orders before them, then
// all orders in one value. See [reservedOrders].
const kindReserved = "reserved"

var errReservedFields = errors.New("not the fields of a batch of reservations")

// parseReserved reads what follows kind and time in such an entry.
func (entry *Entry) parseReserved(fields []string) error {
	var base int64
	if len(fields) != 2 || parseCount(fields[0], &base) != nil {
		return errReservedFields
	}
	rest := reservedOrders(fields[1])
	orders := make([]LoggedOrder, 0, rest.atMost())
	whole := true
	for len(rest) > 0 {
		id, text, ok := rest.next()
		if !ok {
			orders, whole = append(orders, LoggedOrder{Record: string(rest), Err: errReservedOrder}), false
			break
		}
		quantity, buyer, sale := strings.Cut(text, ",")
		if sale && parseCount(quantity, new(int64)) == nil {
			orders = append(orders, entry.sold(id, quantity, buyer, base+int64(len(orders))+1))
		} else {
			orders = append(orders, granted(id, text))
		}
	}
	entry.setOrders(orders)
	if whole {
		entry.Counted = countedFrom(base, orders)
	}
	return nil
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
