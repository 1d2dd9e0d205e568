package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }

// patience is how long a test waits for what must happen by itself.
const patience = 20 * time.Second

// tester is what a test and a rapid check have in common.
type tester interface {
	require.TestingT
	Helper()
}

func connectTo(t testing.TB, url string) rueidis.Client {
	t.Helper()
	client, err := Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

// node is an engine whose partitions are open, each on a namespace of its own.
type node struct {
	*Engine
	client rueidis.Client // past any tap
	replid string
	stop   func() // ends the lanes and waits for them
}

// newNode opens an engine without lanes at work: for tests that drive scripts.
func newNode(t testing.TB, client rueidis.Client, config Config) *node {
	t.Helper()
	if config.Prefix == "" {
		config.Prefix = "test"
	}
	config.Partitions = cmp.Or(config.Partitions, 1)
	e, err := New(client, config)
	require.NoError(t, err)
	n := &node{Engine: e, client: client}
	n.replid = replidOf(t, e)
	for p := range e.Partitions() {
		keys := n.open(t, p)
		t.Cleanup(func() { n.drop(t, keys) })
	}
	return n
}

// startNode opens an engine and has its lanes work until the test ends.
func startNode(t testing.TB, client rueidis.Client, config Config) *node {
	t.Helper()
	n := newNode(t, client, config)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(n.stop)
	return n
}

func replidOf(t testing.TB, e *Engine) string {
	t.Helper()
	link, err := e.Connect(t.Context(), 0)
	require.NoError(t, err)
	defer link.Close()
	replid, err := link.Replid(t.Context())
	require.NoError(t, err)
	require.Len(t, replid, 40)
	return replid
}

// open seals an empty namespace and puts it in force, as a rebuild of an empty ledger does.
func (n *node) open(t tester, partition int) Keys {
	t.Helper()
	ctx := context.Background()
	epoch := Epoch{Number: 1, Namespace: NewNamespace(1), Replid: n.replid}
	keys, err := n.EpochKeys(partition, epoch)
	require.NoError(t, err)
	require.NoError(t, n.Load(ctx, keys, keys.Stock, 1, n.replid, nil))
	require.NoError(t, n.Seal(ctx, keys, 1, n.replid, 1, 0, 0))
	require.NoError(t, n.Install(partition, epoch))
	guard, err := n.Check(ctx, partition)
	require.NoError(t, err)
	require.Equal(t, GuardOK, guard)
	return keys
}

// drop leaves no key behind; a server that the test has ended keeps what it has.
func (n *node) drop(t tester, keys Keys) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if n.Ping(ctx) == nil {
		require.NoError(t, n.Drop(ctx, keys))
	}
}

func (n *node) keys(partition int) Keys { return n.partitions[partition].view.Load().keys }

// product makes a product by its first change.
func (n *node) product(t testing.TB, id string, units int64, terms Terms) {
	t.Helper()
	n.change(t, Change{Product: id, Number: 1, Amount: units, Terms: terms})
}

func (n *node) change(t testing.TB, c Change) Changed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done, err := n.Apply(ctx, c)
	require.NoError(t, err)
	return done
}

func (n *node) order(product, user string, quantity int64) *Reservation {
	r := NewReservation()
	r.Product, r.User, r.Quantity = product, user, quantity
	return r
}

func (n *node) buy(product, user string, quantity int64) (*Reservation, error) {
	r := n.order(product, user, quantity)
	return r, n.Reserve(r, time.Now())
}

func (n *node) stock(t testing.TB, product string) Stock {
	t.Helper()
	stock, found, err := n.Stock(t.Context(), product)
	require.NoError(t, err)
	require.True(t, found, "product %s is not in Redis", product)
	requireSum(t, product, stock)
	return stock
}

// requireSum holds counters against invariant 1.
func requireSum(t tester, product string, s Stock) {
	t.Helper()
	require.Equal(t, s.Initial, s.Current+s.Held+s.Sold, "%s: initial = current + held + sold in %s", product, s)
	require.GreaterOrEqual(t, min(s.Current, s.Held, s.Sold, s.Initial), int64(0), "%s: negative counter in %s", product, s)
}

// do runs one Redis command and fails the test where Redis refuses it.
func (n *node) do(t tester, command ...string) {
	t.Helper()
	require.NoError(t, n.client.Do(context.Background(), n.client.B().Arbitrary(command...).Build()).Error(), "%q", command)
}

var onSale = Terms{Active: true}

// eventually polls until a condition holds, and fails the test if it does not within patience.
func eventually(t tester, what string, holds func() bool) {
	t.Helper()
	devtest.Eventually(t, patience, what, holds)
}

// dump is what Redis holds under a pattern: key -> its type and content.
type dump map[string]any

type streamDump struct {
	Entries []rueidis.XRangeSlice
	LastID  string
}

// dumpKeys reads every key that matches a pattern on a single server.
func dumpKeys(t tester, client rueidis.Client, pattern string) dump {
	t.Helper()
	d := dump{}
	for _, key := range scanKeys(t, client, pattern) {
		d[key] = dumpKey(t, client, key)
	}
	return d
}

func scanKeys(t tester, client rueidis.Client, pattern string) []string {
	t.Helper()
	keys := map[string]bool{}
	for cursor := uint64(0); ; {
		page, err := client.Do(context.Background(), client.B().Scan().Cursor(cursor).Match(pattern).Count(1000).Build()).AsScanEntry()
		require.NoError(t, err)
		for _, key := range page.Elements {
			keys[key] = true
		}
		if cursor = page.Cursor; cursor == 0 {
			return slices.Sorted(maps.Keys(keys))
		}
	}
}

func dumpKey(t tester, client rueidis.Client, key string) any {
	t.Helper()
	ctx := context.Background()
	kind, err := client.Do(ctx, client.B().Type().Key(key).Build()).ToString()
	require.NoError(t, err)
	switch kind {
	case "hash":
		fields, err := client.Do(ctx, client.B().Hgetall().Key(key).Build()).AsStrMap()
		require.NoError(t, err)
		return fields
	case "stream":
		entries, err := client.Do(ctx, client.B().Xrange().Key(key).Start("-").End("+").Build()).AsXRangeSlices()
		require.NoError(t, err)
		info, err := client.Do(ctx, client.B().XinfoStream().Key(key).Build()).AsMap()
		require.NoError(t, err)
		last := info["last-generated-id"]
		id, err := last.ToString()
		require.NoError(t, err)
		return streamDump{Entries: entries, LastID: id}
	case "zset":
		members, err := client.Do(ctx, client.B().Zrange().Key(key).Min("0").Max("-1").Withscores().Build()).AsZScores()
		require.NoError(t, err)
		scores := map[string]string{}
		for _, m := range members {
			scores[m.Member] = fmt.Sprintf("%.0f", m.Score)
		}
		return scores
	case "string":
		value, err := client.Do(ctx, client.B().Get().Key(key).Build()).ToString()
		require.NoError(t, err)
		return value
	}
	require.FailNow(t, "unexpected type", "key %s is a %s", key, kind)
	return nil
}

// flatten turns a reply into text, integers in decimal.
func flatten(t tester, fields []rueidis.RedisMessage) []string {
	t.Helper()
	flat := make([]string, len(fields))
	for i := range fields {
		if n, err := fields[i].ToInt64(); err == nil {
			flat[i] = fmt.Sprint(n)
			continue
		}
		text, err := fields[i].ToString()
		require.NoError(t, err, "reply field %d", i)
		flat[i] = text
	}
	return flat
}

// tap stands between an engine and its client: it notes the commands, and holds them back where a test wants to.
type tap struct {
	rueidis.Client
	own      atomic.Int64 // commands on connections of their own
	mu       sync.Mutex
	last     rueidis.DedicatedClient // connection of its own
	commands [][]string
	hold     func(command []string) // called before a command goes on its way
}

func (c *tap) Do(ctx context.Context, command rueidis.Completed) rueidis.RedisResult {
	c.note(command)
	return c.Client.Do(ctx, command)
}

func (c *tap) Dedicate() (rueidis.DedicatedClient, func()) {
	conn, release := c.Client.Dedicate()
	c.mu.Lock()
	c.last = conn
	c.mu.Unlock()
	return tappedConn{DedicatedClient: conn, tap: c}, release
}

// killOwn has the server close the last connection of its own, whose worker is idle.
func (c *tap) killOwn(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	conn := c.last
	c.mu.Unlock()
	id, err := conn.Do(t.Context(), conn.B().ClientId().Build()).ToInt64()
	require.NoError(t, err)
	require.NoError(t, c.Client.Do(t.Context(), c.B().ClientKill().Id(id).Build()).Error())
}

// tappedConn is a connection of its own behind a tap.
type tappedConn struct {
	rueidis.DedicatedClient
	tap *tap
}

func (c tappedConn) Do(ctx context.Context, command rueidis.Completed) rueidis.RedisResult {
	c.tap.own.Add(1)
	c.tap.note(command)
	return c.DedicatedClient.Do(ctx, command)
}

func (c *tap) note(command rueidis.Completed) {
	words := slices.Clone(command.Commands())
	c.mu.Lock()
	c.commands = append(c.commands, words)
	hold := c.hold
	c.mu.Unlock()
	if hold != nil {
		hold(words)
	}
}

// scripts returns what was called as EVALSHA since the last time.
func (c *tap) scripts() [][]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var calls [][]string
	for _, words := range c.commands {
		if words[0] == "EVALSHA" {
			calls = append(calls, words)
		}
	}
	c.commands = nil
	return calls
}

// isScript tells whether a command calls a script.
func isScript(command []string, s *script) bool {
	return len(command) > 1 && (command[1] == s.sha || command[1] == s.text)
}

// redisErrorOf returns the error that Redis answered with, without what was wrapped around it.
func redisErrorOf(err error) string {
	var redisErr *rueidis.RedisError
	if errors.As(err, &redisErr) {
		return strings.TrimSpace(redisErr.Error())
	}
	return ""
}
