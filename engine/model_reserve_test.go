package engine

import (
	"cmp"
	"regexp"
	"strings"
)

// modelOrder is one order of a batch.
type modelOrder struct {
	id       string
	product  string
	user     string
	quantity int64
	wish     *modelWish // nil = a plain order
}

// modelWish is what an order asks for beyond being sold at once.
type modelWish struct {
	holdMs  int64  // 0 = sell at once
	key     string // "" = none
	field   string
	request string
}

// modelReserve is what a batch is decided by.
type modelReserve struct {
	nowMs  int64
	lockMs int64
	keyMs  int64
}

// reserve predicts the reply after {OK, nowMs} and carries the batch out.
func (m *model) reserve(r modelReserve, products []string, orders []modelOrder) []string {
	var statuses strings.Builder
	var details []string
	accepted, granted := m.orders, map[string]string{} // id -> record
	anyDue, tight := len(m.due(r.nowMs)) > 0, false
	m.batch = map[string]string{}
	m.token = orders[0].id[:10]
	m.taken, m.takenAt = false, ""
	m.takenAt, m.taken = m.tokens[m.token]
	for _, o := range orders {
		letter, detail := m.decide(r, o)
		switch letter {
		case "A":
			accepted++
			if record := m.take(r, o, accepted); o.wish != nil {
				granted[o.id] = record
			}
		case "S":
			c, _ := modelCounters(m.stock[o.product])
			tight = tight || c[1] > 0
		case "L":
			_, held, _, _, _ := m.buyer(o.product, o.user)
			tight = tight || held > 0
		}
		statuses.WriteString(letter)
		details = append(details, detail...)
	}
	m.appendAccepted(r.nowMs, orders, statuses.String(), granted)
	reply := []string{text(m.seq), text(m.orders), flag(anyDue && tight), statuses.String()}
	for _, product := range products {
		reply = append(reply, m.left(product))
	}
	return append(reply, details...)
}

// appendAccepted logs the orders of a batch, if there are any: ids, then what is sold in a row, of one quantity each,
// and what is granted, one by one.
func (m *model) appendAccepted(nowMs int64, orders []modelOrder, statuses string, granted map[string]string) {
	ids, entry, inRow, count := m.token, []string{}, false, int64(0)
	for i, o := range orders {
		if statuses[i] != 'A' {
			inRow = false
			continue
		}
		count++
		ids += o.id[10:]
		buyer := o.product + "|" + o.user
		if o.wish != nil {
			entry, inRow = append(entry, "record", granted[o.id]), false
			continue
		}
		if inRow && orders[i-1].quantity == o.quantity {
			entry[len(entry)-1] += " " + buyer
		} else {
			entry = append(entry, text(o.quantity), buyer)
		}
		inRow = true
	}
	if count > 0 {
		m.append(nowMs, append([]string{"accepted", text(nowMs), text(m.orders), ids}, entry...)...)
		m.orders += count
	}
	m.batch = nil
}

// accepted reads an entry of that kind: id and record of each of its orders, in turn; granted has the ids of those that are not
// sold at once.
func (e *modelEntry) accepted() (pairs []string, granted map[string]bool) {
	count, ids, granted := number(e.fields[2]), e.fields[3], map[string]bool{}
	add := func(record string) string {
		count++
		id := ids[:10] + ids[10+3*len(pairs):][:6]
		pairs = append(pairs, id, record)
		return id
	}
	for f := 4; f < len(e.fields); f += 2 {
		if e.fields[f] == "record" {
			granted[add(e.fields[f+1])] = true
			continue
		}
		for _, buyer := range strings.Split(e.fields[f+1], " ") {
			add(strings.Join([]string{"c", "1", e.fields[f], text(e.ms), text(e.ms), "0", text(e.seq), text(count + 1), buyer}, ","))
		}
	}
	return pairs, granted
}

// entry is the one in the log that a sequence names; nil = there is none.
func (m *model) entry(sequence string) *modelEntry {
	for i := range m.log {
		if text(m.log[i].seq) == sequence {
			return &m.log[i]
		}
	}
	return nil
}

// find looks an order up in an entry that may have it.
func (e *modelEntry) find(id string) (record string, ok bool) {
	if e == nil || e.fields[0] != "accepted" {
		return "", false
	}
	pairs, _ := e.accepted()
	for k := 0; k < len(pairs); k += 2 {
		if pairs[k] == id {
			return pairs[k+1], true
		}
	}
	return "", false
}

// recordOf is the record of an order of which Redis keeps something: the sequence of an entry that has it, or the record.
func (m *model) recordOf(id, kept string) string {
	record, _ := m.entry(kept).find(id)
	return cmp.Or(record, kept)
}

var sequencePattern = regexp.MustCompile(`^[0-9]{1,15}$`)

// keeps tells what Redis knows of an order, under its own id or as one of those that its token stands for: the sold ones of
// an entry. What stands under a token and is no sequence is all that can be said of an order.
func (m *model) keeps(id string) (record string, ok bool) {
	if own, there := m.records[id]; there {
		return m.recordOf(id, own), true
	}
	byToken, there := m.tokens[id[:10]]
	switch {
	case !there:
		return "", false
	case !sequencePattern.MatchString(byToken):
		return byToken, true
	}
	e := m.entry(byToken)
	if record, ok = e.find(id); !ok || e.granted(id) {
		return "", false
	}
	return record, true
}

// granted tells whether an entry has an order's whole record: it is held, or has a key.
func (e *modelEntry) granted(id string) bool {
	_, granted := e.accepted()
	return granted[id]
}

// decided is the record of an order that was decided before, as far as the script has to look for it: an order that was sold
// at once is known by its token, unless that was taken when it was sold; one with a wish is known by its id.
func (m *model) decided(o modelOrder) (record string, ok bool) {
	if record, ok = m.batch[o.id]; ok {
		return record, true
	}
	if own, there := m.records[o.id]; there && (m.taken || o.wish != nil) {
		return m.recordOf(o.id, own), true
	}
	if !m.taken {
		return "", false
	}
	e := m.entry(m.takenAt)
	if e == nil {
		return m.takenAt, true // nobody knows what it had
	}
	return e.find(o.id)
}

// appendOrders logs the orders of a batch, id and record in turn, if there are any.
func (m *model) appendOrders(nowMs int64, logged []string) {
	if len(logged) > 0 {
		m.orders += int64(len(logged) / 2)
		m.append(nowMs, append([]string{"orders", text(nowMs)}, logged...)...)
	}
}

func flag(set bool) string {
	if set {
		return "1"
	}
	return "0"
}

func (m *model) left(product string) string {
	counters, ok := modelCounters(m.stock[product])
	if !ok || !termsPattern.MatchString(m.terms[product]) {
		return "-1"
	}
	return text(counters[0])
}

// decide says what becomes of one order, by the precedence that reserve.lua states.
func (m *model) decide(r modelReserve, o modelOrder) (letter string, detail []string) {
	if record, ok := m.decided(o); ok {
		return "R", []string{record}
	}
	keyed := o.wish != nil && o.wish.key != ""
	if keyed {
		if earlier, ok := m.earlier(o.wish.field, r.nowMs/r.keyMs); ok {
			if _, request, _ := strings.Cut(earlier[len(OrderID{}):], ","); request == o.wish.request {
				return "K", []string{earlier}
			}
			return "C", nil
		}
	}
	value, ok := m.stock[o.product]
	if !ok {
		return "U", nil
	}
	counters, readable := modelCounters(value)
	terms, known := m.termsOf(o.product)
	bought, held, lockUntil, first, sane := m.buyer(o.product, o.user)
	switch {
	case !readable || !known || !sane:
		return "X", nil
	case o.quantity < 1 || o.quantity > MaxQuantity:
		return "Q", nil
	case !terms.active:
		return "I", nil
	case r.nowMs < terms.startsMs:
		return "N", []string{text(terms.startsMs)}
	case terms.endsMs > 0 && r.nowMs >= terms.endsMs:
		return "E", nil
	case o.wish != nil && terms.holdMs > 0 && o.wish.holdMs > terms.holdMs:
		return "H", []string{text(terms.holdMs)}
	}
	switch {
	case r.lockMs > 0 && r.nowMs < lockUntil && !keyed:
		return "D", []string{text(lockUntil) + "," + first}
	case terms.limit > 0 && bought+held+o.quantity > terms.limit:
		return "L", []string{text(bought + held)}
	case o.quantity > counters[0]:
		return "S", nil
	}
	return "A", nil
}

// earlier is what came of the request that had a key in a generation or the one before it.
func (m *model) earlier(field string, generation int64) (value string, ok bool) {
	for _, g := range []int64{generation, generation - 1} {
		if value, ok = m.keys[g][field]; ok {
			return value, true
		}
	}
	return "", false
}

// remember keeps a key in a generation, and forgets those before the last.
func (m *model) remember(field, value string, generation int64) {
	m.idem = generation
	for g := range m.keys {
		if g < generation-1 {
			delete(m.keys, g)
		}
	}
	if m.keys[generation] == nil {
		m.keys[generation] = map[string]string{}
	}
	m.keys[generation][field] = value
}

type modelTerms struct {
	limit    int64
	active   bool
	startsMs int64
	endsMs   int64
	holdMs   int64
}

func (m *model) termsOf(product string) (terms modelTerms, ok bool) {
	f := termsPattern.FindStringSubmatch(m.terms[product])
	if f == nil {
		return terms, false
	}
	return modelTerms{number(f[1]), f[2] == "1", number(f[3]), number(f[4]), number(f[5])}, true
}

// buyer returns what a buyer has of a product; ok is false where the entry can't be read.
func (m *model) buyer(product, user string) (bought, held, lockUntil int64, last string, ok bool) {
	value, known := m.buyers[product+"|"+user]
	if !known {
		return 0, 0, 0, "", true
	}
	f := buyerPattern.FindStringSubmatch(value)
	if f == nil {
		return 0, 0, 0, "", false
	}
	return number(f[1]), number(f[2]), number(f[3]), f[4], true
}

// take gives an order its units and returns its record.
func (m *model) take(r modelReserve, o modelOrder, count int64) string {
	c, _ := modelCounters(m.stock[o.product])
	bought, held, _, _, _ := m.buyer(o.product, o.user)
	record := modelRecord{letter: "c", version: 1, quantity: o.quantity, createdMs: r.nowMs, product: o.product, user: o.user}
	c[0] -= o.quantity
	if o.wish != nil && o.wish.holdMs > 0 {
		c[1] += o.quantity
		held += o.quantity
		record.letter, record.expiresMs = "p", r.nowMs+o.wish.holdMs
		m.expiry[o.id] = record.expiresMs
	} else {
		c[2] += o.quantity
		bought += o.quantity
	}
	if o.wish != nil && o.wish.key != "" {
		record.tail = "|" + o.wish.request + "|" + o.wish.key
		m.remember(o.wish.field, o.id+text(r.nowMs)+","+o.wish.request, r.nowMs/r.keyMs)
	}
	m.stock[o.product] = commas(c[:]...)
	m.buyers[o.product+"|"+o.user] = commas(bought, held, r.nowMs+r.lockMs) + "," + o.id
	said := record.text(r.nowMs, m.seq+1, count)
	m.batch[o.id] = said
	switch {
	case o.wish != nil:
		m.records[o.id] = said
	case m.taken:
		m.records[o.id] = text(m.seq + 1)
	default:
		m.tokens[m.token] = text(m.seq + 1)
	}
	return said
}

// modelRecord is what a record says, its place in the log aside.
type modelRecord struct {
	letter    string
	version   int64
	quantity  int64
	createdMs int64
	updatedMs int64
	expiresMs int64
	product   string
	user      string
	tail      string // request and idempotency key with their joints
}

var recordPattern = regexp.MustCompile(`(?s)^([pcxef]),([0-9]+),([0-9]+),([0-9]+),([0-9]+),([0-9]+),[0-9]+,[0-9]+,([^|]+)\|([^|]+)(.*)$`)

func parseModelRecord(record string) (r modelRecord, ok bool) {
	f := recordPattern.FindStringSubmatch(record)
	if f == nil {
		return r, false
	}
	return modelRecord{f[1], number(f[2]), number(f[3]), number(f[4]), number(f[5]), number(f[6]), f[7], f[8], f[9]}, true
}

func (r modelRecord) text(nowMs, seq, count int64) string {
	return r.letter + "," + commas(r.version, r.quantity, r.createdMs, nowMs, r.expiresMs, seq, count) + "," + r.product + "|" + r.user + r.tail
}
