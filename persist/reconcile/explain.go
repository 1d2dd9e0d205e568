package reconcile

import (
	"cmp"
	"maps"
	"slices"

	"flashsale/engine"
)

// explanation makes findings of facts, from the smallest thing up: what an order explains is not told of its buyer again, nor
// what buyers explain of their product.
type explanation struct {
	*facts
	findings []Finding
	surplus  map[pair]units   // by how much a buyer's orders would have Redis count too much
	lacking  map[string]int64 // product -> units sold that its rows lack, as far as orders tell
	expected map[int]counts   // partition -> by how much its counters of orders exceed the rows for what was told
	loose    map[int]bool     // partitions of which nobody knows how many rows are missing
}

func (x *facts) explain() []Finding {
	e := &explanation{
		facts: x, surplus: make(map[pair]units), lacking: make(map[string]int64), expected: make(map[int]counts),
		loose: make(map[int]bool),
	}
	for i := range x.letters {
		e.tell(x.letters[i].finding())
	}
	for i := range x.orders {
		e.explainOrder(&x.orders[i])
	}
	for _, id := range slices.Sorted(maps.Keys(x.products)) {
		e.explainProduct(x.products[id])
	}
	for _, partition := range slices.Sorted(maps.Keys(x.excess)) {
		e.explainCounts(partition)
	}
	return e.findings
}

func (e *explanation) tell(f Finding) {
	f.Repair = f.fix.kind.words()
	e.findings = append(e.findings, f)
}

// expect notes that a partition's counter of orders counts n more than there are rows.
func (e *explanation) expect(partition int, status engine.Status, n int64) {
	if e.expected[partition] == nil {
		e.expected[partition] = make(counts)
	}
	e.expected[partition][status] += n
}

// explainOrder tells what is wrong with an order.
func (e *explanation) explainOrder(o *orderFact) {
	p := o.pair()
	e.surplus[p] = e.surplus[p].plus(o.surplus())
	f := Finding{Partition: o.id.Partition(), Product: p.product, User: p.user, Order: o.id.String()}
	f.Redis, f.Ledger = o.redisText(), o.ledgerText()
	f.fix = fix{kind: fixRebuild}
	switch o.amiss {
	case unknown, ahead:
		e.explainUnwritten(o, &f)
	case recordGone:
		e.explainGone(o, &f)
	case onlyDue, neverDue:
		f.Class, f.Meaning = OrphanedHold, meaningOrphan
	case stale:
		f.Class, f.Meaning = Phantom, meaningStale
		if o.record().Status == engine.StatusPending {
			f.Class = OrphanedHold
		}
	case unreadable:
		f.Class, f.Meaning = Phantom, meaningUnreadable
	case contradicts:
		f.Class, f.Meaning = Phantom, meaningContradicts
	}
	e.tell(f)
}

// explainUnwritten tells of an order, or a change of one, that only Redis has. It is real where the log says so, or, once the
// log is trimmed, where Redis counts it for its buyer; otherwise somebody has written it by hand.
func (e *explanation) explainUnwritten(o *orderFact, f *Finding) {
	record := o.record()
	counted := false
	if p := e.pairs[o.pair()]; p != nil && o.surplus() != (units{}) {
		counted = p.surplus() == o.surplus()
	}
	if !o.logged && (o.kept || !counted) {
		f.Class, f.Meaning = Phantom, meaningPhantomRecord
		return
	}
	f.Class, f.Meaning = MissingInLedger, meaningMissingInLedger
	f.fix = fix{kind: fixPutRow, order: record}
	e.lacking[record.Product] += unitsOf(record).sold
	if o.row != nil {
		e.lacking[record.Product] -= unitsOf(&o.row.Order).sold
		e.expect(f.Partition, o.row.Status, -1)
	}
	e.expect(f.Partition, record.Status, 1)
}

// explainGone tells of an order of which Redis should have a record. A hold of the ledger that neither Redis nor the ledger's
// own counters know was never made.
func (e *explanation) explainGone(o *orderFact, f *Finding) {
	p := e.pairs[o.pair()]
	if o.row != nil && o.row.Status == engine.StatusPending && p != nil && p.surplus() == o.surplus() &&
		e.excess[f.Partition][engine.StatusPending] < 0 {
		f.Class, f.Meaning = Phantom, meaningPhantomRow
		f.fix = fix{kind: fixFailRow, order: &o.row.Order}
		e.expect(f.Partition, engine.StatusPending, -1)
		return
	}
	f.Class, f.Meaning = MissingInRedis, meaningMissingInRedis
}

// explainCounts tells where the ledger's counters of orders are not what they count, beyond what was told already.
func (e *explanation) explainCounts(partition int) {
	rest, wrong := e.excess[partition], false
	for _, status := range statuses {
		n := rest[status]
		wrong = wrong || n != 0 && n != e.expected[partition][status] && !e.loose[partition]
	}
	if !wrong {
		return
	}
	counted, have := make(counts), e.places[partition].counts
	for _, status := range statuses {
		counted[status] = have[status] - rest[status]
	}
	e.tell(Finding{
		Class: Counter, Partition: partition, Redis: "does not count orders by state",
		Ledger:  "says " + have.String() + "; its rows are " + counted.String(),
		Meaning: meaningCounts, fix: fix{kind: fixRecount},
	})
}

// residual returns what of a surplus is not explained by its parts: they may be counted, or not, but not in part.
func residual(surplus, parts units) units {
	if surplus == parts {
		return units{}
	}
	return surplus
}

// leftover is a buyer of whom Redis counts something that the buyer's orders do not explain.
type leftover struct {
	*pairFact
	by units
}

func (e *explanation) leftovers(product string) (left []leftover, sum units) {
	for _, p := range e.pairs {
		if p.product != product {
			continue
		}
		if by := residual(p.surplus(), e.surplus[p.pair]); by != (units{}) || p.redis.Err != nil {
			left = append(left, leftover{p, by})
			sum = sum.plus(by)
		}
	}
	slices.SortFunc(left, func(a, b leftover) int { return cmp.Compare(a.user, b.user) })
	return left, sum
}

// oneWay tells whether all leftovers are of one direction.
func oneWay(left []leftover) bool {
	var less, more bool
	for _, l := range left {
		less = less || l.by.held < 0 || l.by.sold < 0
		more = more || l.by.held > 0 || l.by.sold > 0
	}
	return less != more
}

// explainProduct weighs the witnesses of a product against each other: its rows, the ledger's counter, Redis's counters, and
// what Redis counts of its buyers.
func (e *explanation) explainProduct(p *productFact) {
	left, sum := e.leftovers(p.id)
	if f, odd := p.oddity(); odd {
		f.Partition = e.engine.PartitionOf(p.id)
		e.tell(f)
		for _, l := range left {
			e.tellBuyer(l)
		}
		return
	}
	if p.ledger == nil {
		e.tellBuyers(left)
		return
	}
	var orders units
	for i := range e.orders {
		if e.orders[i].product() == p.id {
			orders = orders.plus(e.orders[i].surplus())
		}
	}
	rest := residual(p.surplus(), orders)
	unwritten := p.ledger.sold - p.rows.sold // what the ledger's counter has beyond its rows
	if unwritten == e.lacking[p.id] {
		unwritten = 0
	}
	switch {
	case unwritten != 0 && sum == units{sold: unwritten} && oneWay(left):
		e.tellRows(left) // counter and buyers agree: rows are missing, or there are too many
		rest = residual(rest, sum)
	case unwritten != 0 && rest == units{sold: unwritten} && len(left) == 0:
		e.tell(p.rowsOfNobody(e.engine.PartitionOf(p.id)))
		e.loose[e.engine.PartitionOf(p.id)] = true
		rest = units{}
	case unwritten != 0:
		e.tell(p.wrongSold(e.engine.PartitionOf(p.id)))
		e.tellBuyers(left)
	case sum != units{} && sum == rest && oneWay(left):
		e.tellUncounted(left)
		rest = units{}
	default:
		e.tellBuyers(left)
	}
	if f, wrong := p.counters(rest); wrong {
		f.Partition = e.engine.PartitionOf(p.id)
		e.tell(f)
	}
}

func (e *explanation) tellBuyers(left []leftover) {
	for _, l := range left {
		e.tellBuyer(l)
	}
}

func (e *explanation) tellBuyer(l leftover) {
	f := l.finding(e.engine.PartitionOf(l.product))
	f.Class, f.Meaning = BuyerCount, meaningBuyerLess
	if l.by.held > 0 || l.by.sold > 0 {
		f.Meaning = meaningBuyerMore
	}
	f.fix = fix{kind: fixRebuild}
	e.tell(f)
}

// tellRows tells of buyers whose rows are not what everybody else counts.
func (e *explanation) tellRows(left []leftover) {
	for _, l := range left {
		f := l.finding(e.engine.PartitionOf(l.product))
		if l.by.sold > 0 {
			e.restore(l, &f)
		} else {
			f.Class, f.Meaning = Phantom, meaningPhantomRow
			if l.excess != nil {
				f.Order, f.fix = l.excess.ID.String(), fix{kind: fixFailRow, order: &l.excess.Order}
			}
			e.expect(f.Partition, engine.StatusConfirmed, -1)
		}
		e.tell(f)
	}
}

// restore has an order written that the ledger has lost. Redis knows the id of a buyer's last order: where the ledger has not
// got that one, it is this one.
func (e *explanation) restore(l leftover, f *Finding) {
	f.Class, f.Meaning = MissingInLedger, meaningMissingInLedger
	e.loose[f.Partition] = true
	id, ok := l.redis.Value.ID()
	if !ok || l.lastRow || l.buried || id.Partition() != f.Partition || l.by.held != 0 {
		return
	}
	f.Order = id.String()
	ms := id.TimeMs()
	f.fix = fix{kind: fixPutRow, order: &engine.Order{
		ID: id, Product: l.product, User: l.user, Quantity: l.by.sold, Status: engine.StatusConfirmed, Version: 1,
		CreatedAtMs: ms, UpdatedAtMs: ms,
	}}
}

// tellUncounted tells of buyers on whom Redis agrees with itself and the ledger with itself, but not with each other.
func (e *explanation) tellUncounted(left []leftover) {
	for _, l := range left {
		f := l.finding(e.engine.PartitionOf(l.product))
		f.Class, f.Meaning, f.fix = MissingInRedis, meaningMissingInRedis, fix{kind: fixRebuild}
		switch {
		case l.buried: // somebody has dealt with its letters, else it would be counted
			f.Class, f.Meaning = Undersell, meaningDealtWith
		case l.by.held > 0 || l.by.sold > 0:
			e.restore(l, &f)
		}
		e.tell(f)
	}
}
