package persist

import (
	"strings"

	"flashsale/engine"
)

// The last word on an order is mostly its row's. It is a dead letter's where the order has no row, and where the last
// letter that can be read says that a hold was confirmed and is later in the log than the row, which still has the hold:
// the buyer was told so, and no drain will bring it. Such an order has failed, whether somebody has dealt with the letter
// or not, until its row moves on or is put right by hand; its units count as taken while a letter of it is open.
//
// Other letters leave the row its word: a hold that was not extended is still a hold, and what was not given back is
// still taken.

// deadConfirm is that letter of an order o, as SQL; no row = its row has the last word. [letter.overrides] says the same.
const deadConfirm = `
LATERAL (
    SELECT last.*
      FROM (SELECT d.*
              FROM dead_letters d
             WHERE d.order_id = o.id AND d.quantity IS NOT NULL AND o.status IN ('pending', 'expired')
             ORDER BY d.id DESC
             LIMIT 1) last
     WHERE last.record LIKE 'c,%' AND (last.epoch, last.sequence, last.idx) > (o.epoch, o.sequence, o.idx)) dead`

// logPlace is where in the log of a partition something is.
type logPlace struct {
	epoch, sequence uint64
	index           int
}

func (p logPlace) after(q logPlace) bool {
	if p.epoch != q.epoch {
		return p.epoch > q.epoch
	}
	if p.sequence != q.sequence {
		return p.sequence > q.sequence
	}
	return p.index > q.index
}

// letter is the last dead letter of an order, of those that can be read if there are any.
type letter struct {
	logPlace
	readable bool
	confirms bool // it says that the order was confirmed
}

// overrides tells whether the letter, not the row, has the last word on an order.
func (l letter) overrides(row oldOrder) bool {
	held := row.status == engine.StatusPending || row.status == engine.StatusExpired
	return held && l.readable && l.confirms && l.after(row.logPlace)
}

// letterOf is what is buried of an order in an epoch.
func letterOf(dead *engine.LoggedOrder, epoch uint64) letter {
	return letter{
		logPlace: logPlace{epoch, dead.Order.Sequence, dead.Order.Index},
		readable: dead.Order.Quantity != 0, confirms: strings.HasPrefix(dead.Record, "c,"),
	}
}
