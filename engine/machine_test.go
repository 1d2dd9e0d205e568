package engine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"flashsale/internal/devstack/devtest"
)

// machine drives the scripts in a namespace of its own and holds every reply and every key against a model.
type machine struct {
	n      *node
	link   *Link
	keys   Keys
	model  *model
	saved  map[string]string // product -> counters before they were spoilt
	minted int               // order ids used
	ledger ledger
}

// ledger is what somebody knows who reads only the log.
type ledger struct {
	last     uint64
	products map[string]*Stock
}

// TestScriptsFollowTheModel is promises 1, 2, 4 and 19: a failure prints what was drawn and the seed to repeat it with
// (-rapid.seed, -rapid.checks, -rapid.steps).
func TestScriptsFollowTheModel(t *testing.T) {
	client := connectTo(t, devtest.Redis(t, "appendonly no").URL())
	n := newNode(t, client, Config{Prefix: "model"})
	link, err := n.Connect(t.Context(), 0)
	require.NoError(t, err)
	defer link.Close()
	n.drop(t, n.keys(0))
	rapid.Check(t, func(t *rapid.T) {
		mc := &machine{n: n, link: link, keys: n.open(t, 0), model: newModel(n.replid), saved: map[string]string{}}
		mc.ledger.products = map[string]*Stock{}
		defer n.drop(t, mc.keys)
		mc.create(t, "a", 20)
		mc.create(t, "b", 3)
		t.Repeat(map[string]func(*rapid.T){
			"": mc.check,
			// The commonest three times each: a step is picked evenly.
			"reserve": mc.reserve, "reserve again": mc.reserve, "reserve more": mc.reserve,
			"change": mc.change, "change again": mc.change, "trim": mc.trim, "trim again": mc.trim,
			"open": mc.open, "open again": mc.open, "close": mc.close, "fence": mc.fence, "ask": mc.ask,
			"spoil": mc.spoil, "repair": mc.repair, "clock set back": mc.clockSetBack, "elsewhere": mc.elsewhere,
		})
	})
}

// run calls a script, and holds its clock against the server's: nowMs is the time, or the latest that meta knows.
func (mc *machine) run(t *rapid.T, s *script, keys, args []string) (code string, nowMs int64, rest []string) {
	before := mc.now(t)
	fields, err := s.run(context.Background(), mc.n.client, keys, args)
	require.NoError(t, err, "%s %q", s.name, args)
	after := mc.now(t)
	reply := flatten(t, fields)
	require.GreaterOrEqual(t, len(reply), 2, "%s: reply %q", s.name, reply)
	nowMs = number(reply[1])
	require.GreaterOrEqual(t, nowMs, max(before, mc.model.time), "%s: clock of the reply", s.name)
	require.LessOrEqual(t, nowMs, max(after, mc.model.time), "%s: clock of the reply", s.name)
	return reply[0], nowMs, reply[2:]
}

// now is the server's time in ms.
func (mc *machine) now(t tester) int64 {
	parts, err := mc.n.client.Do(context.Background(), mc.n.client.B().Time().Build()).AsStrSlice()
	require.NoError(t, err)
	return number(parts[0])*1000 + number(parts[1])/1000
}

// require holds a reply against what the model predicts, which is asked only where the guard lets the script through.
func (mc *machine) require(t *rapid.T, guard, code string, reply []string, predict func() []string) {
	require.Equal(t, guard, code, "code")
	if guard != "OK" {
		require.Empty(t, reply, "a refusal says no more than the time")
		return
	}
	require.Equal(t, predict(), reply, "reply")
}

// head draws a watermark and a deadline, mostly such that the script is let through.
func (mc *machine) head(t *rapid.T) (watermark, deadlineMs int64) {
	mc.model.caller = mc.model.server
	shut := mc.model.guard(0, 0, noDeadline) != "OK"
	if shut && rapid.SampledFrom([]bool{true, true, true, false}).Draw(t, "open first") {
		mc.closeAs(t, mc.model.attempt+1)
		mc.openAs(t, mc.model.seq, mc.model.server, mc.model.attempt)
	}
	if rapid.IntRange(0, 9).Draw(t, "caller with another history if 9") == 9 {
		mc.model.caller = stranger
	}
	ahead := rapid.SampledFrom([]int64{0, 0, 0, 0, 0, -1, -3, 1}).Draw(t, "watermark - sequence")
	left := rapid.SampledFrom([]int64{5000, 5000, 5000, 5000, 5000, 0, 1, -1}).Draw(t, "ms to the deadline")
	return max(0, mc.model.seq+ahead), max(mc.now(t), mc.model.time) + left
}

// Three products that may exist and one that never does; ids with every byte that could be taken for a separator.
var modelProducts = []string{"a", "b", "c", "a", "b", "a", "ghost"}

func modelID(i int) string { return fmt.Sprintf("id,|\x00\n\xff%%s{p}%04d", i) }

// quantities are texts with what they mean, 0 for those to be refused.
var quantities = []struct {
	text  string
	units int64
}{
	{"1", 1},
	{"2", 2},
	{"1", 1},
	{"3", 3},
	{"1", 1},
	{"2", 2},
	{"1", 1},
	{"1", 1},
	{"1", 1},
	{"1", 1},
	{"1", 1},
	{"2", 2},
	{"5", 5},
	{"7.0", 7},
	{" 2", 2},
	{"0x3", 3},
	{"1e1", 10},
	{"1000000", 1_000_000},
	{"0", 0},
	{"-1", 0},
	{"-5", 0},
	{"1.5", 0},
	{"0.5", 0},
	{"1000001", 0},
	{"9007199254740993", 0},
	{"1e400", 0},
	{"nan", 0},
	{"-inf", 0},
	{"inf", 0},
	{"", 0},
	{"two", 0},
	{"1,2", 0},
	{"1 2", 0},
	{"-0", 0},
}

func (mc *machine) orders(t *rapid.T) []modelOrder {
	orders := make([]modelOrder, rapid.IntRange(1, 20).Draw(t, "batch"))
	for i := range orders {
		id := mc.minted
		if id > 0 && rapid.SampledFrom([]bool{false, false, false, true}).Draw(t, "id again") {
			id -= rapid.IntRange(1, min(id, 30)).Draw(t, "ids ago")
		} else {
			mc.minted++
		}
		quantity := rapid.SampledFrom(quantities).Draw(t, "quantity")
		orders[i] = modelOrder{
			id:       modelID(id),
			product:  rapid.SampledFrom(modelProducts).Draw(t, "product"),
			user:     rapid.SampledFrom([]string{"u", "v", "w@x:y+z"}).Draw(t, "user"),
			quantity: quantity.text, units: quantity.units,
		}
	}
	return orders
}

func (mc *machine) reserve(t *rapid.T) {
	watermark, deadlineMs := mc.head(t)
	lockMs := rapid.SampledFrom([]int64{0, 60_000, 0, 2, 60_000}).Draw(t, "lockMs")
	orders := mc.orders(t)
	var products, tail []string
	for _, o := range orders {
		if !slices.Contains(products, o.product) {
			products = append(products, o.product)
		}
		place := strconv.Itoa(1 + slices.Index(products, o.product))
		tail = append(tail, o.id, place, o.product+"|"+o.user, o.quantity)
	}
	args := slices.Concat([]string{
		mc.model.caller, text(watermark), text(deadlineMs), text(lockMs), strconv.Itoa(MaxQuantity),
		"60000", strconv.Itoa(len(products)), "0",
	}, products, tail)
	code, nowMs, reply := mc.run(t, &reserveScript, mc.n.reserveKeys(mc.keys), args)
	mc.require(t, mc.model.guard(nowMs, watermark, deadlineMs), code, reply, func() []string {
		return mc.model.reserve(nowMs, lockMs, products, orders)
	})
}

// reserveKeys are the keys of reserve.lua as a view has them.
func (n *node) reserveKeys(k Keys) []string {
	return append(n.bookKeys(k), k.Even, k.Odd)
}

// bookKeys are the keys of settle.lua and expire.lua.
func (n *node) bookKeys(k Keys) []string {
	return []string{k.Meta, k.Stock, k.Terms, k.Buyers, k.Orders, k.Log, k.Expiry}
}

func (mc *machine) create(t *rapid.T, product string, units int64) {
	mc.changeTo(t, product, 1, "add", units, "0,1,0,0,0", 0, noDeadline)
}

func (mc *machine) change(t *rapid.T) {
	watermark, deadlineMs := mc.head(t)
	product := rapid.SampledFrom(modelProducts[:3]).Draw(t, "product")
	counters, _ := modelCounters(mc.model.stock[product])
	seq := counters[4] + rapid.SampledFrom([]int64{1, 1, 1, 1, 1, 0, -1, 2}).Draw(t, "number - last number")
	kind := rapid.SampledFrom([]string{"add", "add", "lower"}).Draw(t, "kind")
	amounts := []int64{0, 1, 5, 5, 10, 20, 30, MaxStock}
	if kind == "add" {
		amounts = append(amounts, -1, -5, -20, -MaxStock)
	}
	amount := rapid.SampledFrom(amounts).Draw(t, "amount")
	limit := rapid.SampledFrom([]int64{0, 0, 1, 3, 5}).Draw(t, "limit")
	active := rapid.SampledFrom([]string{"1", "1", "1", "1", "0"}).Draw(t, "active")
	instant := func(name string) int64 {
		offset := rapid.SampledFrom([]int64{0, 0, 0, 0, -1000, -1, 1, 3, 60_000}).Draw(t, name+" - now, 0 = none")
		if offset == 0 {
			return 0
		}
		return max(mc.now(t), mc.model.time) + offset
	}
	terms := text(limit) + "," + active + "," + text(instant("startsMs")) + "," + text(instant("endsMs")) + ",0"
	mc.changeTo(t, product, seq, kind, amount, terms, watermark, deadlineMs)
}

func (mc *machine) changeTo(t *rapid.T, product string, seq int64, kind string, amount int64, terms string, watermark, deadlineMs int64) {
	keys := []string{mc.keys.Meta, mc.keys.Stock, mc.keys.Terms, mc.keys.Log}
	args := []string{mc.model.caller, text(watermark), text(deadlineMs), product, text(seq), kind, text(amount), terms}
	code, nowMs, reply := mc.run(t, &changeScript, keys, args)
	mc.require(t, mc.model.guard(nowMs, watermark, deadlineMs), code, reply, func() []string {
		return mc.model.change(nowMs, product, seq, kind, amount, terms)
	})
}

func (mc *machine) trim(t *rapid.T) {
	watermark, _ := mc.head(t)
	graceMs := rapid.SampledFrom([]int64{0, 0, 1, 4, 1_000_000}).Draw(t, "graceMs")
	maxEntries := rapid.IntRange(1, 5).Draw(t, "maxEntries")
	args := []string{mc.model.caller, text(watermark), text(graceMs), strconv.Itoa(maxEntries)}
	code, nowMs, reply := mc.run(t, &trimScript, []string{mc.keys.Meta, mc.keys.Orders, mc.keys.Log}, args)
	mc.require(t, mc.model.guard(nowMs, watermark, noDeadline), code, reply, func() []string {
		return mc.model.trim(nowMs, watermark, graceMs, maxEntries)
	})
}

// ask calls check.lua.
func (mc *machine) ask(t *rapid.T) {
	watermark, _ := mc.head(t)
	code, nowMs, reply := mc.run(t, &checkScript, []string{mc.keys.Meta}, []string{mc.model.caller, text(watermark)})
	mc.require(t, mc.model.guard(nowMs, watermark, noDeadline), code, reply, func() []string {
		return []string{text(mc.model.seq), text(mc.model.orders)}
	})
}

func (mc *machine) close(t *rapid.T) {
	mc.closeAs(t, mc.model.attempt+rapid.SampledFrom([]int64{1, 1, 1, 0, -1}).Draw(t, "attempt - last attempt"))
}

func (mc *machine) closeAs(t *rapid.T, attempt int64) {
	attempt = max(1, attempt)
	fields, err := closeScript.run(context.Background(), mc.n.client, []string{mc.keys.Meta}, []string{text(attempt)})
	require.NoError(t, err)
	require.Equal(t, mc.model.close(attempt), flatten(t, fields))
}

func (mc *machine) open(t *rapid.T) {
	seq := mc.model.seq + rapid.SampledFrom([]int64{0, 0, 0, 0, 1, -1}).Draw(t, "sequence of the ledger - sequence")
	replid := rapid.SampledFrom([]string{mc.model.server, mc.model.server, mc.model.server, stranger}).Draw(t, "replid")
	mc.openAs(t, seq, replid, mc.model.attempt+rapid.SampledFrom([]int64{0, 0, 0, 1, -1}).Draw(t, "attempt - last attempt"))
}

func (mc *machine) openAs(t *rapid.T, seq int64, replid string, attempt int64) {
	args := []string{text(seq), replid, text(attempt)}
	fields, err := openScript.run(context.Background(), mc.n.client, []string{mc.keys.Meta}, args)
	require.NoError(t, err)
	require.Equal(t, []string{mc.model.open(seq, replid, attempt)}, flatten(t, fields))
}

// stranger is the replid of no server.
var stranger = strings.Repeat("5", 40)

// fence makes the namespace look as it does on a server that was restarted or promoted.
func (mc *machine) fence(t *rapid.T) {
	mc.n.do(t, "HSET", mc.keys.Meta, "replid", stranger)
	mc.model.replid = stranger
}

// clockSetBack makes meta know a later time than the server's.
func (mc *machine) clockSetBack(t *rapid.T) {
	mc.model.time = mc.now(t) + rapid.SampledFrom([]int64{3, 3, 20, 10_000}).Draw(t, "ms")
	mc.n.do(t, "HSET", mc.keys.Meta, "time", text(mc.model.time))
}

// spoil makes a product's counters or terms, or a buyer, unreadable.
func (mc *machine) spoil(t *rapid.T) {
	garbage := rapid.SampledFrom([]string{"", "x", "1,2,3", "-1,0,0,0,1", "1.5,0,0,1,1", "1,0,0,1,1,", " 1,0,0,1,1", "1,1,0,0\n", "2,1,0,first"}).Draw(t, "garbage")
	product := rapid.SampledFrom(modelProducts[:3]).Draw(t, "product")
	switch rapid.SampledFrom([]string{"stock", "terms", "no terms", "buyer"}).Draw(t, "what") {
	case "stock":
		value, known := mc.model.stock[product]
		if !known {
			return
		}
		if _, ok := modelCounters(value); ok {
			mc.saved[product] = value
		}
		mc.put(t, mc.keys.Stock, mc.model.stock, product, garbage)
	case "terms":
		mc.put(t, mc.keys.Terms, mc.model.terms, product, garbage)
	case "no terms":
		mc.n.do(t, "HDEL", mc.keys.Terms, product)
		delete(mc.model.terms, product)
	case "buyer":
		mc.put(t, mc.keys.Buyers, mc.model.buyers, product+"|u", garbage)
	}
}

func (mc *machine) put(t *rapid.T, key string, hash map[string]string, field, value string) {
	mc.n.do(t, "HSET", key, field, value)
	hash[field] = value
}

// repair puts back what spoil took, the buyers aside.
func (mc *machine) repair(t *rapid.T) {
	for product, value := range mc.saved {
		mc.put(t, mc.keys.Stock, mc.model.stock, product, value)
	}
	clear(mc.saved)
	for product := range mc.model.stock {
		if !termsPattern.MatchString(mc.model.terms[product]) {
			mc.put(t, mc.keys.Terms, mc.model.terms, product, "4,1,0,0,0")
		}
	}
}

// elsewhere calls every guarded script in a namespace that is not there.
func (mc *machine) elsewhere(t *rapid.T) {
	keys, err := NewKeys("model", 0, NewNamespace(2))
	require.NoError(t, err)
	far := text(mc.now(t) + 5000)
	order := []string{mc.model.server, "0", far, "0", "10", "60000", "1", "0", "a", modelID(99), "1", "a|u", "1"}
	for s, call := range map[*script]struct{ keys, args []string }{
		&reserveScript: {mc.n.reserveKeys(keys), order},
		&changeScript:  {[]string{keys.Meta, keys.Stock, keys.Terms, keys.Log}, []string{mc.model.server, "0", far, "a", "1", "add", "5", "0,1,0,0,0"}},
		&trimScript:    {[]string{keys.Meta, keys.Orders, keys.Log}, []string{mc.model.server, "0", "0", "10"}},
		&checkScript:   {[]string{keys.Meta}, []string{mc.model.server, "0"}},
	} {
		fields, err := s.run(context.Background(), mc.n.client, call.keys, call.args)
		require.NoError(t, err)
		reply := flatten(t, fields)
		require.Len(t, reply, 2, "%s", s.name)
		require.Equal(t, "MISSING", reply[0], "%s where there is no meta", s.name)
	}
	sequence, found, err := mc.n.Shut(context.Background(), keys, 1)
	require.NoError(t, err)
	require.False(t, found, "close.lua where there is no meta")
	require.Zero(t, sequence)
	require.ErrorContains(t, mc.n.Open(context.Background(), keys, 0, mc.model.server, 1), "MISSING")
}

// check runs after every step: all that Redis holds under the prefix is what the model says, the counters add up, and
// the log alone explains them.
func (mc *machine) check(t *rapid.T) {
	require.Equal(t, mc.model.dump(mc.keys), dumpKeys(t, mc.n.client, "model*"), "what Redis holds under the prefix")
	mc.drain(t)
	for product, value := range mc.model.stock {
		if _, spoilt := mc.saved[product]; spoilt {
			continue
		}
		stock, err := ParseStock(value)
		require.NoError(t, err)
		requireSum(t, product, stock)
		require.Equal(t, *mc.ledger.products[product], stock, "%s: the sum of the log's entries and the counters", product)
	}
}

// drain reads what the log has gained, as persist does.
func (mc *machine) drain(t *rapid.T) {
	entries, err := mc.link.ReadLog(context.Background(), mc.keys, mc.ledger.last, 100, 0)
	require.NoError(t, err)
	for _, entry := range entries {
		require.Equal(t, mc.ledger.last+1, entry.Sequence, "the log must have no gap")
		mc.ledger.last = entry.Sequence
		if c := entry.Change; c != nil {
			require.NoError(t, c.Err)
			p := orDefault(mc.ledger.products[c.Product], &Stock{})
			require.Equal(t, p.Change+1, c.Number, "changes of %s in the log", c.Product)
			p.Initial, p.Current, p.Change = p.Initial+c.Applied, p.Current+c.Applied, c.Number
			mc.ledger.products[c.Product] = p
		}
		for i, o := range entry.Orders {
			require.NoError(t, o.Err)
			require.Equal(t, []any{entry.Sequence, i, entry.TimeMs}, []any{o.Order.Sequence, o.Order.Index, o.Order.CreatedAtMs}, "place and time of a logged order")
			p := mc.ledger.products[o.Order.Product]
			p.Current, p.Sold = p.Current-o.Order.Quantity, p.Sold+o.Order.Quantity
		}
	}
	require.Equal(t, mc.model.seq, int64(mc.ledger.last), "the log must reach the sequence of meta")
}
