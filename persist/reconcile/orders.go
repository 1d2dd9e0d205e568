package reconcile

import (
	"context"

	"flashsale/engine"
)

// amiss is what is wrong with an order, as far as the two sides tell by themselves.
type amiss string

const (
	unreadable  amiss = "unreadable"  // its record can't be read
	unknown     amiss = "unknown"     // Redis has a record, the ledger nothing
	ahead       amiss = "ahead"       // Redis has a later change than the ledger
	stale       amiss = "stale"       // Redis has an earlier change than the ledger
	contradicts amiss = "contradicts" // both have the same change, and it is another
	recordGone  amiss = "record gone" // Redis should have a record and has none
	neverDue    amiss = "never due"   // a hold that is not among those that expire
	onlyDue     amiss = "only due"    // among those that expire, and no hold
	otherDue    amiss = "other due"   // a hold that is over at different times
)

// orderFact is an order on both sides at one moment.
type orderFact struct {
	id     engine.OrderID
	amiss  amiss // "" = nothing
	redis  engine.AuditedOrder
	want   *engine.Order // as Redis should have it, if it has it; nil = nobody knows of it
	row    *row          // of the ledger; nil = none
	logged bool          // the log names the order in the entry that the record claims
	kept   bool          // that entry is still in the log
}

// product and user are whose the order is, as far as anybody can tell.
func (o *orderFact) pair() pair {
	switch {
	case o.want != nil:
		return pair{o.want.Product, o.want.User}
	case o.row != nil:
		return pair{o.row.Product, o.row.User}
	}
	return pair{o.redis.Record.Value.Product, o.redis.Record.Value.User}
}

func (o *orderFact) product() string { return o.pair().product }

// record is the order as Redis has it; nil = it has none that can be read.
func (o *orderFact) record() *engine.Order {
	if !o.redis.Record.Found || o.redis.Record.Err != nil {
		return nil
	}
	return &o.redis.Record.Value
}

// surplus is by how much Redis's counters would differ from what they should be if they followed its record.
func (o *orderFact) surplus() units { return unitsOf(o.record()).minus(unitsOf(o.want)) }

// orderFacts compares the orders of a look. One whose last change is in the ledger may have left Redis, unless it is a hold.
func (f *frame) orderFacts(ctx context.Context, l *look) ([]orderFact, error) {
	asked := make(map[engine.OrderID]bool, len(l.query.Orders))
	for _, id := range l.query.Orders {
		asked[id] = true
	}
	rows, err := f.rows(ctx, l.query.Orders)
	if err != nil {
		return nil, err
	}
	moves, err := f.moves(ctx, l, func(o *engine.Order) bool { return asked[o.ID] })
	if err != nil {
		return nil, err
	}
	facts := make([]orderFact, len(l.query.Orders))
	for i, id := range l.query.Orders {
		o := &facts[i]
		o.id, o.row, o.redis = id, rows[id], l.audit.Orders[i]
		moved := moves[id]
		if moved != nil {
			o.want = moved.after
		} else {
			o.want = f.standing(l.partition, id, rows[id])
		}
		o.fill(o.want)
		o.amiss = o.judge(moved != nil, f.letters[id] != nil)
	}
	return facts, nil
}

// fill completes an order of which Redis only keeps where it was logged by what is known of it elsewhere.
func (o *orderFact) fill(known *engine.Order) {
	if !o.redis.InLog || known == nil {
		return
	}
	r := &o.redis.Record.Value
	r.Product, r.User, r.Quantity = known.Product, known.User, known.Quantity
	r.CreatedAtMs, r.UpdatedAtMs, r.Number, r.Index = known.CreatedAtMs, known.UpdatedAtMs, known.Number, known.Index
}

// judge tells what is wrong; undrained says that the ledger has not taken in the order's last change, buried that it has dead
// letters of it.
func (o *orderFact) judge(undrained, buried bool) amiss {
	record, due := o.record(), o.redis.ExpiresAtMs != 0
	switch {
	case o.redis.Record.Found && record == nil:
		return unreadable
	case record == nil && due:
		return onlyDue
	case record == nil && o.want != nil && (undrained || o.want.Status == engine.StatusPending):
		return recordGone
	case record == nil || o.want == nil && buried:
		return ""
	case o.want == nil:
		return unknown
	case record.Version > o.want.Version:
		return ahead
	case record.Version < o.want.Version:
		return stale
	case o.want.Status != engine.StatusFailed && !sameOrder(record, o.want):
		return contradicts
	case record.Status == engine.StatusPending && !due:
		return neverDue
	case record.Status != engine.StatusPending && due:
		return onlyDue
	case record.Status == engine.StatusPending && (record.ExpiresAtMs != o.redis.ExpiresAtMs || o.want.Status == engine.StatusPending && record.ExpiresAtMs != o.want.ExpiresAtMs):
		return otherDue
	}
	return ""
}

// onlyLedgerDiffers tells of a hold that is over at different times whether both parts of Redis agree: two witnesses, and the
// buyer was told what they say.
func (o *orderFact) onlyLedgerDiffers() bool {
	return o.row != nil && o.row.Version == o.record().Version && o.redis.DueAt(o.record().ExpiresAtMs)
}

func sameOrder(a, b *engine.Order) bool {
	return a.Status == b.Status && a.Quantity == b.Quantity && a.Product == b.Product && a.User == b.User
}
