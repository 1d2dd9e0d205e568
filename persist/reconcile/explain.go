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
	for i := range x.refusals {
		e.tell(x.refusals[i].finding())
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
	f.Repair = f.fix.words()
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
	if product := e.products[p.product]; o.amiss == recordGone && product != nil && product.ledger == nil {
		return // it is told of the product, which Redis can't have either
	}
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
	case otherDue:
		f.Class, f.Meaning = OrphanedHold, meaningDue
		if o.onlyLedgerDiffers() {
			f.fix = fix{kind: fixDue, order: o.record()}
		}
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
	if p := e.pairs[p]; f.fix.kind == fixRebuild && p != nil && o.surplus().loses() && p.surplus().loses() {
		f.fix = fix{blocks: true, how: howOnlyRedis}
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

// explainGone tells of an order of which Redis should have a record. A hold of the ledger that neither Redis, by its buyer's
// count and its stock, nor the ledger's own counters know was never made.
func (e *explanation) explainGone(o *orderFact, f *Finding) {
	p, product := e.pairs[o.pair()], e.products[o.product()]
	denied := p != nil && p.surplus() == o.surplus() && product != nil && product.surplus().held <= o.surplus().held
	if o.row != nil && o.row.Status == engine.StatusPending && denied && e.excess[f.Partition][engine.StatusPending] < 0 {
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

func (e *explanation) leftovers(product string) (left []leftover) {
	for _, p := range e.pairs {
		if p.product != product {
			continue
		}
		if by := residual(p.surplus(), e.surplus[p.pair]); by != (units{}) || p.redis.Err != nil {
			left = append(left, leftover{p, by})
		}
	}
	slices.SortFunc(left, func(a, b leftover) int { return cmp.Compare(a.user, b.user) })
	return left
}

// more tells whether Redis counts more of the buyer than the orders do: it may be the last to know of a sale.
func (l leftover) more() bool { return l.by.held > 0 || l.by.sold > 0 }

// dealtWith tells whether all of it is a dead letter that somebody has dealt with, else it would be counted.
func (l leftover) dealtWith() bool {
	return l.letter != nil && !l.letter.open && l.by.held+l.by.sold == l.letter.order.Quantity
}

// oneWay tells whether all leftovers are of one direction.
func oneWay(left []leftover) bool {
	var less, more bool
	for _, l := range left {
		less = less || l.by.held < 0 || l.by.sold < 0
		more = more || l.more()
	}
	return less != more
}

// balance is what the witnesses of a product say beyond what its orders, and the rows to be restored, explain.
type balance struct {
	unwritten int64 // units sold that the ledger's counter has beyond its rows
	rest      units // by how much Redis's counters are too high
	sum       units // by how much Redis counts its buyers too high
	left      []leftover
}

func (e *explanation) weigh(p *productFact, left []leftover, restored int64) balance {
	var orders units
	for i := range e.orders {
		if e.orders[i].product() == p.id {
			orders = orders.plus(e.orders[i].surplus())
		}
	}
	b := balance{unwritten: p.ledger.sold - p.rows.sold, rest: p.surplus(), left: left}
	if b.unwritten != 0 {
		b.unwritten -= e.lacking[p.id] + restored
	}
	rows := units{sold: restored}
	switch b.rest {
	case units{}, orders, rows, orders.plus(rows):
		b.rest = units{}
	default:
		b.rest = b.rest.minus(rows)
	}
	for _, l := range left {
		b.sum = b.sum.plus(l.by)
	}
	return b
}

// explainProduct weighs the witnesses of a product against each other: its rows, the ledger's counter, Redis's counters, and
// what Redis counts of its buyers.
func (e *explanation) explainProduct(p *productFact) {
	left := e.leftovers(p.id)
	f, odd := p.oddity(e.engine.PartitionOf(p.id))
	switch {
	case odd:
		e.tell(f)
	case p.differ:
		e.tell(p.otherTerms(e.engine.PartitionOf(p.id)))
	}
	if p.ledger == nil { // of whom Redis counts less is no news: it can't have the product
		left = slices.DeleteFunc(left, func(l leftover) bool { return !l.more() && l.redis.Err == nil })
	}
	if odd || p.ledger == nil {
		e.tellBuyers(left, fixRebuild)
		return
	}
	left, restored := e.tellRestored(left)
	rest := e.explainBalance(p, e.weigh(p, left, restored))
	if f, wrong := p.counters(rest); wrong {
		f.Partition = e.engine.PartitionOf(p.id)
		e.tell(f)
	}
}

// explainBalance tells what the witnesses of a product disagree about, and returns what that leaves open of Redis's counters.
// Where they do not all say the same about rows, nothing is done to rows, nor to a counter that may be right.
func (e *explanation) explainBalance(p *productFact, b balance) (rest units) {
	unwritten := units{sold: b.unwritten}
	switch {
	case b.unwritten != 0 && b.sum == unwritten && oneWay(b.left) && (b.unwritten > 0 || b.rest == unwritten):
		e.tellRows(b.left) // counters and buyers agree: rows are missing, or there are too many
		return residual(b.rest, b.sum)
	case b.unwritten != 0 && b.rest == unwritten && len(b.left) == 0:
		e.tell(p.rowsOfNobody(e.engine.PartitionOf(p.id)))
		e.loose[e.engine.PartitionOf(p.id)] = true
		return units{}
	case b.unwritten > 0 || b.unwritten < 0 && len(b.left) > 0:
		f := p.wrongSold(e.engine.PartitionOf(p.id))
		f.Meaning, f.fix = meaningSoldDoubt, fix{blocks: true, loose: true, how: howSoldDoubt}
		e.loose[f.Partition] = true
		e.tell(f)
		e.tellBuyers(b.left, fixByHand)
	case b.unwritten < 0:
		e.tell(p.wrongSold(e.engine.PartitionOf(p.id)))
	case b.sum != units{} && b.sum == b.rest && oneWay(b.left):
		e.tellUncounted(b.left)
		return units{}
	default:
		e.tellBuyers(b.left, fixRebuild)
	}
	return b.rest
}

// tellRestored tells of buyers whose last order the ledger has lost, whatever else is wrong with the product. It returns the
// others, and how many units sold the rows will have that are to be written.
func (e *explanation) tellRestored(left []leftover) (others []leftover, restored int64) {
	for _, l := range left {
		if e.restore(l) {
			restored += l.by.sold
		} else {
			others = append(others, l)
		}
	}
	return others, restored
}

// tellBuyers tells of buyers of whom Redis counts something else than their orders. Who counts less is put right by kind; where
// one counts more that is the trace of a sale, until somebody knows better.
func (e *explanation) tellBuyers(left []leftover, kind fixKind) {
	for _, l := range left {
		f := l.finding(e.engine.PartitionOf(l.product))
		f.Class, f.Meaning, f.fix = BuyerCount, meaningBuyerLess, fix{kind: kind, how: howBuyerLess}
		if l.more() {
			if e.restore(l) {
				continue
			}
			f.Meaning, f.fix = meaningBuyerMore, fix{blocks: true, how: howBuyerMore}
		}
		e.tell(f)
	}
}

// tellRows tells of buyers whose rows are not what everybody else counts.
func (e *explanation) tellRows(left []leftover) {
	for _, l := range left {
		f := l.finding(e.engine.PartitionOf(l.product))
		if l.by.sold > 0 {
			e.tellLost(f)
			continue
		}
		f.Class, f.Meaning, f.fix.how = Phantom, meaningPhantomRow, howTooMany
		if l.excess != nil {
			f.Order, f.fix = l.excess.ID.String(), fix{kind: fixFailRow, order: &l.excess.Order}
		}
		e.expect(f.Partition, engine.StatusConfirmed, -1)
		e.tell(f)
	}
}

// tellLost tells of a sale that the ledger has lost and that nobody can name.
func (e *explanation) tellLost(f Finding) {
	f.Class, f.Meaning = MissingInLedger, meaningMissingInLedger
	if f.fix.kind == fixByHand {
		f.fix = fix{loose: true, how: howLost}
	}
	e.loose[f.Partition] = true
	e.tell(f)
}

// restore has an order written that the ledger has lost, and tells whether there is one. Redis knows the id of a buyer's last
// order: where the ledger has not got that one, nor the log, it is this one.
func (e *explanation) restore(l leftover) bool {
	id, ok := l.redis.Value.ID()
	partition := e.engine.PartitionOf(l.product)
	told := slices.ContainsFunc(e.orders, func(o orderFact) bool { return o.id == id })
	if !ok || told || l.lastRow || l.letter != nil || id.Partition() != partition || l.by.held != 0 || l.by.sold <= 0 {
		return false
	}
	f := l.finding(partition)
	f.Order = id.String()
	ms := id.TimeMs()
	f.fix = fix{kind: fixPutRow, order: &engine.Order{
		ID: id, Product: l.product, User: l.user, Quantity: l.by.sold, Status: engine.StatusConfirmed, Version: 1,
		CreatedAtMs: ms, UpdatedAtMs: ms,
	}}
	e.tellLost(f)
	return true
}

// tellUncounted tells of buyers on whom Redis agrees with itself and the ledger with itself, but not with each other.
func (e *explanation) tellUncounted(left []leftover) {
	for _, l := range left {
		f := l.finding(e.engine.PartitionOf(l.product))
		f.Class, f.Meaning, f.fix = MissingInRedis, meaningMissingInRedis, fix{kind: fixRebuild}
		switch {
		case l.more() && l.dealtWith():
			f.Class, f.Meaning = Undersell, meaningDealtWith
		case l.more():
			f.fix = fix{}
			e.tellLost(f)
			continue
		}
		e.tell(f)
	}
}
