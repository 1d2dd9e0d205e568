package engine

import (
	"context"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// lanesOnly opens an engine that decides and settles until the test ends, and that no sweeper helps.
func lanesOnly(t testing.TB, client rueidis.Client, config Config) *node {
	t.Helper()
	n := newNode(t, client, config)
	var workers sync.WaitGroup
	for _, p := range n.partitions {
		workers.Go(p.lane.work)
		workers.Go(p.settling.work)
	}
	t.Cleanup(func() {
		for _, p := range n.partitions {
			p.lane.close()
			p.settling.close()
		}
		workers.Wait()
	})
	return n
}

func (n *node) hold(t testing.TB, product, user string, quantity int64, hold time.Duration) *Reservation {
	t.Helper()
	r := n.order(product, user, quantity)
	r.HoldMs = hold.Milliseconds()
	require.NoError(t, n.Reserve(r, time.Now()))
	return r
}

// settle asks for one transition.
func (n *node) settle(t *Transition) (*Transition, error) {
	t.waiting = newWaiting()
	return t, n.Settle(t, time.Now())
}

func (n *node) confirm(id OrderID, quantity int64) (*Transition, error) {
	return n.settle(&Transition{ID: id, Action: ActionConfirm, Quantity: quantity})
}

func (n *node) cancel(id OrderID) (*Transition, error) {
	return n.settle(&Transition{ID: id, Action: ActionCancel})
}

func (n *node) extend(id OrderID, by time.Duration) (*Transition, error) {
	return n.settle(&Transition{ID: id, Action: ActionExtend, HoldFor: by})
}

// now is the time by the clock of the scripts, and jump sets that clock ahead. It stands then until the server's time
// has come along.
func (n *node) now(t testing.TB) int64 {
	t.Helper()
	fields, err := checkScript.run(t.Context(), n.client, []string{n.keys(0).Meta}, []string{n.replid, "0"})
	require.NoError(t, err)
	return number(flatten(t, fields)[1])
}

func (n *node) jump(t testing.TB, by time.Duration) {
	t.Helper()
	n.jumpTo(t, n.now(t)+by.Milliseconds())
}

func (n *node) jumpTo(t testing.TB, ms int64) {
	t.Helper()
	n.do(t, "HSET", n.keys(0).Meta, "time", text(ms))
	guard, err := n.Check(t.Context(), 0) // shows the engine the clock
	require.NoError(t, err)
	require.Equal(t, GuardOK, guard)
}

// sweepOnce expires what is due and returns how much that was.
func (n *node) sweepOnce(t testing.TB) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done, err := n.expire(ctx, n.partitions[0], n.partitions[0].view.Load())
	require.NoError(t, err)
	return done.expired
}

// history returns the states that an order went through, as the log has them.
func (n *node) history(t testing.TB, id OrderID) []Status {
	t.Helper()
	link, err := n.Connect(t.Context(), 0)
	require.NoError(t, err)
	defer link.Close()
	entries, err := link.ReadLog(t.Context(), n.keys(0), 0, 10_000, 0)
	require.NoError(t, err)
	var states []Status
	for _, entry := range entries {
		for _, o := range entry.Orders {
			require.NoError(t, o.Err)
			if o.Order.ID == id {
				states = append(states, o.Order.Status)
			}
		}
	}
	return states
}

func (n *node) find(t testing.TB, id OrderID) Order {
	t.Helper()
	order, found, err := n.Find(t.Context(), id)
	require.NoError(t, err)
	require.True(t, found, "order %s is not in Redis", id)
	return order
}

// Promises 15 and 16: whoever of a hundred cancels, a confirm and an expiry comes first, what the hold had is given back
// once, each is told what happened, and the log has exactly that.
func TestOneHoldOneOutcome(t *testing.T) {
	n := lanesOnly(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "outcome", BatchSize: 16, Timeout: patience})
	n.product(t, "a", 10, onSale)
	ends := map[Status]int{}
	for round := range 60 {
		hold, sweeps := 2*time.Millisecond, rand.IntN(20) // any of them may come first
		switch round % 6 {
		case 0: // the sweeper does
			sweeps = math.MaxInt
		case 1: // a cancel or the confirm does
			hold = time.Minute
		}
		r := n.hold(t, "a", "u"+strconv.Itoa(round), 3, hold)
		start := make(chan struct{})
		cancels := make([]*Transition, 100)
		errs := make([]error, len(cancels))
		var confirmed error
		var expired int64
		var late atomic.Int64
		var group sync.WaitGroup
		for i := range cancels {
			group.Go(func() {
				<-start
				cancels[i], errs[i] = n.cancel(r.ID)
			})
		}
		group.Go(func() {
			<-start
			_, confirmed = n.confirm(r.ID, 0)
		})
		group.Go(func() {
			defer close(start)
			for done := 0; done < sweeps && hold < time.Second && n.find(t, r.ID).Status == StatusPending; done++ {
				expired += n.sweepOnce(t)
			}
		})
		group.Go(func() {
			<-start
			for n.find(t, r.ID).Status == StatusPending {
				late.Add(n.sweepOnce(t))
			}
		})
		group.Wait()

		end := n.find(t, r.ID).Status
		ends[end]++
		want := []Status{StatusPending}
		if confirmed == nil {
			want = append(want, StatusConfirmed)
		} else {
			require.Contains(t, []error{ErrInvalidState, ErrHoldExpired}, confirmed, "the confirm of an order that is %s", end)
		}
		require.Equal(t, append(want, end), n.history(t, r.ID), "what the log has")
		first := 0
		for i := range cancels {
			if end == StatusExpired {
				require.Equal(t, ErrInvalidState, errs[i], "the cancel of an expired hold")
				continue
			}
			require.NoError(t, errs[i])
			if !cancels[i].Repeated {
				first++
			}
		}
		if end == StatusExpired {
			require.Equal(t, int64(1), expired+late.Load())
			require.Equal(t, ErrHoldExpired, confirmed)
		} else {
			require.Equal(t, StatusCancelled, end)
			require.Zero(t, expired+late.Load())
			require.Equal(t, 1, first, "one cancel did it, the others found it so")
		}
		require.Equal(t, Stock{Current: 10, Initial: 10, Change: 1}, n.stock(t, "a"), "everything is on sale again")
	}
	require.GreaterOrEqual(t, ends[StatusExpired], 10, "ends: %v", ends)
	require.GreaterOrEqual(t, ends[StatusCancelled], 10, "ends: %v", ends)
}

// What is not confirmed is on sale again in the same step.
func TestPartialConfirm(t *testing.T) {
	n := lanesOnly(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "partial"})
	n.product(t, "a", 10, Terms{Active: true, PerUserLimit: 8})
	r := n.hold(t, "a", "u", 8, time.Minute)
	_, err := n.confirm(r.ID, 9)
	require.Equal(t, ErrMoreThanHeld, err)
	done, err := n.confirm(r.ID, 3)
	require.NoError(t, err)
	require.Equal(t, []any{StatusConfirmed, int64(3), int64(2), false}, []any{done.Order.Status, done.Order.Quantity, done.Order.Version, done.Repeated})
	require.Equal(t, n.find(t, r.ID), done.Order)
	require.Equal(t, Stock{Current: 7, Sold: 3, Initial: 10, Change: 1}, n.stock(t, "a"))
	for _, same := range []int64{0, 3} {
		done, err = n.confirm(r.ID, same)
		require.NoError(t, err)
		require.True(t, done.Repeated, "it is so already")
	}
	_, err = n.confirm(r.ID, 2)
	require.Equal(t, ErrInvalidState, err, "another quantity")
	_, err = n.buy("a", "u", 5)
	require.NoError(t, err, "the rest is no longer the buyer's")
	_, err = n.buy("a", "u", 1)
	require.Equal(t, ErrLimitExceeded, err)
}

func TestExtend(t *testing.T) {
	config := Config{Prefix: "extend", MaxExtensions: 2, MaxHold: 10 * time.Minute, MaxHoldTotal: 20 * time.Minute}
	n := lanesOnly(t, connectTo(t, devtest.SharedRedis(t)), config)
	n.product(t, "a", 10, Terms{Active: true, HoldSeconds: 600})
	r := n.hold(t, "a", "u", 1, time.Minute)

	done, err := n.extend(r.ID, 30*time.Second)
	require.NoError(t, err)
	require.True(t, done.Repeated, "a hold is never shortened")
	require.Equal(t, r.Order.ExpiresAtMs, done.Order.ExpiresAtMs)
	before := n.now(t)
	done, err = n.extend(r.ID, 5*time.Minute)
	require.NoError(t, err)
	require.False(t, done.Repeated)
	require.InDelta(t, before+300_000, done.Order.ExpiresAtMs, 2000, "from now on")
	require.Equal(t, int64(2), done.Order.Version)
	_, err = n.extend(r.ID, 11*time.Minute)
	require.Equal(t, ErrHoldTooLong, err, "longer than the product allows")
	_, err = n.extend(r.ID, 21*time.Minute)
	require.Equal(t, ErrHoldExtended, err, "further from its beginning than allowed")
	_, err = n.extend(r.ID, 6*time.Minute)
	require.NoError(t, err)
	_, err = n.extend(r.ID, 7*time.Minute)
	require.Equal(t, ErrHoldExtended, err, "once too many")
	require.Equal(t, Stock{Current: 9, Held: 1, Initial: 10, Change: 1}, n.stock(t, "a"))

	n.jump(t, 5*time.Minute+30*time.Second)
	require.Zero(t, n.sweepOnce(t), "extended holds are not due")
	n.jump(t, 31*time.Second)
	_, err = n.extend(r.ID, 8*time.Minute)
	require.Equal(t, ErrHoldOver, err, "past its time")
	require.Equal(t, int64(1), n.sweepOnce(t))
	_, err = n.extend(r.ID, 8*time.Minute)
	require.Equal(t, ErrHoldOver, err, "expired")
	sold, err := n.buy("a", "u", 1)
	require.NoError(t, err)
	_, err = n.extend(sold.ID, time.Minute)
	require.Equal(t, ErrInvalidState, err, "sold")
}

// The bounds of an extension are exact: how far from the hold's beginning, how far from now.
func TestExtendToTheMillisecond(t *testing.T) {
	client := connectTo(t, devtest.SharedRedis(t))
	for name, test := range map[string]struct {
		product int64 // seconds that the product allows
		until   func(begun, now int64) int64
		want    error
	}{
		"as far as a hold may last":   {until: func(begun, _ int64) int64 { return begun + 1_200_000 }},
		"further":                     {until: func(begun, _ int64) int64 { return begun + 1_200_001 }, want: ErrHoldExtended},
		"as long as the product lets": {product: 60, until: func(_, now int64) int64 { return now + 60_000 }},
		"longer":                      {product: 60, until: func(_, now int64) int64 { return now + 60_001 }, want: ErrHoldTooLong},
	} {
		t.Run(name, func(t *testing.T) {
			config := Config{Prefix: "extendms", MaxExtensions: 1, MaxHold: 10 * time.Minute, MaxHoldTotal: 20 * time.Minute}
			n := lanesOnly(t, client, config)
			n.product(t, "a", 10, Terms{Active: true, HoldSeconds: test.product})
			r := n.hold(t, "a", "u", 1, time.Minute)
			n.jump(t, 30*time.Second) // the clock stands from here on
			ask := Transition{ID: r.ID, Action: ActionExtend, untilMs: test.until(r.Order.CreatedAtMs, n.now(t))}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err := (&settleCall{engine: n.Engine}).run(ctx, n.client, n.partitions[0], n.partitions[0].view.Load(), []*Transition{&ask})
			require.NoError(t, err)
			if test.want != nil {
				require.Equal(t, test.want, ask.err)
				return
			}
			require.NoError(t, ask.err)
			require.Equal(t, ask.untilMs, n.find(t, r.ID).ExpiresAtMs)
		})
	}
}

// Another buyer's order is answered as none is.
func TestSettleOwnOrdersOnly(t *testing.T) {
	n := lanesOnly(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "owner"})
	n.product(t, "a", 10, onSale)
	r := n.hold(t, "a", "u", 1, time.Minute)
	for _, action := range []Action{ActionConfirm, ActionCancel, ActionExtend} {
		other, err := n.settle(&Transition{ID: r.ID, Action: action, HoldFor: time.Hour, User: "v"})
		require.Equal(t, ErrNoOrder, err)
		require.Zero(t, other.Order, "nothing is told of it")
		_, err = n.settle(&Transition{ID: NewOrderID(n.PartitionOf("a"), time.Now()), Action: action, HoldFor: time.Hour})
		require.Equal(t, ErrNoOrder, err)
		_, err = n.settle(&Transition{ID: NewOrderID(1, time.Now()), Action: action})
		require.Equal(t, ErrNoOrder, err, "of a partition that there is none of")
	}
	own, err := n.settle(&Transition{ID: r.ID, Action: ActionCancel, User: "u"})
	require.NoError(t, err)
	require.Equal(t, StatusCancelled, own.Order.Status)
}

// An order whose record has left Redis is settled by what the ledger has, read in the same epoch.
func TestSettleWhatTheLedgerHas(t *testing.T) {
	n := lanesOnly(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "brought"})
	n.product(t, "a", 10, onSale)
	r := n.order("a", "u", 4)
	r.Key = "key|of any sort"
	require.NoError(t, n.Reserve(r, time.Now()))
	known := n.find(t, r.ID)
	n.Advance(0, Watermark{Epoch: 1, Sequence: 2, Orders: 1})
	_, err := n.Trim(t.Context(), 0, 0, 10)
	require.NoError(t, err)
	_, found, err := n.Find(t.Context(), r.ID)
	require.NoError(t, err)
	require.False(t, found, "trimmed")

	_, err = n.cancel(r.ID)
	require.Equal(t, ErrNoOrder, err, "Redis alone does not know it")
	_, err = n.settle(&Transition{ID: r.ID, Action: ActionCancel, Known: &known, KnownEpoch: 7})
	require.Equal(t, ErrEpochMoved, err, "what was read in another epoch says nothing")
	require.Equal(t, int64(4), n.stock(t, "a").Sold)
	first, err := n.settle(&Transition{ID: r.ID, Action: ActionCancel, Known: &known, KnownEpoch: 1})
	require.NoError(t, err)
	require.False(t, first.Repeated)
	require.Equal(t, []any{known.Request, known.IdempotencyKey, int64(2)}, []any{first.Order.Request, first.Order.IdempotencyKey, first.Order.Version})
	second, err := n.settle(&Transition{ID: r.ID, Action: ActionCancel, Known: &known, KnownEpoch: 1})
	require.NoError(t, err)
	require.True(t, second.Repeated, "the second finds the first one's outcome, whatever it brings along")
	require.Equal(t, first.Order, second.Order)
	require.Equal(t, Stock{Current: 10, Initial: 10, Change: 1}, n.stock(t, "a"), "given back once")
}

// What the ledger refused stays so.
func TestFailedOrdersStayFailed(t *testing.T) {
	client := connectTo(t, devtest.SharedRedis(t))
	n := lanesOnly(t, client, Config{Prefix: "failed", LateConfirm: time.Hour, MaxExtensions: 1})
	n.product(t, "a", 10, onSale)
	sold, err := n.buy("a", "u", 3)
	require.NoError(t, err)
	failed := sold.Order
	failed.ID, failed.Status, failed.ExpiresAtMs = NewOrderID(n.PartitionOf("a"), time.Now()), StatusFailed, n.now(t)
	before := dumpKeys(t, client, "failed*")
	for _, action := range []Action{ActionConfirm, ActionCancel, ActionExtend} {
		done, err := n.settle(&Transition{ID: failed.ID, Action: action, HoldFor: time.Minute, Known: &failed, KnownEpoch: 1})
		require.Equal(t, ErrInvalidState, err)
		require.Equal(t, failed, done.Order)
	}
	require.Equal(t, before, dumpKeys(t, client, "failed*"), "nothing may have changed")
}

// What a cancel gives back can be bought at once: the gate's sign comes down.
func TestCancelOpensTheGate(t *testing.T) {
	taps := &tap{Client: connectTo(t, devtest.SharedRedis(t))}
	n := lanesOnly(t, taps, Config{Prefix: "cancelgate"})
	n.product(t, "a", 1, onSale)
	r, err := n.buy("a", "u", 1)
	require.NoError(t, err)
	now := time.Now()
	require.Equal(t, ErrSoldOut, n.Reserve(n.order("a", "v", 1), now))
	taps.scripts()
	require.Equal(t, ErrSoldOut, n.Reserve(n.order("a", "v", 1), now))
	require.Empty(t, taps.scripts(), "the gate has answered")
	_, err = n.cancel(r.ID)
	require.NoError(t, err)
	require.NoError(t, n.Reserve(n.order("a", "v", 1), now))
}
