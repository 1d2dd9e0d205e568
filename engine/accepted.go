package engine

import (
	"errors"
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
