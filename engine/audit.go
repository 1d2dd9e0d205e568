package engine

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// MaxAudit is how many products, buyers and orders one [Engine.Audit] asks for at the most: it holds Redis up for about
// two milliseconds.
const MaxAudit = 2000

// AuditQuery names what an audit looks at.
type AuditQuery struct {
	Products []string
	Buyers   []string // as BuyerField has them
	Orders   []OrderID
}

// Len returns how much is asked for.
func (q *AuditQuery) Len() int { return len(q.Products) + len(q.Buyers) + len(q.Orders) }

// Audited is a value as Redis has it.
type Audited[T any] struct {
	Found bool
	Text  string // as it is there
	Value T
	Err   error // why it can't be read
}

// AuditedOrder is what Redis has of an order.
type AuditedOrder struct {
	Record      Audited[Order]
	InLog       bool  // Redis keeps no more than where it was logged, or its batch: it was sold at once. See [ParseKept]
	ExpiresAtMs int64 // among the holds that expire; 0 = it is not
}

// DueAt tells whether it is a hold that is over at an instant, by its record and among the holds that expire.
func (o *AuditedOrder) DueAt(ms int64) bool {
	record := &o.Record.Value
	return o.Record.Found && o.Record.Err == nil && record.Status == StatusPending && record.ExpiresAtMs == ms && o.ExpiresAtMs == ms && ms != 0
}

// Audit is what Redis has at one instant, in the order of the query.
type Audit struct {
	Guard    Guard  // the rest is empty unless it is GuardOK
	Sequence uint64 // of the last log entry at that instant
	Stocks   []Audited[Stock]
	Terms    []Audited[string] // of the same products, as Terms.String has them
	Buyers   []Audited[Buyer]
	Orders   []AuditedOrder
}

// Audit reads what Redis has of some products, buyers and orders of a partition, all at one instant, in the epoch that the
// ledger names, of which it has the entries up to a watermark. It writes nothing.
func (e *Engine) Audit(ctx context.Context, partition int, epoch Epoch, watermark uint64, q *AuditQuery) (Audit, error) {
	if q.Len() > MaxAudit {
		return Audit{}, fmt.Errorf("audit.lua: %d fields are more than %d", q.Len(), MaxAudit)
	}
	keys, err := e.EpochKeys(partition, epoch)
	if err != nil {
		return Audit{}, err
	}
	args := make([]string, 0, 4+q.Len())
	args = append(args, epoch.Replid, formatUint(watermark), strconv.Itoa(len(q.Products)), strconv.Itoa(len(q.Buyers)))
	args = append(append(args, q.Products...), q.Buyers...)
	for i := range q.Orders {
		args = append(args, string(q.Orders[i][:]))
	}
	fields, err := auditScript.run(ctx, e.client, []string{keys.Meta, keys.Stock, keys.Terms, keys.Buyers, keys.Orders, keys.Expiry, keys.Log}, args)
	if err != nil {
		return Audit{}, err
	}
	return decodeAudit(fields, q)
}

func decodeAudit(fields []rueidis.RedisMessage, q *AuditQuery) (Audit, error) {
	r := replyReader{fields: fields}
	a := Audit{Guard: Guard(r.text())}
	r.number()
	if r.err != nil || a.Guard != GuardOK {
		return a, r.err
	}
	a.Sequence = uint64(r.number())
	for range q.Products {
		a.Stocks = append(a.Stocks, audited(&r, ParseStock))
		a.Terms = append(a.Terms, audited(&r, func(text string) (string, error) { return text, nil }))
	}
	for range q.Buyers {
		a.Buyers = append(a.Buyers, audited(&r, ParseBuyer))
	}
	for _, id := range q.Orders {
		var o AuditedOrder
		o.Record = audited(&r, func(text string) (kept Order, err error) {
			kept, o.InLog, err = ParseKept(id, text)
			return kept, err
		})
		score := audited(&r, func(text string) (float64, error) { return strconv.ParseFloat(text, 64) })
		o.ExpiresAtMs = int64(score.Value)
		a.Orders = append(a.Orders, o)
	}
	if r.err != nil {
		return a, fmt.Errorf("audit.lua: %w", r.err)
	}
	return a, nil
}

// audited takes the next field of a reply, which may be nil, and reads it.
func audited[T any](r *replyReader, parse func(string) (T, error)) (a Audited[T]) {
	m := r.message()
	if m == nil || m.IsNil() {
		return a
	}
	text, err := m.ToString()
	if err != nil {
		var n float64 // scores are numbers where RESP3 is spoken
		if n, err = m.AsFloat64(); err != nil {
			r.err = fmt.Errorf("reply field %d: %w", r.next, err)
			return a
		}
		text = strconv.FormatFloat(n, 'f', -1, 64)
	}
	a.Found, a.Text = true, text
	a.Value, a.Err = parse(text)
	return a
}

// ParseKept reads what Redis keeps of an order: its record or, of one that was sold at once, where it was logged. Of that one
// only the id, the state, the version and the sequence are known; the log has the rest.
func ParseKept(id OrderID, text string) (o Order, inLog bool, err error) {
	if sequence, ok := entryOf(text); ok {
		return Order{ID: id, Status: StatusConfirmed, Version: 1, Sequence: sequence}, true, nil
	}
	o, err = ParseRecord(id, text)
	return o, false, err
}

// ParseToken reads a field of meta, or in the version before of the hash of orders, that stands for all orders that a batch sold
// at once: the sequence of their entry; ok is false where it is none of that kind. Those that have changed since have a record of
// their own.
func ParseToken(field, text string) (sequence uint64, ok bool) {
	if len(field) != tokenSize {
		return 0, false
	}
	return entryOf(text)
}

// Buyer is what Redis has of a buyer of a product, in units.
type Buyer struct {
	Bought      int64
	Held        int64
	LockUntilMs int64  // within which a second order is refused
	LastOrder   string // id of the buyer's last order, 16 bytes; "" = none
}

const buyerFields = 4

// ParseBuyer reads a buyer as the scripts write it: bought,held,lockUntilMs,lastOrder.
func ParseBuyer(value string) (Buyer, error) {
	var b Buyer
	f := strings.SplitN(value, ",", buyerFields)
	if len(f) != buyerFields {
		return b, fmt.Errorf("buyer %q: not %d fields", value, buyerFields)
	}
	for i, n := range [...]*int64{&b.Bought, &b.Held, &b.LockUntilMs} {
		if err := parseCount(f[i], n); err != nil {
			return Buyer{}, fmt.Errorf("buyer %q: %w", value, err)
		}
	}
	b.LastOrder = f[buyerFields-1]
	return b, nil
}

// ID returns the id of the buyer's last order; ok is false where there is none.
func (b *Buyer) ID() (id OrderID, ok bool) {
	ok = len(b.LastOrder) == len(id)
	copy(id[:], b.LastOrder)
	return id, ok
}

// Page is a part of a hash or a sorted set, as a scan gives it: what was there all the time comes at least once.
type Page struct {
	Elements []string // field, value, .. of a hash; member, score, .. of a sorted set
	Next     uint64   // cursor of the next page; 0 = there is none
}

// Scan reads the next page, of about count elements, of a key of a partition. The first cursor is 0.
func (e *Engine) Scan(ctx context.Context, keys Keys, target string, cursor uint64, count int64) (Page, error) {
	scan := e.client.B().Hscan().Key(target).Cursor(cursor).Count(count).Build()
	if target == keys.Expiry {
		scan = e.client.B().Zscan().Key(target).Cursor(cursor).Count(count).Build()
	}
	page, err := doWithin(ctx, e.client, scan).AsScanEntry()
	if err != nil {
		return Page{}, fmt.Errorf("scan %s: %w", target, err)
	}
	return Page{Elements: page.Elements, Next: page.Cursor}, nil
}
