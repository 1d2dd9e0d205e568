package engine

import (
	"cmp"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// Whoever's hold is over has nothing that a second order could double, as after a cancel: the lock goes with it, but only its own.
func TestAnExpiredHoldLocksNobody(t *testing.T) {
	n := lanesOnly(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "unlock", LockTTL: time.Minute})
	n.product(t, "a", 10, onSale)
	over := n.hold(t, "a", "u", 1, time.Second)
	n.jumpTo(t, over.Order.ExpiresAtMs)
	require.Equal(t, int64(1), n.sweepOnce(t))
	short := n.hold(t, "a", "u", 1, 2*time.Second)

	keyed := n.order("a", "u", 1)
	keyed.Key = "second"
	require.NoError(t, n.Reserve(keyed, time.Now()))
	n.jumpTo(t, short.Order.ExpiresAtMs)
	require.Equal(t, int64(1), n.sweepOnce(t))
	r, err := n.buy("a", "u", 1)
	require.Equal(t, ErrDuplicateOrder, err, "a later order has locked the buyer anew")
	require.Equal(t, keyed.ID, r.First)
}

// A hold that is over is confirmed only where a new order would be accepted, whether or not the sweeper has been.
func TestLateConfirm(t *testing.T) {
	client := connectTo(t, devtest.SharedRedis(t))
	terms := func(terms Terms) func(*testing.T, *node) {
		return func(t *testing.T, n *node) {
			n.change(t, Change{Product: "a", Number: 2, Terms: terms})
		}
	}
	for name, test := range map[string]struct {
		late      time.Duration // after the hold's end
		meanwhile func(*testing.T, *node)
		quantity  int64
		want      error
	}{
		"in time":            {late: 59 * time.Second},
		"a part":             {late: time.Second, quantity: 2},
		"more than was held": {late: time.Second, quantity: 4, want: ErrMoreThanHeld},
		"too late":           {late: time.Minute, want: ErrHoldExpired},
		"sale switched off":  {late: time.Second, meanwhile: terms(Terms{}), want: ErrHoldExpired},
		"sale ended":         {late: time.Second, meanwhile: terms(Terms{Active: true, EndsAt: time.Now()}), want: ErrHoldExpired},
		"sale put off":       {late: time.Second, meanwhile: terms(Terms{Active: true, StartsAt: time.Now().Add(time.Hour)}), want: ErrHoldExpired},
		"sale ends this instant": {late: time.Second, meanwhile: func(t *testing.T, n *node) {
			terms(Terms{Active: true, EndsAt: time.UnixMilli(n.now(t))})(t, n)
		}, want: ErrHoldExpired},
		"sale starts this instant": {late: time.Second, meanwhile: func(t *testing.T, n *node) {
			terms(Terms{Active: true, StartsAt: time.UnixMilli(n.now(t)), EndsAt: time.UnixMilli(n.now(t) + 1)})(t, n)
		}},
		"limit lowered":            {late: time.Second, meanwhile: terms(Terms{Active: true, PerUserLimit: 2}), want: ErrHoldExpired},
		"limit allows a part":      {late: time.Second, meanwhile: terms(Terms{Active: true, PerUserLimit: 2}), quantity: 2},
		"sold to somebody else":    {late: time.Second, meanwhile: func(t *testing.T, n *node) { sell(t, n, 8) }, want: ErrHoldExpired},
		"enough for a part":        {late: time.Second, meanwhile: func(t *testing.T, n *node) { sell(t, n, 8) }, quantity: 2},
		"sold, and too much of it": {late: time.Second, meanwhile: func(t *testing.T, n *node) { sell(t, n, 10) }, quantity: 1, want: ErrHoldExpired},
	} {
		t.Run(name, func(t *testing.T) {
			n := lanesOnly(t, client, Config{Prefix: "late", LateConfirm: time.Minute})
			n.product(t, "a", 10, Terms{Active: true, PerUserLimit: 10})
			r := n.hold(t, "a", "u", 3, time.Second)
			n.jumpTo(t, r.Order.ExpiresAtMs+test.late.Milliseconds())
			if test.meanwhile != nil {
				test.meanwhile(t, n)
			}
			sold := n.stock(t, "a").Sold
			done, err := n.confirm(r.ID, test.quantity)
			if test.want != nil {
				require.Equal(t, test.want, err)
				require.Equal(t, sold, n.stock(t, "a").Sold)
				require.NotEqual(t, StatusConfirmed, n.find(t, r.ID).Status)
				return
			}
			require.NoError(t, err)
			quantity := cmp.Or(test.quantity, 3)
			require.Equal(t, []any{StatusConfirmed, quantity}, []any{done.Order.Status, done.Order.Quantity})
			stock := n.stock(t, "a")
			require.Equal(t, []int64{0, sold + quantity}, []int64{stock.Held, stock.Sold})
			require.Zero(t, n.sweepOnce(t), "a confirmed hold is not due")
		})
	}
}

// sell sells units to another buyer after the holds that are due have expired.
func sell(t *testing.T, n *node, units int64) {
	t.Helper()
	require.Equal(t, int64(1), n.sweepOnce(t))
	require.NoError(t, n.Reserve(n.order("a", "somebody else", units), time.Now().Add(time.Second)), "past the gate")
}

func TestLateConfirmAfterTheSweeper(t *testing.T) {
	n := lanesOnly(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "lateswept", LateConfirm: time.Minute})
	n.product(t, "a", 10, Terms{Active: true, PerUserLimit: 4})
	r := n.hold(t, "a", "u", 3, time.Second)
	n.jump(t, 2*time.Second)
	require.Equal(t, int64(1), n.sweepOnce(t))
	require.Equal(t, Stock{Current: 10, Initial: 10, Change: 1}, n.stock(t, "a"))
	_, err := n.cancel(r.ID)
	require.Equal(t, ErrInvalidState, err)
	_, err = n.buy("a", "u", 2)
	require.NoError(t, err)
	_, err = n.confirm(r.ID, 3)
	require.Equal(t, ErrHoldExpired, err, "2 bought and 3 more are above the limit of 4")
	_, err = n.confirm(r.ID, 2)
	require.NoError(t, err)
	require.Equal(t, []Status{StatusPending, StatusExpired, StatusConfirmed}, n.history(t, r.ID))
	require.Equal(t, Stock{Current: 6, Sold: 4, Initial: 10, Change: 1}, n.stock(t, "a"))
}

func TestNoLateConfirmUnlessSet(t *testing.T) {
	n := lanesOnly(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "notlate"})
	n.product(t, "a", 10, onSale)
	r := n.hold(t, "a", "u", 3, time.Second)
	n.jumpTo(t, r.Order.ExpiresAtMs-1)
	require.Equal(t, r.Order.ExpiresAtMs-1, n.now(t))
	require.Zero(t, n.sweepOnce(t), "its last millisecond is not over")
	n.jumpTo(t, r.Order.ExpiresAtMs)
	_, err := n.confirm(r.ID, 0)
	require.Equal(t, ErrHoldExpired, err)
	require.Equal(t, int64(1), n.sweepOnce(t))
	_, err = n.confirm(r.ID, 0)
	require.Equal(t, ErrHoldExpired, err)
}

// Whoever finds too little stock while holds are due gets what they held, without waiting for the sweeper.
func TestDueHoldsAreSoldAtOnce(t *testing.T) {
	taps := &tap{Client: connectTo(t, devtest.SharedRedis(t))}
	n := lanesOnly(t, taps, Config{Prefix: "due", LateConfirm: time.Minute})
	called := func() (names []string) {
		for _, words := range taps.scripts() {
			names = append(names, scriptName(t, words))
		}
		return names
	}
	n.product(t, "a", 3, onSale)
	n.product(t, "b", 1, onSale)
	first := n.hold(t, "a", "first", 3, time.Second)
	sold, err := n.buy("b", "u", 1)
	require.NoError(t, err)

	past := time.Now().Add(time.Second) // past the gate
	called()
	require.Equal(t, ErrSoldOut, n.Reserve(n.order("a", "early", 1), past))
	require.Equal(t, []string{"reserve.lua"}, called(), "nothing is due yet")
	n.jumpTo(t, first.Order.ExpiresAtMs)
	called()
	require.Equal(t, ErrSoldOut, n.Reserve(n.order("b", "v", 1), past))
	require.Equal(t, []string{"reserve.lua"}, called(), "nobody holds any of b")
	second := n.order("a", "second", 2)
	second.HoldMs = 1000
	require.NoError(t, n.Reserve(second, past))
	require.Equal(t, []string{"reserve.lua", "expire.lua", "reserve.lua"}, called())
	require.Equal(t, StatusExpired, n.find(t, first.ID).Status)
	require.Equal(t, Stock{Current: 1, Held: 2, Initial: 3, Change: 1}, n.stock(t, "a"))
	require.Equal(t, int64(1), second.Left)

	n.change(t, Change{Product: "a", Number: 2, Terms: Terms{Active: true, PerUserLimit: 2}})
	called()
	require.Equal(t, ErrLimitExceeded, n.Reserve(n.order("a", "second", 1), past), "the buyer's hold is not due yet")
	require.Equal(t, []string{"reserve.lua"}, called())
	n.jumpTo(t, second.Order.ExpiresAtMs)
	called()
	require.NoError(t, n.Reserve(n.order("a", "second", 1), past), "a hold that is over counts no more")
	require.Equal(t, []string{"reserve.lua", "expire.lua", "reserve.lua"}, called())
	n.change(t, Change{Product: "a", Number: 3, Amount: 1, Terms: onSale})
	third := n.hold(t, "a", "third", 2, time.Second)

	n.jumpTo(t, third.Order.ExpiresAtMs)
	called()
	late, err := n.confirm(first.ID, 3)
	require.NoError(t, err, "so does a late confirm")
	require.Equal(t, []string{"settle.lua", "expire.lua", "settle.lua"}, called())
	require.False(t, late.Repeated)
	require.Equal(t, Stock{Sold: 4, Initial: 4, Change: 3}, n.stock(t, "a"))
	require.Equal(t, int64(3), int64(n.metrics.expired.Get()), "holds counted as expired")
	require.Equal(t, int64(1), sold.Order.Quantity)
}

// One order of a batch that may find more once holds have expired is enough, wherever it stands.
func TestDueIsToldForAnyOrderOfABatch(t *testing.T) {
	n := newNode(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "duebatch", LateConfirm: time.Minute})
	n.product(t, "a", 2, onSale)
	n.product(t, "b", 0, onSale)
	p := n.partitions[0]
	reserve := func(holdMs int64, products ...string) (replyHead, []*Reservation) {
		var batch []*Reservation
		for _, product := range products {
			r := n.order(product, "u", 2)
			r.HoldMs, r.shelf = holdMs, &shelf{product: product, partition: p}
			r.buyer = BuyerField(r.Product, r.User)
			batch = append(batch, r)
		}
		c := newReserveCall(n.Engine)
		c.mint(p, batch)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		head, err := c.run(ctx, n.client, p, p.view.Load(), batch)
		require.NoError(t, err)
		return head, batch
	}
	_, first := reserve(1000, "a")
	n.jump(t, 2*time.Second)
	require.Equal(t, int64(1), n.sweepOnce(t))
	_, second := reserve(1000, "a") // has it now
	require.NoError(t, second[0].err)
	n.jump(t, 2*time.Second)
	for _, products := range [][]string{{"a", "b"}, {"b", "a"}} {
		head, _ := reserve(0, products...)
		require.True(t, head.due, "%q", products)
	}
	head, _ := reserve(0, "b", "b")
	require.False(t, head.due, "nobody holds any of b")

	missing := Transition{ID: NewOrderID(n.PartitionOf("a"), time.Now()), Action: ActionConfirm}
	late := Transition{ID: first[0].ID, Action: ActionConfirm}
	for _, batch := range [][]*Transition{{&late, &missing}, {&missing, &late}} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		head, err := (&settleCall{engine: n.Engine}).run(ctx, n.client, p, p.view.Load(), batch)
		cancel()
		require.NoError(t, err)
		require.True(t, head.due)
		require.Equal(t, ErrHoldExpired, late.err)
	}
}

// A hold whose counters can't be read frees nothing: the answer stays no, and comes after one try.
func TestDueHoldThatCannotExpire(t *testing.T) {
	taps := &tap{Client: connectTo(t, devtest.SharedRedis(t))}
	n := lanesOnly(t, taps, Config{Prefix: "stuck"})
	n.product(t, "a", 3, onSale)
	n.hold(t, "a", "u", 3, time.Second)
	n.do(t, "HSET", n.keys(0).Buyers, "a|u", "unreadable")
	n.jump(t, 2*time.Second)
	taps.scripts()
	past := time.Now().Add(time.Second) // past the gate
	require.Equal(t, ErrSoldOut, n.Reserve(n.order("a", "v", 1), past))
	require.Len(t, taps.scripts(), 2, "reserve.lua, and expire.lua in vain")
	past = past.Add(time.Second)
	require.Equal(t, ErrSoldOut, n.Reserve(n.order("a", "v", 1), past))
	require.Len(t, taps.scripts(), 1, "the hold is put off, so nothing is due")
}

// Nobody has to ask for a hold to expire.
func TestSweeper(t *testing.T) {
	n := startNode(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "sweeper"})
	n.product(t, "a", 1000, onSale)
	const holds = sweepHolds + 50 // more than one call looks at
	for range holds {
		n.hold(t, "a", "u", 2, 20*time.Millisecond)
	}
	kept := n.hold(t, "a", "v", 1, time.Hour)
	eventually(t, "the holds to expire", func() bool { return n.stock(t, "a").Held == 1 })
	require.Equal(t, Stock{Current: 999, Held: 1, Initial: 1000, Change: 1}, n.stock(t, "a"))
	require.Equal(t, StatusPending, n.find(t, kept.ID).Status)
	eventually(t, "the count", func() bool { return n.metrics.expired.Get() == holds })
}
