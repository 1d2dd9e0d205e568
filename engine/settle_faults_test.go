package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// Promise 2, for what comes after the order: Redis executes, the reply is lost, the retry finds it so already.
func TestLostReplyOfATransition(t *testing.T) {
	server := devtest.Redis(t, "appendonly no")
	between := newProxy(t, server.URL())
	config := Config{Timeout: patience, MaxExtensions: 1, LateConfirm: time.Hour}
	n := lanesOnly(t, connectTo(t, between.url()), config)
	n.product(t, "a", 1000, onSale)
	none := func(*testing.T, *Reservation) {}
	for name, test := range map[string]struct {
		before  func(*testing.T, *Reservation)
		ask     Transition
		history []Status
		want    Stock // what the order has by then
	}{
		"confirm":         {none, Transition{Action: ActionConfirm}, []Status{StatusPending, StatusConfirmed}, Stock{Sold: 3}},
		"partial confirm": {none, Transition{Action: ActionConfirm, Quantity: 2}, []Status{StatusPending, StatusConfirmed}, Stock{Sold: 2}},
		"cancel":          {none, Transition{Action: ActionCancel}, []Status{StatusPending, StatusCancelled}, Stock{}},
		"extend, counted once": {
			none, Transition{Action: ActionExtend, HoldFor: 10 * time.Minute}, []Status{StatusPending, StatusPending}, Stock{Held: 3},
		},
		"late confirm": {
			func(t *testing.T, r *Reservation) {
				n.jumpTo(t, r.Order.ExpiresAtMs)
				require.Equal(t, int64(1), n.sweepOnce(t))
			},
			Transition{Action: ActionConfirm},
			[]Status{StatusPending, StatusExpired, StatusConfirmed},
			Stock{Sold: 3},
		},
		"cancel of a sale": {
			func(t *testing.T, r *Reservation) {
				_, err := n.confirm(r.ID, 0)
				require.NoError(t, err)
			},
			Transition{Action: ActionCancel},
			[]Status{StatusPending, StatusConfirmed, StatusCancelled},
			Stock{},
		},
	} {
		for lost := range int64(3) {
			t.Run(name, func(t *testing.T) {
				before := n.stock(t, "a")
				r := n.hold(t, "a", "u", 3, time.Minute)
				test.before(t, r)
				between.lost.Store(0)
				between.loseReplies(lost)
				ask := test.ask
				ask.ID = r.ID
				done, err := n.settle(&ask)
				require.NoError(t, err, "after %d lost replies", lost)
				require.Equal(t, lost, between.lost.Load(), "replies that the proxy swallowed")
				require.Equal(t, n.find(t, r.ID), done.Order)
				require.Equal(t, int64(len(test.history)), done.Order.Version)
				require.Equal(t, test.history, n.history(t, r.ID), "one effect")
				after := n.stock(t, "a")
				require.Equal(t, test.want.Held, after.Held-before.Held)
				require.Equal(t, test.want.Sold, after.Sold-before.Sold)
				_, err = n.cancel(r.ID)
				require.NoError(t, err)
			})
		}
	}
}

// Promise 2: so it is with a hold that has a key, and a retry by the client, which mints another id, is a replay of it.
func TestLostReplyOfAKeyedHold(t *testing.T) {
	server := devtest.Redis(t, "appendonly no")
	between := newProxy(t, server.URL())
	n := lanesOnly(t, connectTo(t, between.url()), Config{Timeout: patience})
	n.product(t, "a", 10, onSale)
	for lost := range int64(4) {
		before := n.stock(t, "a")
		between.lost.Store(0)
		between.loseReplies(lost)
		user := "u" + text(lost)
		r, err := n.keyed("a", user, 2, 60_000, "key")
		require.NoError(t, err)
		require.Equal(t, lost, between.lost.Load(), "replies that the proxy swallowed")
		require.False(t, r.Replayed, "the engine's own retry is no replay")
		require.Equal(t, n.find(t, r.ID), r.Order)
		for range 5 {
			between.loseReplies(1)
			again, err := n.keyed("a", user, 2, 60_000, "key")
			require.NoError(t, err)
			require.True(t, again.Replayed)
			require.Equal(t, r.ID, again.Order.ID)
		}
		require.Equal(t, before.Held+2, n.stock(t, "a").Held, "one decrement")
	}
}

// Invariant 7: a no after a lost reply is unknown, for the lost one may have been the yes.
func TestRefusedTransitionAfterALostReplyIsUnknown(t *testing.T) {
	server := devtest.Redis(t, "appendonly no")
	between := newProxy(t, server.URL())
	n := lanesOnly(t, connectTo(t, between.url()), Config{Timeout: patience})
	n.product(t, "a", 10, onSale)
	r := n.hold(t, "a", "u", 1, time.Minute)
	_, err := n.cancel(r.ID)
	require.NoError(t, err)
	between.loseReplies(1)
	_, err = n.confirm(r.ID, 0)
	require.Equal(t, ErrOutcomeUnknown, err)
	_, err = n.confirm(r.ID, 0)
	require.Equal(t, ErrInvalidState, err)
}

// What the guard refuses is a definite no for settle and expire too, and nothing has changed.
func TestShutPartitionSettlesNothing(t *testing.T) {
	taps := &tap{Client: connectTo(t, devtest.SharedRedis(t))}
	for name, test := range map[string]struct {
		shut  func(*testing.T, *node)
		want  error
		calls int // of scripts
	}{
		"closed":  {func(t *testing.T, n *node) { n.do(t, "HSET", n.keys(0).Meta, "state", "closed") }, ErrPartitionClosed, 1},
		"fenced":  {func(t *testing.T, n *node) { n.do(t, "HSET", n.keys(0).Meta, "replid", stranger) }, ErrPartitionClosed, 1},
		"missing": {func(t *testing.T, n *node) { n.do(t, "HDEL", n.keys(0).Meta, "sequence") }, ErrPartitionClosed, 1},
		"behind":  {func(_ *testing.T, n *node) { n.Advance(0, Watermark{Epoch: 1, Sequence: 99}) }, ErrPartitionClosed, 1},
		"too late": {func(t *testing.T, n *node) {
			n.do(t, "HSET", n.keys(0).Meta, "time", text(time.Now().Add(time.Hour).UnixMilli()))
		}, ErrTooLate, 1},
		"known to be so": {func(_ *testing.T, n *node) { n.partitions[0].hear(n.partitions[0].view.Load(), GuardClosed) }, ErrPartitionClosed, 0},
		"held by a person": {
			func(t *testing.T, n *node) {
				held := n.partitions[0].view.Load().Epoch
				held.Held = "to look at it"
				require.NoError(t, n.Install(0, held))
				_, err := n.Check(t.Context(), 0)
				require.NoError(t, err)
			}, ErrPartitionClosed, 0,
		},
	} {
		for _, action := range []Action{ActionConfirm, ActionCancel, ActionExtend} {
			t.Run(name+" "+string(action), func(t *testing.T) {
				n := lanesOnly(t, taps, Config{Prefix: "shut"})
				n.product(t, "a", 10, onSale)
				r := n.hold(t, "a", "u", 1, time.Minute)
				test.shut(t, n)
				before := dumpKeys(t, n.client, "shut*")
				taps.scripts()
				_, err := n.settle(&Transition{ID: r.ID, Action: action, HoldFor: time.Hour})
				require.Equal(t, test.want, err)
				require.Len(t, taps.scripts(), test.calls)
				require.Equal(t, before, dumpKeys(t, n.client, "shut*"), "nothing may have changed")
			})
		}
	}
}

// Nor does a hold expire then, however long it has been due.
func TestShutPartitionExpiresNothing(t *testing.T) {
	n := lanesOnly(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "shutexpire"})
	n.product(t, "a", 10, onSale)
	r := n.hold(t, "a", "u", 1, time.Second)
	n.jump(t, time.Minute)
	open := n.partitions[0].view.Load()
	meta := n.keys(0).Meta
	for field, values := range map[string][2]string{"state": {"closed", "open"}, "replid": {stranger, n.replid}} {
		n.do(t, "HSET", meta, field, values[0])
		before := dumpKeys(t, n.client, "shutexpire*")
		require.Zero(t, n.sweepOnce(t))
		require.Equal(t, before, dumpKeys(t, n.client, "shutexpire*"), "nothing may have changed")
		require.NotEqual(t, GuardOK, n.partitions[0].view.Load().guard, "the engine has heard it")
		n.do(t, "HSET", meta, field, values[1])
		n.partitions[0].view.Store(open)
	}
	require.Equal(t, int64(1), n.sweepOnce(t))
	require.Equal(t, StatusExpired, n.find(t, r.ID).Status)
}

// A partition that an operator holds is left alone by the sweeper too: its ledger may not be able to follow.
func TestSweeperLeavesAHeldPartitionAlone(t *testing.T) {
	taps := &tap{Client: connectTo(t, devtest.SharedRedis(t))}
	n := newNode(t, taps, Config{Prefix: "heldsweep"})
	epoch := n.partitions[0].view.Load().Epoch
	for held, wanted := range map[string]bool{"": true, "to look at it": false} {
		epoch.Held = held
		require.NoError(t, n.Install(0, epoch))
		_, err := n.Check(t.Context(), 0)
		require.NoError(t, err)
		taps.scripts()
		n.sweepDue(t.Context(), n.partitions[0])
		require.Equal(t, wanted, len(taps.scripts()) > 0, "held %q", held)
	}
}

// What is asked anew, with what the ledger has, comes with what is left of its time, behind those who have just come.
func TestABatchEndsWithItsEarliestDeadline(t *testing.T) {
	taps := &tap{Client: connectTo(t, devtest.SharedRedis(t))}
	n := startNode(t, taps, Config{Prefix: "earliest", Timeout: patience})
	n.product(t, "a", 5, onSale)
	taps.mu.Lock()
	taps.hold = func([]string) { <-t.Context().Done() } // no call ever ends
	taps.mu.Unlock()
	fresh, again := NewTransition(), NewTransition()
	fresh.Action, again.Action = ActionCancel, ActionCancel
	fresh.deadline, again.deadline = time.Now().Add(2*patience), time.Now().Add(300*time.Millisecond)
	s := newSender(n.Engine, n.partitions[0], &settleCall{engine: n.Engine})
	s.batch = []*Transition{fresh, again}
	go s.send()
	next(t, again.done, "an answer within its time")
	require.Equal(t, ErrOutcomeUnknown, again.err)
}
