package engine

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// Promise 13: a record that the scripts can read and the engine can't harms only whoever asks for it.
func TestAPoisonRecordStopsOnlyItself(t *testing.T) {
	n := newNode(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "poisoned"})
	n.product(t, "a", 10, onSale)
	k := n.keys(0)
	bad, good := NewOrderID(0, time.Now()), NewOrderID(0, time.Now())
	n.do(t, "HSET", k.Orders, string(bad[:]), "x,1,1,1,1,0,1,1,a|us er", string(good[:]), "p,1,1,1,1,99999999999999,1,1,a|u")
	n.do(t, "HSET", k.Buyers, "a|u", "0,1,0,")
	n.do(t, "HSET", k.Stock, "a", "9,1,0,10,1")
	s := newSender[*Transition](n.Engine, n.partitions[0], &settleCall{engine: n.Engine})
	var batch []*Transition
	for _, id := range []OrderID{bad, good} {
		x := NewTransition()
		x.ID, x.Action, x.deadline = id, ActionCancel, time.Now().Add(patience)
		batch = append(batch, x)
	}
	s.batch = append(s.batch, batch...)
	s.send()
	for _, x := range batch {
		<-x.done
	}
	require.Equal(t, ErrOutcomeUnknown, batch[0].err, "it is done, and nobody can say what")
	require.NoError(t, batch[1].err)
	require.Equal(t, Stock{Current: 10, Initial: 10, Change: 1}, n.stock(t, "a"))

	again := n.order("a", "v", 1)
	again.HoldMs = 1000
	mate := n.order("a", "w", 1)
	reservations := newSender[*Reservation](n.Engine, n.partitions[0], &sameIDs{newReserveCall(n.Engine), mates(bad, 2)})
	for _, r := range []*Reservation{again, mate} {
		r.shelf = n.shelves.find("a", crc16("a"), n.partitions[0])
		r.buyer = BuyerField(r.Product, r.User)
		r.deadline = time.Now().Add(patience)
		reservations.batch = append(reservations.batch, r)
	}
	reservations.send()
	<-again.done
	<-mate.done
	require.Equal(t, ErrOutcomeUnknown, again.err)
	require.NoError(t, mate.err)
}

// sameIDs is a call that gives every batch the same ids.
type sameIDs struct {
	*reserveCall
	ids []OrderID
}

func (c *sameIDs) mint(_ *partition, batch []*Reservation) {
	for i, r := range batch {
		r.ID = c.ids[i]
	}
}

// mates are n ids of one batch, the first of which is given.
func mates(first OrderID, n int) []OrderID {
	ids := []OrderID{first}
	for i := 1; i < n; i++ {
		id := first
		id[len(id)-1] += byte(i)
		ids = append(ids, id)
	}
	return ids
}

// Where holds by the thousand are due at once, a batch has a bounded number of them expire: others wait behind it.
func TestDueHoldsByTheThousandHoldNobodyUp(t *testing.T) {
	taps := &tap{Client: connectTo(t, devtest.SharedRedis(t))}
	n := lanesOnly(t, taps, Config{Prefix: "thousands"})
	n.product(t, "a", 10_000, onSale)
	n.product(t, "b", 1, onSale)
	k := n.keys(0)
	const holds = (maxSweeps + 2) * sweepHolds
	now := time.Now().UnixMilli()
	orders, due := []string{"HSET", k.Orders}, []string{"ZADD", k.Expiry}
	for range holds {
		id := NewOrderID(0, time.Now())
		orders = append(orders, string(id[:]), fmt.Sprintf("p,1,1,%d,%d,%d,1,1,a|u", now, now, now))
		due = append(due, strconv.FormatInt(now, 10), string(id[:]))
	}
	n.do(t, orders...)
	n.do(t, due...)
	n.do(t, "HSET", k.Buyers, "a|u", fmt.Sprintf("0,%d,0,", holds), "b|v", "0,1,0,")
	n.do(t, "HSET", k.Stock, "a", fmt.Sprintf("%d,%d,0,10000,1", 10_000-holds, holds), "b", "0,1,0,1,1")
	taps.scripts()
	_, err := n.buy("b", "w", 1)
	require.Equal(t, ErrSoldOut, err)
	calls := map[string]int{}
	for _, words := range taps.scripts() {
		calls[scriptName(t, words)]++
	}
	require.Equal(t, map[string]int{"reserve.lua": maxSweeps + 1, "expire.lua": maxSweeps}, calls)
	require.Equal(t, int64(2*sweepHolds), n.stock(t, "a").Held, "the sweeper does the rest")
}

// What the sweeper can't do is a fault of the partition, told in its state and counted.
func TestASweepThatFailsIsTold(t *testing.T) {
	n := newNode(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "sweepfails"})
	n.product(t, "a", 10, onSale)
	expiry := n.keys(0).Expiry
	n.do(t, "SET", expiry, "of the wrong type")
	n.sweepDue(context.Background(), n.partitions[0])
	require.Contains(t, n.State(0).Reason, "holds that are over stay off sale", "no order has failed")
	require.EqualValues(t, 1, n.metrics.failedCalls.Get())
	n.do(t, "DEL", expiry)
	n.sweepDue(context.Background(), n.partitions[0])
	require.NotEmpty(t, n.State(0).Reason, "a moment later that says nothing about orders")
	n.partitions[0].succeedQuietly(time.Now().Add(faultMemory))
	require.Empty(t, n.State(0).Reason, "nothing has failed since")
}

// An extension whose answer was lost is sent again: it is the same one, as long as it asks for as much.
func TestAnExtensionSentAgainIsOne(t *testing.T) {
	n := lanesOnly(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "extended", MaxExtensions: 2, MaxHold: time.Hour, MaxHoldTotal: 2 * time.Hour})
	n.product(t, "a", 10, onSale)
	hold := n.hold(t, "a", "u", 1, time.Minute)
	extend := func(by time.Duration) *Transition {
		x := NewTransition()
		x.ID, x.Action, x.HoldFor = hold.ID, ActionExtend, by
		require.NoError(t, n.Settle(x, time.Now()))
		return x
	}
	first := extend(10 * time.Minute)
	require.False(t, first.Repeated)
	for range 5 {
		again := extend(10 * time.Minute)
		require.True(t, again.Repeated)
		require.Equal(t, first.Order, again.Order)
	}
	require.False(t, extend(20*time.Minute).Repeated, "more is another extension")
	x := NewTransition()
	x.ID, x.Action, x.HoldFor = hold.ID, ActionExtend, 30*time.Minute
	require.Equal(t, ErrHoldExtended, n.Settle(x, time.Now()), "and the bound holds")

	n = lanesOnly(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "extendedlater", MaxExtensions: 2, MaxHold: time.Hour, MaxHoldTotal: 2 * time.Hour})
	n.product(t, "a", 10, onSale)
	hold = n.hold(t, "a", "u", 1, time.Minute)
	first = extend(10 * time.Minute)
	n.jumpTo(t, first.Order.UpdatedAtMs+20_000)
	require.True(t, extend(10*time.Minute).Repeated, "the same, asked for again")
	require.False(t, extend(10*time.Minute+time.Second).Repeated, "a second more than the last time is another wish")

	n = lanesOnly(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "extendedmuchlater", MaxExtensions: 2, MaxHold: time.Hour, MaxHoldTotal: 2 * time.Hour})
	n.product(t, "a", 10, onSale)
	hold = n.hold(t, "a", "u", 1, time.Minute)
	first = extend(10 * time.Minute)
	n.jumpTo(t, first.Order.UpdatedAtMs+30_001)
	require.False(t, extend(10*time.Minute).Repeated, "half a minute later it is another")
}
