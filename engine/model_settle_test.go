package engine

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// modelTransition is one transition of a batch.
type modelTransition struct {
	id     string
	action string
	amount int64
	user   string // "" = anybody's
	record string // what the ledger has; "" = not asked
}

// modelSettle is what a batch is settled by.
type modelSettle struct {
	nowMs         int64
	lateMs        int64
	maxExtensions int64
	maxTotalMs    int64
}

// settle predicts the reply after {OK, nowMs} and carries the batch out.
func (m *model) settle(s modelSettle, batch []modelTransition) []string {
	known := map[string]string{} // what the script takes for the record of an order
	for _, t := range batch {
		record, ok := m.keeps(t.id)
		if !ok {
			record = t.record
		}
		known[t.id] = cmp.Or(known[t.id], record)
	}
	anyDue, tight := len(m.due(s.nowMs)) > 0, false
	var statuses strings.Builder
	var details, logged []string
	for _, t := range batch {
		_, inRedis := m.keeps(t.id)
		letter, after := m.settleOne(s, t, known[t.id], !inRedis)
		if letter == "A" {
			known[t.id] = after.text(s.nowMs, m.seq+1, m.orders+int64(len(logged)/2)+1)
			m.records[t.id] = known[t.id]
			logged = append(logged, t.id, known[t.id])
		}
		tight = tight || letter == "S"
		statuses.WriteString(letter)
		if letter != "M" {
			details = append(details, known[t.id])
		}
	}
	m.appendOrders(s.nowMs, logged)
	return append([]string{text(m.seq), text(m.orders), flag(anyDue && tight), statuses.String()}, details...)
}

// modelBooks is what a transition can change: counters and terms of the product, what the buyer has.
type modelBooks struct {
	c         [5]int64 // current, held, sold, initial, change
	terms     modelTerms
	bought    int64
	held      int64
	lockUntil int64
	last      string
}

// books reads what an order has to do with; ok is false where it can't be read, or is less than the order has.
func (m *model) books(o modelRecord) (b modelBooks, ok bool) {
	var readable, known, sane bool
	b.c, readable = modelCounters(m.stock[o.product])
	b.terms, known = m.termsOf(o.product)
	b.bought, b.held, b.lockUntil, b.last, sane = m.buyer(o.product, o.user)
	enough := true
	switch o.letter {
	case "p":
		enough = b.c[1] >= o.quantity && b.held >= o.quantity
	case "c":
		enough = b.c[2] >= o.quantity && b.bought >= o.quantity
	}
	return b, readable && known && sane && enough
}

func (m *model) keep(o modelRecord, b modelBooks) {
	m.stock[o.product] = commas(b.c[:]...)
	m.buyers[o.product+"|"+o.user] = commas(b.bought, b.held, b.lockUntil) + "," + b.last
}

// settleOne says what becomes of one transition, and of the order where it is done.
func (m *model) settleOne(s modelSettle, t modelTransition, record string, brought bool) (letter string, o modelRecord) {
	o, readable := parseModelRecord(record)
	switch {
	case record == "", readable && t.user != "" && t.user != o.user:
		return "M", o
	case readable && brought && o.letter == "p":
		return "G", o
	case !readable:
		return "X", o
	}
	b, ok := m.books(o)
	if !ok {
		return "X", o
	}
	before := o
	switch t.action {
	case "c":
		letter = modelConfirm(s, t, &o, &b)
	case "x":
		letter = modelCancel(t, &o, &b)
	default:
		letter = modelExtend(s, t, &o, b)
	}
	if letter != "A" {
		return letter, before
	}
	o.version++
	m.keep(o, b)
	if before.letter == "p" {
		delete(m.expiry, t.id)
	}
	if o.letter == "p" {
		m.expiry[t.id] = o.expiresMs
	}
	return "A", o
}

// release gives back what an order has.
func (b *modelBooks) release(o *modelRecord) {
	switch o.letter {
	case "p":
		b.c[1] -= o.quantity
		b.held -= o.quantity
		b.c[0] += o.quantity
	case "c":
		b.c[2] -= o.quantity
		b.bought -= o.quantity
		b.c[0] += o.quantity
	}
}

func modelCancel(t modelTransition, o *modelRecord, b *modelBooks) string {
	switch o.letter {
	case "x":
		return "R"
	case "e", "f":
		return "V"
	}
	b.release(o)
	if b.last == t.id {
		b.lockUntil = 0
	}
	o.letter = "x"
	return "A"
}

// modelConfirm gives back what the order holds and sells it what is confirmed, as one step.
func modelConfirm(s modelSettle, t modelTransition, o *modelRecord, b *modelBooks) string {
	quantity := cmp.Or(t.amount, o.quantity)
	switch {
	case o.letter == "c" && quantity == o.quantity:
		return "R"
	case o.letter != "p" && o.letter != "e":
		return "V"
	}
	late := o.letter == "e" || s.nowMs >= o.expiresMs
	after := *b
	after.release(o)
	over := s.nowMs >= o.expiresMs+s.lateMs || !b.terms.active || s.nowMs < b.terms.startsMs ||
		b.terms.endsMs > 0 && s.nowMs >= b.terms.endsMs
	switch {
	case late && (over || b.terms.limit > 0 && after.bought+after.held+quantity > b.terms.limit):
		return "G"
	case quantity > o.quantity:
		return "Q"
	case late && quantity > after.c[0]:
		return "S"
	}
	after.c[0] -= quantity
	after.c[2] += quantity
	after.bought += quantity
	*b = after
	o.letter, o.quantity = "c", quantity
	return "A"
}

func modelExtend(s modelSettle, t modelTransition, o *modelRecord, b modelBooks) string {
	switch {
	case o.letter == "e", o.letter == "p" && s.nowMs >= o.expiresMs:
		return "G"
	case o.letter != "p":
		return "V"
	case t.amount <= o.expiresMs:
		return "R"
	case o.version > 1 && s.nowMs-o.updatedMs <= 30_000 && sameWish(t.amount-s.nowMs, o.expiresMs-o.updatedMs):
		return "R"
	case o.version-1 >= s.maxExtensions, t.amount-o.createdMs > s.maxTotalMs:
		return "B"
	case b.terms.holdMs > 0 && t.amount-s.nowMs > b.terms.holdMs:
		return "H"
	}
	o.expiresMs = t.amount
	return "A"
}

// sameWish tells whether two extensions were asked for by the same number of seconds.
func sameWish(aMs, bMs int64) bool { return max(aMs, bMs)-min(aMs, bMs) <= 500 }

// due lists the ids that are due, the longest due first.
func (m *model) due(nowMs int64) []string {
	var ids []string
	for id, ms := range m.expiry {
		if ms <= nowMs {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Or(cmp.Compare(m.expiry[a], m.expiry[b]), strings.Compare(a, b))
	})
	return ids
}

// expire predicts the reply after {OK, nowMs} and expires what is due.
func (m *model) expire(nowMs, postponeMs int64, maxHolds int) []string {
	ids := m.due(nowMs)
	ids = ids[:min(len(ids), maxHolds)]
	var logged []string
	for _, id := range ids {
		delete(m.expiry, id)
		o, readable := parseModelRecord(m.records[id])
		if !readable || o.letter != "p" {
			continue
		}
		b, ok := m.books(o)
		if !ok {
			m.expiry[id] = nowMs + postponeMs
			m.postponed[id] = true
			continue
		}
		b.release(&o)
		if b.last == id {
			b.lockUntil = 0
		}
		o.letter, o.version = "e", o.version+1
		m.keep(o, b)
		m.records[id] = o.text(nowMs, m.seq+1, m.orders+int64(len(logged)/2)+1)
		logged = append(logged, id, m.records[id])
	}
	m.appendOrders(nowMs, logged)
	return []string{text(m.seq), text(m.orders), strconv.Itoa(len(ids)), strconv.Itoa(len(logged) / 2)}
}
