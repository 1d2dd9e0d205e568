package engine

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// invocation is a script with what it is called with.
type invocation struct {
	script *script
	keys   []string
	args   []string
}

func (c invocation) run(n *node) ([]rueidis.RedisMessage, error) {
	return c.script.run(context.Background(), n.client, c.keys, c.args)
}

// calls are one call of each script that would write, or read, something of a namespace in use.
func (n *node) calls(k Keys) map[string]invocation {
	far := text(time.Now().Add(time.Hour).UnixMilli())
	id := string(make([]byte, 16))
	return map[string]invocation{
		"reserve": {&reserveScript, n.reserveKeys(k), []string{n.replid, "0", far, "0", "10", "1", "1", id, runsText(testRun{1, 1, 1}), "a", "1", "600000", strings.Repeat("f", 16), "1;600000", "key", "a|v"}},
		"settle":  {&settleScript, n.bookKeys(k), []string{n.replid, "0", far, "60000", "3", "1800000", strings.Repeat("i", 16), "x", "0", "", ""}},
		"expire":  {&expireScript, n.bookKeys(k), []string{n.replid, "0", far, "10", "60000"}},
		"change":  {&changeScript, []string{k.Meta, k.Stock, k.Terms, k.Log}, []string{n.replid, "0", far, "a", "2", "add", "5", "0,1,0,0,0"}},
		"trim":    {&trimScript, []string{k.Meta, k.Orders, k.Log}, []string{n.replid, "2", "0", "10"}},
		"check":   {&checkScript, []string{k.Meta}, []string{n.replid, "0"}},
		"audit": {
			&auditScript,
			[]string{k.Meta, k.Stock, k.Terms, k.Buyers, k.Orders, k.Expiry, k.Log},
			[]string{n.replid, "0", "1", "1", "a", "a|u", strings.Repeat("i", 10) + "llllll"},
		},
		"close": {&closeScript, []string{k.Meta}, []string{"1"}},
		"open":  {&openScript, []string{k.Meta}, []string{"2", n.replid, "0"}},
		"load":  {&loadScript, []string{k.Meta, k.Buyers}, []string{"1", n.replid, "hash", "field", "value"}},
		"seal":  {&sealScript, []string{k.Meta}, []string{"1", n.replid, "1", "0", "0", "60000"}},
	}
}

// testRun is a run of orders: the place of its product, the quantity, and how many they are.
type testRun struct {
	product  int
	quantity int64
	orders   int
}

// runsText is how reserve.lua takes runs.
func runsText(runs ...testRun) string {
	var b []byte
	for _, r := range runs {
		b = append(b, byte(r.product>>8), byte(r.product),
			byte(r.quantity>>16), byte(r.quantity>>8), byte(r.quantity), byte(r.orders>>8), byte(r.orders))
	}
	return string(b)
}

// stocked is a namespace with a product and an order, so that every key exists.
func stocked(t testing.TB, n *node) Keys {
	t.Helper()
	n.product(t, "a", 10, onSale)
	k := n.keys(0)
	far := text(time.Now().Add(time.Hour).UnixMilli())
	fields, err := invocation{&reserveScript, n.reserveKeys(k), []string{
		n.replid, "0", far, "0", "10", "1", "3", strings.Repeat("i", 16) + "jjjjjjkkkkkkllllll", runsText(testRun{1, 1, 4}), "a",
		"1", "1", "", "", "", // due at once
		"2", "600000", "even", "1;600000", "key one",
		"3", "0", "odd", "1;0", "key two",
		"a|u", "a|w", "a|x", "a|y", // the last is sold at once
	}}.run(n)
	require.NoError(t, err)
	require.Equal(t, "AAAA", flatten(t, fields)[5])
	for _, hash := range []string{k.Even, k.Odd} { // the keys of an earlier generation
		n.do(t, "HSET", hash, "field", strings.Repeat("h", 16)+"1,1;0")
	}
	for _, key := range k.All() {
		require.Len(t, scanKeys(t, n.client, key), 1, "%s must be there", key)
	}
	return k
}

// Promise 4: a key of the wrong type makes a script fail before it has written anything.
func TestWrongTypeLeavesNoTrace(t *testing.T) {
	client := connectTo(t, devtest.SharedRedis(t))
	for name := range (&node{}).calls(Keys{}) {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, client, Config{Prefix: "wrongtype-" + name})
			k := stocked(t, n)
			c := n.calls(k)[name]
			for _, key := range c.keys {
				if name == "load" { // it writes only where nobody sells yet
					n.do(t, "HSET", k.Meta, "state", "loading")
					n.do(t, "HDEL", k.Meta, "chunks")
				}
				t.Run(key[strings.LastIndexByte(key, ':')+1:], func(t *testing.T) {
					n.do(t, "RENAME", key, key+"-kept")
					n.do(t, "SET", key, "of the wrong type")
					before := dumpKeys(t, client, "wrongtype-"+name+":*")
					_, err := c.run(n)
					require.True(t, strings.HasPrefix(redisErrorOf(err), "WRONGTYPE"), "%s must answer WRONGTYPE, not %v", name, err)
					require.True(t, maybeExecuted(err), "WRONGTYPE alone does not say that nothing was written")
					require.Equal(t, before, dumpKeys(t, client, "wrongtype-"+name+":*"), "%s must write nothing", name)
					n.do(t, "RENAME", key+"-kept", key)
				})
			}
		})
	}
}

// Promise 4: so does a log whose ids have gone past the sequence.
func TestRefusedAppendLeavesNoTrace(t *testing.T) {
	client := connectTo(t, devtest.SharedRedis(t))
	n := newNode(t, client, Config{Prefix: "append"})
	k := stocked(t, n)
	n.do(t, "XADD", k.Log, "9-0", "someone", "else")
	before := dumpKeys(t, client, "append:*")
	for _, name := range []string{"reserve", "settle", "expire", "change"} {
		_, err := n.calls(k)[name].run(n)
		require.ErrorContains(t, err, "equal or smaller", "%s with a log that is ahead", name)
		require.Equal(t, before, dumpKeys(t, client, "append:*"), "%s must write nothing", name)
	}
}

// Promise 4 and 23: a server without memory refuses what sells and lets through what frees memory or brings it in line.
func TestOutOfMemory(t *testing.T) {
	client := connectTo(t, devtest.Redis(t, "appendonly no").URL())
	n := newNode(t, client, Config{})
	k := stocked(t, n)
	before := dumpKeys(t, client, "*")
	n.do(t, "CONFIG", "SET", "maxmemory", "1")
	calls := n.calls(k)
	for _, name := range []string{"reserve", "settle", "expire", "change", "load", "seal"} {
		_, err := calls[name].run(n)
		require.True(t, strings.HasPrefix(redisErrorOf(err), "OOM"), "%s must answer OOM, not %v", name, err)
		require.False(t, maybeExecuted(err), "OOM is a definite no")
		require.Equal(t, before, dumpKeys(t, client, "*"), "%s must write nothing", name)
	}
	for _, step := range []struct{ name, want string }{{"check", "OK"}, {"trim", "OK"}, {"close", "CLOSED"}} {
		fields, err := calls[step.name].run(n)
		require.NoError(t, err, "%s must work without memory", step.name)
		require.Equal(t, step.want, flatten(t, fields)[0], "%s without memory", step.name)
	}
	kept := dumpKeys(t, client, k.Orders)[k.Orders].(map[string]string) //nolint:forcetypeassert // a hash
	require.Len(t, kept, 2, "trim must have freed the record and the token of what was sold, and kept the holds")
	require.Equal(t, kept, n.fieldsOfOrders(t), "no token is left in meta")
	require.NoError(t, n.Open(t.Context(), k, 2, n.replid, 1), "open must work without memory")
}

func TestTrim(t *testing.T) {
	client := connectTo(t, devtest.SharedRedis(t))
	n := newNode(t, client, Config{Prefix: "trim"})
	k := n.keys(0)
	add := func(sequence int, pairs ...string) {
		n.do(t, append([]string{"XADD", k.Log, strconv.Itoa(sequence) + "-0"}, pairs...)...)
		n.do(t, "HSET", k.Meta, "sequence", strconv.Itoa(sequence))
	}
	record := func(id, value string) { n.do(t, "HSET", k.Orders, id, value) }
	left := func() map[string]string {
		records, err := client.Do(t.Context(), client.B().Hgetall().Key(k.Orders).Build()).AsStrMap()
		require.NoError(t, err)
		return records
	}
	trim := func(watermark, maxEntries string) []string {
		fields, err := invocation{&trimScript, []string{k.Meta, k.Orders, k.Log}, []string{n.replid, watermark, "0", maxEntries}}.run(n)
		require.NoError(t, err)
		return flatten(t, fields)[2:]
	}
	add(1, "orders", "1", "hold", "p,1", "done", "c,1", "later", "c,1")
	add(2, "orders", "2", "later", "x,2")
	add(3, "nobody", "knows")
	add(4, "orders", "not a time", "odd", "c,1")
	add(5, "orders", "5")
	add(6, "orders", "6", "last", "c,1")
	for id, value := range map[string]string{"hold": "p,1", "done": "c,1", "later": "x,2", "odd": "c,1", "last": "c,1"} {
		record(id, value)
	}
	require.Equal(t, []string{"1", "1"}, trim("1", "10"), "entries and records removed at watermark 1")
	require.Equal(t, map[string]string{"hold": "p,1", "later": "x,2", "odd": "c,1", "last": "c,1"}, left(),
		"a hold and an order whose last change comes later must stay")
	require.Equal(t, []string{"1", "1"}, trim("6", "1"), "no more entries than asked for")
	require.Equal(t, []string{"3", "1"}, trim("5", "10"), "entries that nobody can read must not hold up the others")
	require.Equal(t, []string{"1", "1"}, trim("6", "10"))
	require.Equal(t, map[string]string{"hold": "p,1"}, left())
	require.Equal(t, []string{"0", "0"}, trim("6", "10"), "nothing is left to trim")

	const batches = 10 // of records that one HDEL could not take
	for b := range batches {
		many := []string{"orders", "7"}
		for i := range maxBatchSize {
			many = append(many, fmt.Sprintf("%d-%d", b, i), "c")
		}
		add(7+b, many...)
		n.do(t, append([]string{"HSET", k.Orders}, many[2:]...)...)
	}
	require.Equal(t, []string{"10", strconv.Itoa(batches * maxBatchSize)}, trim("16", "10"))
	require.Equal(t, map[string]string{"hold": "p,1"}, left())
}

func TestTrimWaitsForTheGrace(t *testing.T) {
	n := newNode(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "grace"})
	k := n.keys(0)
	const now = 4_000_000_000_000 // in the future, so that the clock stands
	n.do(t, "HSET", k.Meta, "time", text(now), "sequence", "1")
	n.do(t, "XADD", k.Log, "1-0", "orders", text(now-100), "id", "c,1")
	for _, test := range []struct{ grace, want string }{{"101", "0"}, {"100", "1"}} {
		fields, err := invocation{&trimScript, []string{k.Meta, k.Orders, k.Log}, []string{n.replid, "1", test.grace, "10"}}.run(n)
		require.NoError(t, err)
		require.Equal(t, []string{"OK", text(now), test.want, "0"}, flatten(t, fields), "an entry of 100 ms with a grace of %s ms", test.grace)
	}
}

// A server that came back with half a rebuild does not hold the epoch, whatever the ledger says.
func TestUnfinishedRebuildIsMissing(t *testing.T) {
	client := connectTo(t, devtest.SharedRedis(t))
	n := newNode(t, client, Config{Prefix: "unfinished"})
	epoch := Epoch{Number: 2, Namespace: NewNamespace(2), Replid: n.replid}
	k, err := n.EpochKeys(0, epoch)
	require.NoError(t, err)
	t.Cleanup(func() { n.drop(t, k) })
	require.NoError(t, n.Load(t.Context(), k, k.Stock, 1, n.replid, []string{"a", "5,0,0,5,1"}))
	before := dumpKeys(t, client, "unfinished:*")
	require.NoError(t, n.Install(0, epoch))
	guard, err := n.Check(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, GuardMissing, guard)
	_, found, err := n.Shut(t.Context(), k, 1)
	require.NoError(t, err)
	require.False(t, found, "half a rebuild must not be shut as if it were whole")
	require.Equal(t, before, dumpKeys(t, client, "unfinished:*"))
}

func TestRebuildScripts(t *testing.T) {
	client := connectTo(t, devtest.SharedRedis(t))
	n := newNode(t, client, Config{Prefix: "rebuild"})
	ctx := t.Context()
	k, err := n.EpochKeys(0, Epoch{Namespace: NewNamespace(2)})
	require.NoError(t, err)
	t.Cleanup(func() { n.drop(t, k) })
	refused := func(code string, err error) {
		t.Helper()
		require.ErrorIs(t, err, errScriptRefused)
		require.ErrorContains(t, err, strconv.Quote(code))
	}
	contents := func() dump { return dumpKeys(t, client, strings.TrimSuffix(k.Meta, "meta")+"*") }

	refused("ORDER", n.Seal(ctx, k, 1, n.replid, 2, 7, 5))
	refused("ORDER", n.Load(ctx, k, k.Stock, 2, n.replid, nil))
	refused("FENCED", n.Load(ctx, k, k.Stock, 1, stranger, nil))
	require.Empty(t, contents(), "a refusal must write nothing")

	_, err = invocation{&loadScript, []string{k.Meta, k.Stock}, []string{"1", n.replid, "hash", "field without value"}}.run(n)
	require.Error(t, err, "half a pair")
	require.Empty(t, contents(), "a chunk that can't be written must not be counted")

	require.NoError(t, n.Load(ctx, k, k.Stock, 1, n.replid, []string{"a", "5,0,0,5,1"}))
	refused("ORDER", n.Load(ctx, k, k.Stock, 1, n.replid, []string{"a", "6,0,0,6,1"}))
	require.NoError(t, n.Load(ctx, k, k.Terms, 2, n.replid, []string{"a", "0,1,0,0,0"}))
	require.NoError(t, n.Load(ctx, k, k.Expiry, 3, n.replid, []string{"1700000000000", "a hold"}))
	before := contents()
	refused("ORDER", n.Seal(ctx, k, 2, n.replid, 2, 7, 5))
	refused("FENCED", n.Seal(ctx, k, 3, stranger, 2, 7, 5))
	require.Equal(t, before, contents(), "a refusal must write nothing")
	require.NoError(t, n.Seal(ctx, k, 3, n.replid, 2, 7, 5))
	require.Equal(t, dump{
		k.Stock: map[string]string{"a": "5,0,0,5,1"},
		k.Terms: map[string]string{"a": "0,1,0,0,0"}, k.Expiry: map[string]string{"a hold": "1700000000000"},
		k.Meta: map[string]string{
			"state": "open", "replid": n.replid, "epoch": "2", "orders": "7", "sequence": "0", "time": "0", "idem": "5", "keyMs": "86400000",
		},
	}, contents())
	refused("ORDER", n.Seal(ctx, k, 3, n.replid, 2, 7, 5))
	refused("SEALED", n.Load(ctx, k, k.Stock, 4, n.replid, []string{"a", "9,0,0,9,1"}))
	refused("SEALED", n.Load(ctx, k, k.Stock, 1, n.replid, []string{"a", "9,0,0,9,1"}))
}
