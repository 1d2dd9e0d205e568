package engine

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"flashsale/internal/devstack/devtest"
)

// machine drives the scripts in a namespace of its own and holds every reply and every key against a model.
type machine struct {
	n       *node
	link    *Link
	keys    Keys
	model   *model
	spoilt  spoilt
	tokens  map[string]string // what spoilt ones stood for
	batches []*machineBatch   // tokens used
	keyMs   int64             // a generation of idempotency keys
	ledger  machineLedger
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
		mc := &machine{n: n, link: link, keys: n.open(t, 0), model: newModel(n.replid), spoilt: spoilt{}, tokens: map[string]string{}, ledger: newMachineLedger()}
		mc.keyMs = rapid.SampledFrom([]int64{50, 10_000, 60_000}).Draw(t, "keyMs")
		n.do(t, "HSET", mc.keys.Meta, "keyMs", text(mc.keyMs)) // as a rebuild would
		mc.model.keyMs = mc.keyMs
		defer n.drop(t, mc.keys)
		if rapid.SampledFrom([]bool{true, true, true, false}).Draw(t, "a clock that only jumps") {
			mc.setClock(t, 4_000_000_000_000) // so that what was drawn once runs the same again
		}
		mc.create(t, "a", 20)
		mc.create(t, "b", 3)
		t.Repeat(map[string]func(*rapid.T){
			"": mc.check,
			// The commonest three or four times each: a step is picked evenly.
			"reserve": mc.reserve, "reserve again": mc.reserve, "reserve more": mc.reserve, "reserve most": mc.reserve,
			"settle": mc.settle, "settle again": mc.settle, "settle more": mc.settle, "settle most": mc.settle,
			"expire": mc.expire, "expire again": mc.expire, "expire more": mc.expire,
			"change": mc.change, "change again": mc.change, "trim": mc.trim, "trim again": mc.trim,
			"open": mc.open, "open again": mc.open, "close": mc.close, "fence": mc.fence, "ask": mc.ask,
			"spoil": mc.spoil, "repair": mc.repair, "repair again": mc.repair, "elsewhere": mc.elsewhere,
			"clock set back": mc.clockSetBack, "clock set back again": mc.clockSetBack,
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
	holdMs := rapid.SampledFrom([]int64{0, 0, 0, 5, 60_000}).Draw(t, "longest hold ms, 0 = any")
	terms := strings.Join([]string{text(limit), active, text(instant("startsMs")), text(instant("endsMs")), text(holdMs)}, ",")
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
		before := mc.model.log
		want := mc.model.trim(nowMs, watermark, graceMs, maxEntries)
		mc.forget(before[:len(before)-len(mc.model.log)])
		return want
	})
}

// ask calls check.lua.
func (mc *machine) ask(t *rapid.T) {
	watermark, _ := mc.head(t)
	code, nowMs, reply := mc.run(t, &checkScript, []string{mc.keys.Meta}, []string{mc.model.caller, text(watermark)})
	mc.require(t, mc.model.guard(nowMs, watermark, noDeadline), code, reply, func() []string {
		return []string{text(mc.model.seq), text(mc.model.orders), "0"}
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

// clockSetBack makes meta know a later time than the server's: to the scripts it is a jump ahead. Holds fall due by it,
// and generations of keys pass.
func (mc *machine) clockSetBack(t *rapid.T) {
	ms := rapid.SampledFrom([]int64{3, 3, 20, 45, 55, 3000, 10_000, 60_000, 150_000}).Draw(t, "ms")
	mc.setClock(t, max(mc.now(t), mc.model.time)+ms)
}

func (mc *machine) setClock(t *rapid.T, ms int64) {
	mc.model.time = ms
	mc.n.do(t, "HSET", mc.keys.Meta, "time", text(ms))
}

// elsewhere calls every guarded script in a namespace that is not there.
func (mc *machine) elsewhere(t *rapid.T) {
	keys, err := NewKeys("model", 0, NewNamespace(2))
	require.NoError(t, err)
	far := text(mc.now(t) + 5000)
	order := []string{mc.model.server, "0", far, "0", "10", "1", "0", modelID(99, 1), runsText(testRun{1, 1, 1}), "a", "a|u"}
	for s, call := range map[*script]struct{ keys, args []string }{
		&reserveScript: {mc.n.reserveKeys(keys), order},
		&settleScript:  {mc.n.bookKeys(keys), []string{mc.model.server, "0", far, "0", "0", "0", modelID(99, 1), "x", "0", "", ""}},
		&expireScript:  {mc.n.bookKeys(keys), []string{mc.model.server, "0", far, "1", "1"}},
		&changeScript:  {[]string{keys.Meta, keys.Stock, keys.Terms, keys.Log}, []string{mc.model.server, "0", far, "a", "1", "add", "5", "0,1,0,0,0"}},
		&trimScript:    {[]string{keys.Meta, keys.Orders, keys.Log}, []string{mc.model.server, "0", "0", "10"}},
		&checkScript:   {[]string{keys.Meta}, []string{mc.model.server, "0"}},
		&auditScript:   {[]string{keys.Meta, keys.Stock, keys.Terms, keys.Buyers, keys.Orders, keys.Expiry, keys.Log}, []string{mc.model.server, "0", "0", "0"}},
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
