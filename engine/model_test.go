package engine

import (
	"maps"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// model is what a namespace must hold, field by field, as plain Go derives it from what was asked. It shares no code
// with the engine: TestScriptsFollowTheModel compares all of it with Redis after every step.
type model struct {
	server    string // replid of the server
	state     string
	caller    string // replid that whoever calls has from the ledger
	replid    string // that the namespace was opened with
	attempt   int64  // that it was closed with; 0 = never
	seq       int64
	orders    int64
	time      int64
	stock     map[string]string
	terms     map[string]string
	buyers    map[string]string
	records   map[string]string           // of what Redis keeps of orders by their ids
	tokens    map[string]string           // -> the entry that has what a batch sold at once
	expiry    map[string]int64            // id -> when the hold is due
	postponed map[string]bool             // holds whose counters could not be read when they were due
	keys      map[int64]map[string]string // generation -> field -> what came of the request
	keyMs     int64                       // a generation of idempotency keys
	idem      int64                       // generation that wrote last
	log       []modelEntry
	batch     map[string]string // id -> record of the orders that a batch under way has accepted
	token     string            // of that batch
	taken     bool              // the token was there before
	takenAt   string            // what it stood for
	lastID    string            // of the stream; "" = no stream yet
}

type modelEntry struct {
	seq    int64
	ms     int64
	fields []string // with kind and time
}

func newModel(replid string) *model {
	return &model{
		server: replid, caller: replid, state: "open", replid: replid,
		stock: map[string]string{}, terms: map[string]string{}, buyers: map[string]string{}, records: map[string]string{}, tokens: map[string]string{},
		expiry: map[string]int64{}, postponed: map[string]bool{}, keys: map[int64]map[string]string{},
	}
}

// dump is the model as Redis must hold it.
func (m *model) dump(keys Keys) dump {
	d := dump{keys.Meta: map[string]string{
		"state": m.state, "replid": m.replid, "epoch": "1", "idem": text(m.idem), "keyMs": text(m.keyMs), "orders": text(m.orders), "sequence": text(m.seq), "time": text(m.time),
	}}
	if m.attempt > 0 {
		d[keys.Meta].(map[string]string)["attempt"] = text(m.attempt)
	}
	maps.Copy(d[keys.Meta].(map[string]string), m.tokens)
	for key, hash := range map[string]map[string]string{
		keys.Stock: m.stock, keys.Terms: m.terms, keys.Buyers: m.buyers, keys.Orders: m.records,
	} {
		if len(hash) > 0 {
			d[key] = maps.Clone(hash)
		}
	}
	if len(m.expiry) > 0 {
		scores := map[string]string{}
		for id, ms := range m.expiry {
			scores[id] = text(ms)
		}
		d[keys.Expiry] = scores
	}
	for generation, fields := range m.keys {
		d[[]string{keys.Even, keys.Odd}[generation%2]] = maps.Clone(fields)
	}
	if m.lastID == "" {
		return d
	}
	stream := streamDump{Entries: []rueidis.XRangeSlice{}, LastID: m.lastID}
	for _, e := range m.log {
		entry := rueidis.XRangeSlice{ID: text(e.seq) + "-0"}
		for i := 0; i < len(e.fields); i += 2 {
			entry.FieldValues = append(entry.FieldValues, rueidis.XRangeFieldValue{Field: e.fields[i], Value: e.fields[i+1]})
		}
		stream.Entries = append(stream.Entries, entry)
	}
	d[keys.Log] = stream
	return d
}

func (m *model) append(nowMs int64, fields ...string) {
	m.seq++
	m.time = nowMs
	m.log = append(m.log, modelEntry{seq: m.seq, ms: nowMs, fields: fields})
	m.lastID = text(m.seq) + "-0"
}

// guard predicts what the check at the head of a script says.
func (m *model) guard(nowMs, watermark, deadlineMs int64) string {
	switch {
	case m.state != "open":
		return "CLOSED"
	case m.replid != m.server || m.caller != m.replid:
		return "FENCED"
	case m.seq < watermark:
		return "BEHIND"
	case nowMs > deadlineMs:
		return "LATE"
	}
	return "OK"
}

const noDeadline = math.MaxInt64

var (
	countersPattern = regexp.MustCompile(`^([0-9]+),([0-9]+),([0-9]+),([0-9]+),([0-9]+)$`)
	termsPattern    = regexp.MustCompile(`^([0-9]+),([01]),([0-9]+),([0-9]+),([0-9]+)$`)
	buyerPattern    = regexp.MustCompile(`(?s)^([0-9]+),([0-9]+),([0-9]+),(.*)$`)
)

// modelCounters reads counters; ok is false where nobody can.
func modelCounters(value string) (n [5]int64, ok bool) {
	found := countersPattern.FindStringSubmatch(value)
	for i := range n {
		if found != nil {
			n[i] = number(found[1+i])
		}
	}
	return n, found != nil
}

// change predicts the reply after {OK, nowMs} and carries the change out.
func (m *model) change(nowMs int64, product string, seq int64, kind string, amount int64, terms string) []string {
	value, known := m.stock[product]
	if !known {
		value = "0,0,0,0,0"
	}
	c, ok := modelCounters(value)
	switch {
	case !ok:
		return []string{text(m.seq), "CORRUPT", "0"}
	case seq <= c[4]:
		return []string{text(m.seq), "REPEATED", "0"}
	case seq > c[4]+1:
		return []string{text(m.seq), "GAP", text(c[4])}
	}
	status, applied := "APPLIED", amount
	if kind == "lower" {
		applied = -max(0, c[0]-amount)
	}
	if c[0]+applied < 0 {
		status, applied = "REFUSED", 0
	}
	c[0] += applied
	c[3] += applied
	c[4] = seq
	m.append(nowMs, "change", text(nowMs), product, text(seq)+","+text(applied)+","+status)
	m.stock[product] = commas(c[:]...)
	if status == "APPLIED" {
		m.terms[product] = terms
	}
	return []string{text(m.seq), status, text(applied)}
}

// trim predicts the reply after {OK, nowMs} and forgets what may go.
func (m *model) trim(nowMs, watermark, graceMs int64, maxEntries int) []string {
	removed, gone := 0, 0
	for _, e := range m.log {
		if removed == maxEntries || e.seq > watermark || nowMs-e.ms < graceMs {
			break
		}
		removed++
		var pairs []string
		byToken := false
		switch e.fields[0] {
		case "orders":
			pairs = e.fields[2:]
		case "accepted":
			pairs, _ = e.accepted()
			byToken = m.tokens[pairs[0][:10]] == text(e.seq)
		}
		if byToken {
			delete(m.tokens, pairs[0][:10])
			gone++
		}
		for i := 0; i < len(pairs); i += 2 {
			kept := m.records[pairs[i]]
			if byToken && !e.granted(pairs[i]) { // what there is of it is not of this entry's making
				continue
			}
			if kept == text(e.seq) || kept == pairs[i+1] && !strings.HasPrefix(kept, "p") {
				delete(m.records, pairs[i])
				gone++
			}
		}
	}
	m.log = m.log[removed:]
	return []string{strconv.Itoa(removed), strconv.Itoa(gone)}
}

// close predicts what close.lua says and closes the namespace unless a later attempt has.
func (m *model) close(attempt int64) []string {
	if attempt < m.attempt {
		return []string{"STALE", text(m.seq)}
	}
	m.state, m.attempt = "closed", attempt
	return []string{"CLOSED", text(m.seq)}
}

// open predicts what open.lua says and opens the namespace where it does.
func (m *model) open(seq int64, replid string, attempt int64) string {
	switch {
	case replid != m.server:
		return "FENCED"
	case attempt != m.attempt:
		return "STALE"
	case m.state == "open" && m.replid == replid:
		return "OK"
	case m.state != "closed" || m.seq != seq:
		return "MOVED"
	}
	m.state, m.replid = "open", replid
	return "OK"
}

func text(n int64) string { return strconv.FormatInt(n, 10) }

func number(digits string) int64 {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		panic(err) // a pattern has let it through
	}
	return n
}

func commas(numbers ...int64) string {
	texts := make([]string, len(numbers))
	for i, n := range numbers {
		texts[i] = text(n)
	}
	return strings.Join(texts, ",")
}
