package engine

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// order of a mode, decided in the background: the channel has its outcome.
func (n *node) buyAs(mode Durability, product, user, key string) (*Reservation, <-chan error) {
	r := n.order(product, user, 1)
	r.Durability, r.Key = mode, key
	outcome := make(chan error, 1)
	go func() { outcome <- n.Reserve(r, time.Now()) }()
	return r, outcome
}

// outcomeOf waits for what became of an order.
func outcomeOf(t testing.TB, outcome <-chan error) error {
	t.Helper()
	select {
	case err := <-outcome:
		return err
	case <-time.After(patience):
		require.FailNow(t, "no outcome")
		return nil
	}
}

// ledgerNode has one open partition that no ledger follows: the test says how far it has come.
func ledgerNode(t testing.TB, prefix string, config Config) *node {
	config.Prefix = prefix
	n := startNode(t, connectTo(t, devtest.SharedRedis(t)), config)
	n.product(t, "a", 1000, onSale)
	return n
}

// awaitParked waits until so many requests wait for the ledger.
func (n *node) awaitParked(t testing.TB, count int) {
	t.Helper()
	eventually(t, "requests to wait for the ledger", func() bool { return n.partitions[0].parked.length() == count })
}

func (n *node) logEnd(t testing.TB) uint64 {
	t.Helper()
	end, err := n.client.Do(t.Context(), n.client.B().Hget().Key(n.keys(0).Meta).Field("sequence").Build()).AsUint64()
	require.NoError(t, err)
	return end
}

func TestAnOrderOfModeLedgerIsAnsweredOnceTheLedgerHasIt(t *testing.T) {
	for name, c := range map[string]struct {
		epoch   uint64
		replid  string // "" = the server's
		refused int64
		want    error
	}{
		"it has":                           {1, "", 0, nil},
		"it refused an order meanwhile":    {1, "", 1, ErrRowDecides},
		"another epoch is in force by now": {2, "", 0, ErrEpochDecides},
		"a server that had lost the entry was adopted, and its number used again": {1, "another history", 0, ErrEpochDecides},
	} {
		t.Run(name, func(t *testing.T) {
			n := ledgerNode(t, "ledgered", Config{Timeout: patience})
			first, done := n.buyAs(DurabilityLedger, "a", "ann", "")
			n.awaitParked(t, 1)
			require.Len(t, n.LedgerWanted(0), 1, "the drainer is told that somebody waits")
			fast, err := n.buy("a", "bob", 1)
			require.NoError(t, err, "an order of mode fast waits for nothing")
			require.Equal(t, DurabilityFast, fast.Durability)
			end := n.logEnd(t)
			n.Advance(0, Watermark{Epoch: 1, Replid: n.replid, Sequence: end - 2})
			require.Empty(t, done, "the ledger has only what came before it")
			n.Advance(0, Watermark{Epoch: c.epoch, Replid: cmp.Or(c.replid, n.replid), Sequence: end, Refused: c.refused})
			require.Equal(t, c.want, outcomeOf(t, done))
			require.Equal(t, StatusConfirmed, first.Order.Status)
			require.Equal(t, DurabilityLedger, first.Durability)
			n.awaitParked(t, 0)
		})
	}
}

// A replay may be of an order that the ledger refused long ago: only the row can tell.
func TestAReplayOfModeLedgerWaitsAndIsLookedUp(t *testing.T) {
	n := ledgerNode(t, "replayed", Config{Timeout: patience})
	_, first := n.buyAs(DurabilityFast, "a", "ann", "key")
	require.NoError(t, outcomeOf(t, first))
	replay, done := n.buyAs(DurabilityLedger, "a", "ann", "key")
	n.awaitParked(t, 1)
	n.Advance(0, Watermark{Epoch: 1, Replid: n.replid, Sequence: n.logEnd(t)})
	require.Equal(t, ErrRowDecides, outcomeOf(t, done))
	require.True(t, replay.Replayed)
}

func TestTransitionsOfModeLedgerWaitToo(t *testing.T) {
	n := ledgerNode(t, "changed", Config{Timeout: patience, MaxExtensions: 1})
	r := n.order("a", "ann", 1)
	r.HoldMs = 60_000
	require.NoError(t, n.Reserve(r, time.Now()))
	for i, action := range []Action{ActionExtend, ActionConfirm, ActionConfirm, ActionCancel} {
		change := NewTransition()
		change.ID, change.Action, change.HoldFor, change.Durability = r.ID, action, 2*time.Minute, DurabilityLedger
		done := make(chan error, 1)
		if i != 2 { // the ledger has what is repeated
			go func() { done <- n.Settle(change, time.Now()) }()
			n.awaitParked(t, 1)
			n.Advance(0, Watermark{Epoch: 1, Replid: n.replid, Sequence: n.logEnd(t)})
			require.NoError(t, outcomeOf(t, done), "%c", action)
			continue
		}
		require.Equal(t, ErrRowDecides, n.Settle(change, time.Now()), "the ledger may have refused it")
	}
}

// Whoever waits in vain is told so by its own deadline, whatever is the deadline of those who wait beside it.
func TestWaitingForTheLedgerEndsWithTheDeadline(t *testing.T) {
	n := ledgerNode(t, "vain", Config{Timeout: 500 * time.Millisecond})
	p := n.partitions[0]
	late := NewReservation()
	late.deadline = time.Now().Add(time.Hour)
	p.parked.add(&p.watermark, parkedGroup{epoch: 1, sequence: 1000, waiting: []parkedRequest{{waiting: late.wait()}}})
	began := time.Now()
	_, done := n.buyAs(DurabilityLedger, "a", "ann", "")
	require.Equal(t, ErrOutcomeUnknown, outcomeOf(t, done))
	require.Less(t, time.Since(began), 2*time.Second)
	n.awaitParked(t, 1)
	require.Empty(t, late.done)
	n.stop()
	require.Equal(t, ErrOutcomeUnknown, <-errOf(late), "at the end of the process nobody is left waiting")
}

func errOf(r *Reservation) <-chan error {
	outcome := make(chan error, 1)
	go func() { <-r.done; outcome <- r.err }()
	return outcome
}

func TestModeLedgerIsRefusedWhereItWouldWaitInVain(t *testing.T) {
	taps := &tap{Client: connectTo(t, devtest.SharedRedis(t))}
	n := startNode(t, taps, Config{Prefix: "lagging", Timeout: patience, QueueLength: 2})
	n.product(t, "a", 1000, onSale)
	p := n.partitions[0]
	taps.scripts()

	p.lag.note(1, 10, 0, time.Now().Add(-2*patience))
	_, done := n.buyAs(DurabilityLedger, "a", "ann", "")
	require.Equal(t, ErrLedgerBehind, outcomeOf(t, done), "the ledger lacks what was logged longer ago than an order may wait")
	for _, call := range taps.scripts() {
		require.NotEqual(t, reserveScript.sha, call[1], "nothing was asked of Redis")
	}
	_, err := n.buy("a", "bob", 1)
	require.NoError(t, err, "an order of mode fast needs no ledger")

	n.Advance(0, Watermark{Epoch: 1, Replid: n.replid, Sequence: n.logEnd(t), Orders: 1 << 40})
	_, first := n.buyAs(DurabilityLedger, "a", "carol", "")
	n.awaitParked(t, 1)
	_, second := n.buyAs(DurabilityLedger, "a", "cora", "")
	n.awaitParked(t, 2)
	_, done = n.buyAs(DurabilityLedger, "a", "dave", "")
	require.Equal(t, ErrLedgerBehind, outcomeOf(t, done), "as many wait as may")
	n.Advance(0, Watermark{Epoch: 1, Replid: n.replid, Sequence: n.logEnd(t), Orders: 1 << 40})
	require.NoError(t, outcomeOf(t, first))
	require.NoError(t, outcomeOf(t, second))
}

func TestTheDelayOfTheLedgerIsEstimatedFromItsRate(t *testing.T) {
	for name, c := range map[string]struct {
		age     time.Duration
		backlog int64
		rate    float64
		want    time.Duration
	}{
		"nothing waits":                       {0, 0, 10, 0},
		"a burst after a quiet time":          {100 * time.Millisecond, 1000, 1, 100 * time.Millisecond},
		"at it for long, and soon through":    {1500 * time.Millisecond, 10, 1000, 1500 * time.Millisecond},
		"at it for long, and far from done":   {1500 * time.Millisecond, 5000, 1000, 5 * time.Second},
		"at it for long, at an unknown rate":  {1500 * time.Millisecond, 5000, 0, 1500 * time.Millisecond},
		"at it for long, at hardly any speed": {1500 * time.Millisecond, 1 << 50, 1e-9, maxDelaySeconds * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPartition(0)
			now := time.Now()
			p.view.Store(&view{Epoch: Epoch{Number: 1}})
			p.end.Store(&logEnd{epoch: 1, orders: c.backlog})
			p.watermark.rate = c.rate
			p.lag.note(1, c.backlog, 0, now.Add(-c.age))
			require.Equal(t, c.want, p.ledgerDelay(now))
		})
	}
}

// replicated is a primary with replicas and a node on it.
func replicated(t *testing.T, replicas int, config Config) (*node, *devtest.RedisServer, []*devtest.RedisServer) {
	t.Helper()
	primary, others := replicaSet(t, replicas)
	n := startNode(t, connectTo(t, primary.URL()), config)
	n.product(t, "a", 1000, onSale)
	return n, primary, others
}

// replicaSet is a primary whose replicas have attached.
func replicaSet(t *testing.T, replicas int) (*devtest.RedisServer, []*devtest.RedisServer) {
	t.Helper()
	port := strconv.Itoa(devtest.FreePort(t))
	primary := devtest.Redis(t, "bind 127.0.0.1", "port "+port, "repl-diskless-sync-delay 0")
	var others []*devtest.RedisServer
	for range replicas {
		others = append(others, devtest.Redis(t, "replicaof 127.0.0.1 "+port, "repl-diskless-sync-delay 0"))
	}
	client := connectTo(t, primary.URL())
	eventually(t, "the replicas to attach", func() bool {
		info, err := client.Do(t.Context(), client.B().Info().Section("replication").Build()).ToString()
		require.NoError(t, err)
		return infoField(info, "connected_slaves") == strconv.Itoa(replicas) && onlineIn(info) == replicas
	})
	return primary, others
}

// recheck has the engine look at its partition, as the ledger's keeper does every second.
func (n *node) recheck(t testing.TB) {
	t.Helper()
	_, err := n.Check(t.Context(), 0)
	require.NoError(t, err)
}

func sequenceOn(t testing.TB, c rueidis.Client, n *node) string {
	t.Helper()
	sequence, err := c.Do(t.Context(), c.B().Hget().Key(n.keys(0).Meta).Field("sequence").Build()).ToString()
	require.NoError(t, err)
	return sequence
}

func TestAnOrderOfModeReplicatedIsOnTheReplicaWhenAnswered(t *testing.T) {
	n, _, replicas := replicated(t, 1, Config{Durability: DurabilityReplicated, Timeout: patience})
	require.NoError(t, n.RequireReplicas(t.Context()))
	replica := connectTo(t, replicas[0].URL())
	for i := range 20 {
		r, err := n.buy("a", fmt.Sprint("buyer-", i), 1)
		require.NoError(t, err)
		require.Equal(t, DurabilityReplicated, r.Durability)
		require.Equal(t, fmt.Sprint(r.Order.Sequence), sequenceOn(t, replica, n))
	}
}

// A replica that says nothing stalls the orders that wait for it and nobody else; what was sold on the way is unknown, and
// nothing more is sold in that mode until the replica has caught up.
func TestAFrozenReplicaStallsOnlyThoseWhoWaitForIt(t *testing.T) {
	const timeout = time.Second
	n, _, replicas := replicated(t, 1, Config{Timeout: timeout})
	_, done := n.buyAs(DurabilityReplicated, "a", "zero", "key")
	require.NoError(t, outcomeOf(t, done))
	require.NoError(t, replicas[0].Pause())

	began := time.Now()
	var waiting []<-chan error
	for i := range 8 {
		_, outcome := n.buyAs(DurabilityReplicated, "a", fmt.Sprint("ann-", i), "")
		waiting = append(waiting, outcome)
	}
	_, replay := n.buyAs(DurabilityReplicated, "a", "zero", "key")
	for i := range 50 {
		asked := time.Now()
		_, err := n.buy("a", fmt.Sprint("fast-", i), 1)
		require.NoError(t, err)
		require.Less(t, time.Since(asked), timeout/2, "an order of mode fast")
	}
	unknown := 0
	for _, outcome := range append(waiting, replay) {
		err := outcomeOf(t, outcome)
		require.Contains(t, []error{ErrOutcomeUnknown, ErrTooLate, ErrReplicasBehind}, err)
		if errors.Is(err, ErrOutcomeUnknown) {
			unknown++
		}
	}
	require.Less(t, time.Since(began), 2*timeout)
	require.Positive(t, unknown)

	sold := n.stock(t, "a").Sold
	var refused []<-chan error
	for i := range 8 {
		_, outcome := n.buyAs(DurabilityReplicated, "a", fmt.Sprint("bob-", i), "")
		refused = append(refused, outcome)
	}
	for _, outcome := range refused {
		require.Contains(t, []error{ErrReplicasBehind, ErrTooLate}, outcomeOf(t, outcome), "a definite no")
	}
	require.Equal(t, sold, n.stock(t, "a").Sold, "nothing more is sold whose outcome nobody could tell")

	require.NoError(t, replicas[0].Resume())
	eventually(t, "the replica to catch up", func() bool { // which may be a matter of its own order, too
		_, outcome := n.buyAs(DurabilityReplicated, "a", "carol", "key")
		err := outcomeOf(t, outcome)
		require.Contains(t, []error{nil, ErrReplicasBehind, ErrTooLate, ErrOutcomeUnknown}, err)
		return err == nil
	})
	require.Equal(t, sold+1, n.stock(t, "a").Sold)
	again, done := n.buyAs(DurabilityReplicated, "a", "zero", "key")
	require.NoError(t, outcomeOf(t, done))
	require.True(t, again.Replayed)
}

// A replay has written nothing: WAIT alone would answer for whatever its connection wrote last.
func TestAReplayWaitsForWhatAnotherConnectionWrote(t *testing.T) {
	n, _, replicas := replicated(t, 1, Config{Timeout: time.Second})
	require.NoError(t, replicas[0].Pause())
	_, done := n.buyAs(DurabilityFast, "a", "ann", "key")
	require.NoError(t, outcomeOf(t, done))
	_, done = n.buyAs(DurabilityReplicated, "a", "ann", "key")
	require.Equal(t, ErrOutcomeUnknown, outcomeOf(t, done))
}

func TestModeReplicatedIsRefusedWhereThereAreTooFewReplicas(t *testing.T) {
	n, _, replicas := replicated(t, 1, Config{Replicas: 2, Timeout: time.Second})
	_, done := n.buyAs(DurabilityReplicated, "a", "ann", "")
	err := outcomeOf(t, done)
	require.Equal(t, CodeInvalidRequest, err.(*Error).Code) //nolint:errorlint // as it is
	require.ErrorContains(t, err, "has not had 2 online at once (REPLICAS); fast and ledger are")
	require.ErrorContains(t, n.RequireReplicas(t.Context()), "needs 2 replicas online, the server of partition 0 has 1")
	require.Zero(t, n.stock(t, "a").Sold)

	n.config.Replicas = 1
	n.recheck(t)
	_, done = n.buyAs(DurabilityReplicated, "a", "bob", "")
	require.NoError(t, outcomeOf(t, done))
	require.NoError(t, replicas[0].Kill())
	eventually(t, "the server to notice", func() bool {
		n.recheck(t)
		_, done := n.buyAs(DurabilityReplicated, "a", "carol", "")
		return errors.Is(outcomeOf(t, done), ErrReplicasBehind)
	})
}

// The reply that is lost on the way leaves the order known to Redis: the next attempt, on another connection, finds it and
// must wait for the replica all the same.
func TestALostReplyOfModeReplicatedIsAskedForAgain(t *testing.T) {
	primary, _ := replicaSet(t, 1)
	p := newProxy(t, primary.URL())
	n := startNode(t, connectTo(t, p.url()), Config{Timeout: patience})
	n.product(t, "a", 1000, onSale)
	defer n.stop() // before the proxy, which waits for every connection
	p.loseReplies(1)
	r, done := n.buyAs(DurabilityReplicated, "a", "ann", "")
	require.NoError(t, outcomeOf(t, done))
	require.EqualValues(t, 1, p.lost.Load())
	require.Equal(t, r.ID, r.Order.ID)
	require.EqualValues(t, 1, n.stock(t, "a").Sold)
}

func TestDurabilityNames(t *testing.T) {
	for _, d := range []Durability{DurabilityFast, DurabilityReplicated, DurabilityLedger} {
		parsed, ok := ParseDurability([]byte(d.String()))
		require.True(t, ok)
		require.Equal(t, d, parsed)
	}
	for _, none := range []string{"", "Fast", "ledger ", "durable"} {
		_, ok := ParseDurability([]byte(none))
		require.False(t, ok, none)
	}
	_, err := New(connectTo(t, devtest.SharedRedis(t)), Config{Durability: 9})
	require.Error(t, err)
}
