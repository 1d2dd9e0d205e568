package reconcile

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"flashsale/engine"
)

// What drifts mean for the shop.
const (
	meaningMissingInLedger = "a sale or a hold that its buyer was told of is not in the books"
	meaningMissingInRedis  = "the books have it, but Redis could give its units to somebody else, or never gives them back"
	meaningPhantomRecord   = "nobody ever placed this order: no log entry, no row, no buyer's count backs it"
	meaningPhantomRow      = "a row that no counter and no count of its buyer backs: nobody was sold this"
	meaningOrphan          = "the hold can't run its course: it would never expire, or there is none to expire"
	meaningStale           = "Redis has an earlier state of this order than the books: what it does next would be wrong"
	meaningUnreadable      = "nobody can confirm or cancel this order"
	meaningContradicts     = "the two sides tell the same change of this order differently; the books count"
	meaningBuyerLess       = "the buyer could buy more than the limit allows"
	meaningBuyerMore       = "a sale that the books lack, or the buyer is refused units that the limit still allows"
	meaningCounts          = "reports by state are wrong; stock is not concerned"
	meaningSold            = "reports of units sold are wrong; rows are what was sold"
	meaningSoldDoubt       = "rows are missing, or the counter is wrong: no machine can know which, and nothing may be lost over it"
	meaningTooMuch         = "more could be sold than there is; the ledger would refuse the last orders"
	meaningTooLittle       = "units that nobody can buy"
	meaningCounters        = "what the shop shows, and decides by, is not what was sold"
	meaningNoProduct       = "the product can't be bought"
	meaningNotInLedger     = "Redis sells a product that the books do not have"
	meaningDealtWith       = "units of a dead letter that somebody has dealt with: Redis still counts them as taken"
	meaningLetter          = "its buyer was told yes, or was left without an answer, and the order is not in the books"
	meaningLetterTold      = "the order is not in the books, and its buyer may have tried again since"
	meaningRowsOfNoProduct = "orders of a product that the books do not have: nobody can tell what is left of it"
	meaningTerms           = "Redis lets buyers buy what, when or as much as the shop has not said"
	meaningDue             = "the hold would end at another time than its buyer was told"
	meaningBroken          = "a promise that the books could not keep: nothing is on its way to this buyer"
)

// What to do by hand.
const (
	howLetterTold = "ask the buyer. Wanted still: clear told_failed_at of the order's dead letters, then --apply brings it into the " +
		"ledger. Not wanted: set their resolved_at, then --apply frees its units. See docs/operations.md, Dead letters"
	howLetterUnreadable = "nobody can read it: find the order in the shop's own records, write its row if its buyer was told yes, and set " +
		"resolved_at of the letter"
	howLetterEarlier = "it goes with a later letter of the same order"
	howOnlyRedis     = "this may be the only trace of a sale: look for the order in the shop's own records and write its row; if there was " +
		"none, --rebuild the partition has Redis forget it"
	howSoldDoubt = "look for missing rows first (reconcile_runs, the shop's own records, a backup) and write them; if there never were " +
		"any, set sold of the product to what its rows add up to"
	howBuyerMore = "look for the buyer's order in the shop's own records and write its row; if there was none, --rebuild the partition " +
		"has Redis forget it"
	howBuyerLess = "first put right what is said of the product's counter; then --apply"
	howTooMany   = "no single row of the buyer is of just so many units. See whether the quantity of one was raised (set it back), or " +
		"several are of orders that nobody placed (mark them failed); then --apply"
	howTooManyRows = "find the rows that nobody was sold, or whose quantity was raised, and mark them failed or set it back; then --apply"
	howLost        = "find the order in reconcile_runs, the shop's own records or a backup and write its row, or see whether the quantity of a " +
		"row was lowered and set it back; then --apply"
	howLetterNoProduct = "make the product %s again (POST /inventory, or products import) with at least %s, then --apply brings the order " +
		"into the ledger; or set resolved_at of the order's dead letters. See docs/operations.md, Orders of a product that the ledger lacks"
	howNoProduct = "flashsale reconcile --rebuild --partition %d, then make the product %s again with at least %s, then --apply; or, if " +
		"nobody was sold these, mark its rows in orders failed, --rebuild the partition, then --apply. See docs/operations.md, Orders of a product that the ledger lacks"
	howBroken = "tell the buyer and give the money back, or raise the stock and have them order again; then set resolved_at of the " +
		"order in refusals. See docs/operations.md, Broken promises"
)

func unitsText(n int64) string {
	if n == 1 {
		return "1 unit"
	}
	return fmt.Sprintf("%d units", n)
}

func orderText(o *engine.Order) string {
	text := fmt.Sprintf("%s of %s, version %d", o.Status, unitsText(o.Quantity), o.Version)
	switch {
	case o.Status == engine.StatusPending && o.ExpiresAtMs == 0:
		text += ", without an end"
	case o.Status == engine.StatusPending:
		text += ", until " + time.UnixMilli(o.ExpiresAtMs).UTC().Format(time.RFC3339)
	}
	return text
}

func (o *orderFact) redisText() string {
	due := "not among the holds that expire"
	if o.redis.ExpiresAtMs != 0 {
		due = "among the holds that expire"
	}
	if o.amiss == otherDue {
		due += ", at " + time.UnixMilli(o.redis.ExpiresAtMs).UTC().Format(time.RFC3339)
	}
	switch record := o.record(); {
	case !o.redis.Record.Found:
		return "has no such order; it is " + due
	case record == nil:
		return fmt.Sprintf("has %.80q, which nobody can read", o.redis.Record.Text)
	case record.Status == engine.StatusPending || o.redis.ExpiresAtMs != 0:
		return "has it " + orderText(record) + "; it is " + due
	default:
		return "has it " + orderText(record)
	}
}

func (o *orderFact) ledgerText() string {
	switch {
	case o.row != nil && o.want != nil && o.want.Version != o.row.Version:
		return "has it " + orderText(&o.row.Order) + ", and the log brings it " + orderText(o.want)
	case o.row != nil:
		return "has it " + orderText(&o.row.Order)
	case o.want != nil:
		return "has no row yet; the log brings it " + orderText(o.want)
	case o.logged:
		return "has no such order, though the log had brought it"
	}
	return "has no such order"
}

func (p *pairFact) redisText() string {
	switch {
	case p.redis.Err != nil:
		return fmt.Sprintf("has %.80q of the buyer, which nobody can read", p.redis.Text)
	case !p.redis.Found:
		return "does not know the buyer"
	}
	return fmt.Sprintf("counts %d bought, %d held", p.redis.Value.Bought, p.redis.Value.Held)
}

func (l leftover) finding(partition int) Finding {
	return Finding{
		Partition: partition, Product: l.product, User: l.user, Redis: l.redisText(),
		Ledger: fmt.Sprintf("the buyer's orders are %d bought, %d held", l.want.sold, l.want.held),
	}
}

func stockText(s engine.Stock) string {
	return fmt.Sprintf("%s in all: %d on sale, %d held, %d sold", unitsText(s.Initial), s.Current, s.Held, s.Sold)
}

func (p *productFact) ledgerText() string {
	return stockText(p.want) + ", by its rows"
}

// oddity tells of a product that one side does not know, or that can't be read.
func (p *productFact) oddity(partition int) (f Finding, odd bool) {
	f = Finding{Class: Counter, Partition: partition, Product: p.id, Redis: "does not know the product", Ledger: p.ledgerText(), fix: fix{kind: fixRebuild}}
	if p.redis.Found {
		f.Redis = stockText(p.redis.Value)
	}
	switch {
	case p.redis.Err != nil:
		f.Redis, f.Meaning = fmt.Sprintf("has the counters %.80q, which nobody can read", p.redis.Text), meaningNoProduct
	case p.wanted && !p.redis.Found:
		f.Class, f.Meaning = Undersell, meaningNoProduct
	case p.ledger == nil && p.rows != units{}:
		f.Class, f.Meaning, f.fix = Phantom, meaningRowsOfNoProduct, fix{how: fmt.Sprintf(howNoProduct, partition, p.id, unitsText(p.rows.sold+p.rows.held))}
		f.Ledger = fmt.Sprintf("has no such product, but orders of it: %d sold, %d held", p.rows.sold, p.rows.held)
	case !p.wanted && p.redis.Found:
		f.Class, f.Meaning, f.Ledger = Phantom, meaningNotInLedger, "has no such product"
	case p.ledger == nil:
		return f, false
	default:
		return f, false
	}
	return f, true
}

// otherTerms tells that Redis decides by other terms than the ledger has.
func (p *productFact) otherTerms(partition int) Finding {
	f := Finding{
		Class: Terms, Partition: partition, Product: p.id, Redis: "has no terms of the product", Ledger: termsText(p.ledger.terms.String()),
		Meaning: meaningTerms, fix: fix{kind: fixRebuild},
	}
	if p.terms.Found {
		f.Redis = termsText(p.terms.Text)
	}
	return f
}

// termsText puts terms, as Redis keeps them, into words.
func termsText(terms string) string {
	f := strings.Split(terms, ",")
	var n [5]int64
	for i := range f {
		var err error
		if i < len(n) {
			n[i], err = strconv.ParseInt(f[i], 10, 64)
		}
		if err != nil || len(f) != len(n) {
			return fmt.Sprintf("has the terms %.80q, which nobody can read", terms)
		}
	}
	sale, limit, hold := "switched off", "any number a buyer", "no longest hold"
	if n[1] == 1 {
		sale = "on sale"
	}
	if n[2] != 0 {
		sale += " from " + instantText(n[2])
	}
	if n[3] != 0 {
		sale += " until " + instantText(n[3])
	}
	if n[0] != 0 {
		limit = "at most " + unitsText(n[0]) + " a buyer"
	}
	if n[4] != 0 {
		hold = "holds up to " + (time.Duration(n[4]) * time.Millisecond).String()
	}
	return sale + ", " + limit + ", " + hold
}

func instantText(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

// rowsOfNobody tells that rows are missing, or too many, of buyers whom nobody knows.
func (p *productFact) rowsOfNobody(partition int) Finding {
	f := Finding{
		Class: MissingInLedger, Partition: partition, Product: p.id, Redis: stockText(p.redis.Value), Meaning: meaningMissingInLedger,
		Ledger: fmt.Sprintf("its counter says %s sold, its rows %d; whose they are nobody knows", unitsText(p.ledger.sold), p.rows.sold),
	}
	f.fix = fix{loose: true, how: howLost}
	if p.ledger.sold < p.rows.sold {
		f.Class, f.Meaning, f.fix.how = Phantom, meaningPhantomRow, howTooManyRows
	}
	return f
}

func (p *productFact) wrongSold(partition int) Finding {
	return Finding{
		Class: Counter, Partition: partition, Product: p.id, Redis: stockText(p.redis.Value), Meaning: meaningSold,
		Ledger: fmt.Sprintf("its counter says %s sold, its rows %d", unitsText(p.ledger.sold), p.rows.sold),
		fix:    fix{kind: fixRecount},
	}
}

// counters tells of counters of Redis that are wrong, beyond what rest leaves unexplained of held and sold.
func (p *productFact) counters(rest units) (f Finding, wrong bool) {
	if p.ledger == nil || !p.redis.Found {
		return f, false
	}
	have := p.redis.Value
	current := p.want.Initial - have.Held - have.Sold // that there should be, given what is held and sold
	f = Finding{Class: Counter, Product: p.id, Redis: stockText(have), Ledger: p.ledgerText(), Meaning: meaningCounters, fix: fix{kind: fixRebuild}}
	switch {
	case rest == units{} && have.Current < current:
		f.Class = Undersell
		f.Meaning = fmt.Sprintf("%s: %s", meaningTooLittle, unitsText(current-have.Current))
	case rest == units{} && have.Current > current:
		f.Meaning = fmt.Sprintf("%s: %s too many on sale", meaningTooMuch, unitsText(have.Current-current))
	case rest != units{} && have.Current > p.want.Current:
		f.Meaning = fmt.Sprintf("%s: %s too many on sale", meaningTooMuch, unitsText(have.Current-p.want.Current))
	case rest != units{} || have.Current != current || have.Initial != p.want.Initial:
	case have.Change != p.want.Change:
		f.Redis = fmt.Sprintf("has taken change %d of the product", have.Change)
		f.Ledger = fmt.Sprintf("change %d is the last that was taken", p.want.Change)
	default:
		return f, false
	}
	return f, true
}

func (c counts) String() string {
	var parts []string
	for _, status := range statuses {
		parts = append(parts, fmt.Sprintf("%d %s", c[status], status))
	}
	return strings.Join(parts, ", ")
}

// takes tells whether the letter brought into the ledger would be a sale or a hold.
func (l *openLetter) takes() bool {
	return !strings.HasPrefix(l.record, "x,") && !strings.HasPrefix(l.record, "e,")
}

func (l *openLetter) finding() Finding {
	f := Finding{
		Class: DeadLetter, Partition: l.partition, Product: l.product, User: l.user, Meaning: meaningLetter,
		Redis:  fmt.Sprintf("logged %.120q", l.record),
		Ledger: "refused it: " + l.reason,
	}
	if l.order != nil {
		f.Order = l.order.String()
	}
	if l.inTheLedgerAs != "" {
		f.Ledger += "; it has the order " + l.inTheLedgerAs
	}
	switch {
	case l.told && l.takes():
		f.Meaning, f.fix.how = meaningLetterTold, howLetterTold
		f.Ledger += "; somebody was told that it failed"
	case l.readable && l.latest && !l.known:
		f.fix.how = fmt.Sprintf(howLetterNoProduct, l.product, unitsText(l.quantity))
	case !l.readable:
		f.fix.how = howLetterUnreadable
	case !l.latest:
		f.fix.how = howLetterEarlier
	default:
		f.fix = fix{kind: fixLetter, letter: l.id}
	}
	return f
}
