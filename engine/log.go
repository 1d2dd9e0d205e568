package engine

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// Entry is one log entry: a change of state of a partition. Sequences count from 1 in each epoch, without gaps.
type Entry struct {
	Sequence uint64
	TimeMs   int64 // by the clock of Redis
	Counted  int64 // running count of orders over all epochs, with those of this entry, as it says itself; 0 = it does not
	Orders   []LoggedOrder
	Change   *TakenChange // of a product, where the entry is one
}

// LoggedOrder is an order as an entry has it after the change.
type LoggedOrder struct {
	Order  Order
	Record string // as the entry has it; "" = the entry has no record of this order, for it was sold at once
	Err    error  // why the record can't be read; then only the ID of Order is set, if that
}

// Text returns the order's record, also where the entry has none.
func (l *LoggedOrder) Text() string {
	if l.Record == "" && l.Err == nil {
		return l.Order.Record()
	}
	return l.Record
}

// TakenChange says that Redis took a change of a product.
type TakenChange struct {
	Product string
	Number  int64
	Applied int64  // units added to current and initial, negative for less
	Refused bool   // too little was left: nothing but the number was taken
	Record  string // the entry's own words
	Err     error  // why the entry can't be read; then only Record is to be relied on
}

// ReadLog returns up to maxEntries entries after a sequence, in order, and waits up to block where there are none
// yet, 0 = not at all. The read is not broken off when ctx ends: that would cost the connection.
func (l *Link) ReadLog(ctx context.Context, keys Keys, after uint64, maxEntries int64, block time.Duration) ([]Entry, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), block+l.reply)
	defer cancel()
	from := formatUint(after) + "-0"
	read := l.client.B().Xread().Count(maxEntries).Streams().Key(keys.Log).Id(from).Build()
	if block > 0 { // BLOCK 0 would wait for ever
		read = l.client.B().Xread().Count(maxEntries).Block(block.Milliseconds()).Streams().Key(keys.Log).Id(from).Build()
	}
	streams, err := l.client.Do(ctx, read).AsMap()
	if rueidis.IsRedisNil(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read log after %d: %w", after, err)
	}
	log := streams[keys.Log]
	messages, err := log.ToArray()
	if err != nil {
		return nil, fmt.Errorf("read log after %d: %w", after, err)
	}
	entries := make([]Entry, len(messages))
	for i := range messages {
		if entries[i], err = parseEntry(&messages[i]); err != nil {
			return nil, fmt.Errorf("read log after %d: %w", after, err)
		}
	}
	return entries, nil
}

// entryHead counts the fields before the pairs of an entry: its kind and its time.
const entryHead = 2

func parseEntry(message *rueidis.RedisMessage) (Entry, error) {
	pair, err := message.ToArray()
	if err != nil || len(pair) != 2 {
		return Entry{}, fmt.Errorf("entry is no pair: %w", err)
	}
	id, err := pair[0].ToString()
	if err != nil {
		return Entry{}, fmt.Errorf("entry id: %w", err)
	}
	sequence, _, _ := strings.Cut(id, "-")
	var entry Entry
	if entry.Sequence, err = strconv.ParseUint(sequence, 10, 64); err != nil {
		return Entry{}, fmt.Errorf("entry id %q: %w", id, err)
	}
	fields, err := pair[1].AsStrSlice()
	if err != nil {
		return Entry{}, fmt.Errorf("entry %s: %w", id, err)
	}
	if err := entry.parseFields(fields); err != nil {
		poison := LoggedOrder{Record: fmt.Sprintf("%q", fields), Err: fmt.Errorf("entry %s: %w", id, err)}
		poison.Order.Sequence = entry.Sequence
		entry.Orders = []LoggedOrder{poison}
	}
	return entry, nil
}

// parseFields reads what an entry says. An entry that nobody can read stops only itself.
func (entry *Entry) parseFields(fields []string) error {
	if len(fields) < entryHead+2 || len(fields)%2 != 0 {
		return fmt.Errorf("%d fields", len(fields))
	}
	if err := parseCount(fields[1], &entry.TimeMs); err != nil {
		return fmt.Errorf("time: %w", err)
	}
	switch fields[0] {
	case "orders":
		entry.Orders = parseLoggedOrders(fields[entryHead:], entry.Sequence)
		entry.Counted = countedBy(entry.Orders)
	case kindAccepted:
		return entry.parseAccepted(fields[entryHead:])
	case kindReserved:
		return entry.parseReserved(fields[entryHead:])
	case "change":
		if len(fields) != entryHead+2 {
			return fmt.Errorf("%d fields of a change", len(fields))
		}
		entry.Change = parseTakenChange(fields[entryHead], fields[entryHead+1])
	default:
		return fmt.Errorf("unknown kind %q", fields[0])
	}
	return nil
}

func parseLoggedOrders(fields []string, sequence uint64) []LoggedOrder {
	orders := make([]LoggedOrder, 0, len(fields)/2)
	for i := 0; i < len(fields); i += 2 {
		logged := LoggedOrder{Record: fields[i+1]}
		var id OrderID
		if len(fields[i]) != len(id) {
			logged.Err = fmt.Errorf("order id %q has not %d bytes", fields[i], len(id))
		} else {
			copy(id[:], fields[i])
			logged.Order, logged.Err = ParseRecord(id, logged.Record)
		}
		if logged.Err != nil {
			logged.Order = Order{ID: id}
		}
		logged.Order.Sequence, logged.Order.Index = sequence, i/2
		orders = append(orders, logged)
	}
	return orders
}

// countedBy returns the running count of orders with the last of an entry, by the last record that can be read; 0 = none can.
func countedBy(orders []LoggedOrder) int64 {
	for i := len(orders) - 1; i >= 0; i-- {
		if o := &orders[i]; o.Err == nil && o.Order.Number > 0 {
			return countedFrom(o.Order.Number, orders[i+1:])
		}
	}
	return 0
}

// countedFrom returns the running count after some orders; 0 = no log comes that far.
func countedFrom(before int64, orders []LoggedOrder) int64 {
	if before > maxExact {
		return 0
	}
	return before + int64(len(orders))
}

// maxExact is how far Lua counts without rounding: no script writes a larger number, and sums of two can't overflow.
const maxExact = 1 << 53

// parseTakenChange reads number,applied,status as change.lua writes it.
func parseTakenChange(product, value string) *TakenChange {
	taken := &TakenChange{Product: product, Record: value}
	if !ValidProductID(product) {
		taken.Err = fmt.Errorf("change of %q, which is no product id", product)
		return taken
	}
	f := strings.Split(value, ",")
	if len(f) != 3 {
		taken.Err = fmt.Errorf("change %q has not 3 fields", value)
		return taken
	}
	if taken.Err = parseCount(f[0], &taken.Number); taken.Err != nil {
		return taken
	}
	if taken.Applied, taken.Err = strconv.ParseInt(f[1], 10, 64); taken.Err != nil {
		return taken
	}
	if taken.Applied > maxExact || taken.Applied < -maxExact || taken.Number < 1 {
		taken.Err = fmt.Errorf("change %q has a number or an amount that none can have", value)
		return taken
	}
	taken.Refused = f[2] == "REFUSED"
	if !taken.Refused && f[2] != "APPLIED" {
		taken.Err = fmt.Errorf("change %q has an unknown status", value)
	}
	return taken
}

// Trim has Redis forget what is in the ledger and older than grace, at most maxEntries entries. It returns how many log
// entries went.
func (e *Engine) Trim(ctx context.Context, partition int, grace time.Duration, maxEntries int) (int64, error) {
	p := e.partitions[partition]
	v := p.view.Load()
	drained := p.watermarkIn(v.Number)
	if v.guard != GuardOK || drained == 0 {
		return 0, nil
	}
	fields, err := trimScript.run(ctx, e.client, []string{v.keys.Meta, v.keys.Orders, v.keys.Log},
		[]string{v.Replid, formatUint(drained), strconv.FormatInt(grace.Milliseconds(), 10), strconv.Itoa(maxEntries)})
	if err != nil {
		return 0, err
	}
	r := replyReader{fields: fields}
	if guard := Guard(r.text()); r.err == nil && guard != GuardOK {
		p.hear(v, guard)
		return 0, nil
	}
	r.number()
	entries := r.number()
	return entries, r.err
}
