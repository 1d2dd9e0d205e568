package engine

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

func (n *node) keyed(product, user string, quantity, holdMs int64, key string) (*Reservation, error) {
	r := n.order(product, user, quantity)
	r.HoldMs, r.Key = holdMs, key
	return r, n.Reserve(r, time.Now())
}

// Promise 2: fifty requests at once with one key are one order, and all get the same answer.
func TestOneKeyFiftyTimesAtOnce(t *testing.T) {
	n := lanesOnly(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "fifty", BatchSize: 7, LockTTL: time.Minute})
	n.product(t, "a", 1000, Terms{Active: true, PerUserLimit: 3})
	n.product(t, "b", 1000, onSale)
	for name, holdMs := range map[string]int64{"sold": 0, "held": 60_000} {
		t.Run(name, func(t *testing.T) {
			before := n.stock(t, "a")
			answers := make([]*Reservation, 50)
			errs := make([]error, len(answers))
			var group sync.WaitGroup
			for i := range answers {
				group.Go(func() { answers[i], errs[i] = n.keyed("a", name, 3, holdMs, "key") })
			}
			group.Wait()
			first := 0
			for i, r := range answers {
				require.NoError(t, errs[i])
				if !r.Replayed {
					first++
				}
				want := answers[0].Order
				require.Equal(t, []any{want.ID, want.Status, want.Quantity, want.CreatedAtMs, want.ExpiresAtMs},
					[]any{r.Order.ID, r.Order.Status, r.Order.Quantity, r.Order.CreatedAtMs, r.Order.ExpiresAtMs}, "the same answer")
			}
			require.Equal(t, 1, first, "one is answered as new")
			require.Equal(t, before.Current-3, n.stock(t, "a").Current, "one decrement")
			require.Len(t, n.history(t, answers[0].Order.ID), 1)
			_, err := n.keyed("a", name, 2, holdMs, "key")
			require.Equal(t, ErrKeyConflict, err, "another quantity")
			_, err = n.keyed("a", name, 3, holdMs+1, "key")
			require.Equal(t, ErrKeyConflict, err, "another time")
			other, err := n.keyed("a", name+"-friend", 3, holdMs, "key")
			require.NoError(t, err)
			require.False(t, other.Replayed, "keys are a buyer's own")
			other, err = n.keyed("b", name, 3, holdMs, "key")
			require.NoError(t, err)
			require.False(t, other.Replayed, "and a product's")
		})
	}
}

// What Reserve returns of a new order is what Redis has, its key included; a replay's fate is known no earlier than all
// that Redis had logged by then.
func TestKeyedOrderIsAsRedisHasIt(t *testing.T) {
	n := lanesOnly(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "keyedorder"})
	n.product(t, "a", 10, onSale)
	r, err := n.keyed("a", "u", 2, 60_000, "a|key")
	require.NoError(t, err)
	require.Equal(t, n.find(t, r.ID), r.Order)
	require.Equal(t, "2;60000", r.Order.Request)
	again, err := n.keyed("a", "u", 2, 60_000, "a|key")
	require.NoError(t, err)
	require.True(t, again.Replayed)
	require.Equal(t, r.Order.ID, again.Order.ID)
	n.Advance(0, Watermark{Epoch: 1, Sequence: 1})
	require.False(t, n.Durable(&again.Order), "the ledger has the product and not the order")
	n.Advance(0, Watermark{Epoch: 1, Sequence: 2, Orders: 1})
	require.True(t, n.Durable(&again.Order))
}

// A keyed order is outside the buyer lock but makes it; the limit holds for it too.
func TestKeyAndBuyerLock(t *testing.T) {
	n := lanesOnly(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "keylock", LockTTL: time.Minute})
	n.product(t, "a", 10, Terms{Active: true, PerUserLimit: 3})
	for i := range 3 {
		_, err := n.keyed("a", "u", 1, 0, strconv.Itoa(i))
		require.NoError(t, err, "each key is an order of its own")
	}
	_, err := n.keyed("a", "u", 1, 0, "3")
	require.Equal(t, ErrLimitExceeded, err)
	_, err = n.buy("a", "u", 1)
	require.Equal(t, ErrDuplicateOrder, err)
}

// Promise 18: the sold-out gate never stands before a request with a key.
func TestGateLetsKeysPass(t *testing.T) {
	taps := &tap{Client: connectTo(t, devtest.SharedRedis(t))}
	n := lanesOnly(t, taps, Config{Prefix: "gatekey"})
	n.product(t, "a", 1, onSale)
	r, err := n.keyed("a", "u", 1, 0, "key")
	require.NoError(t, err)
	require.Zero(t, r.Left)
	now := time.Now()
	for key, want := range map[string]struct {
		err   error
		calls int
	}{"": {ErrSoldOut, 0}, "key": {nil, 1}, "new key": {ErrSoldOut, 1}} {
		require.Equal(t, ErrSoldOut, n.Reserve(n.order("a", "v", 1), time.Now())) // hangs the sign anew
		taps.scripts()
		again := n.order("a", "u", 1)
		again.Key = key
		require.Equal(t, want.err, n.Reserve(again, now), "key %q", key)
		require.Len(t, taps.scripts(), want.calls, "key %q: calls", key)
		require.Equal(t, want.err == nil, again.Replayed)
	}
}

// A key is kept for one generation at the least and for two at the most, whoever else writes meanwhile, also after its
// order's record has left Redis.
func TestHowLongAKeyIsKept(t *testing.T) {
	client := connectTo(t, devtest.SharedRedis(t))
	const minute = 60_000
	even := time.Now().Add(time.Hour).UnixMilli() / (2 * minute) * (2 * minute)
	for name, test := range map[string]struct {
		made, asked int64 // after the beginning of a generation
		others      []int64
		replayed    bool
	}{
		"at once":                                {made: 0, asked: 0, replayed: true},
		"within the generation":                  {made: 0, asked: minute - 1, replayed: true},
		"a generation later":                     {made: minute - 1, asked: 2*minute - 2, replayed: true},
		"to the end of the next":                 {made: 0, asked: 2*minute - 1, replayed: true},
		"to the end of the next, others writing": {made: 0, asked: 2*minute - 1, others: []int64{1, minute, minute + 1}, replayed: true},
		"two generations later":                  {made: 0, asked: 2 * minute},
		"two generations later, others writing":  {made: minute - 1, asked: 2 * minute, others: []int64{minute}},
		"others writing in every generation":     {made: 0, asked: 2*minute + 1, others: []int64{minute, 2 * minute}},
		"others writing in all but one":          {made: 0, asked: 3*minute + 1, others: []int64{minute, 3 * minute}},
		"others writing after a pause":           {made: 0, asked: 2*minute + 1, others: []int64{2 * minute}},
		"three generations later":                {made: 0, asked: 3 * minute},
	} {
		for parity, base := range []int64{even, even + minute} {
			t.Run(fmt.Sprintf("%s, from generation %d", name, parity), func(t *testing.T) {
				n := lanesOnly(t, client, Config{Prefix: "kept", KeyTTL: time.Minute})
				n.product(t, "a", 1000, onSale)
				ask := func(at int64, user string) *Reservation {
					n.jumpTo(t, base+at)
					r, err := n.keyed("a", user, 1, 0, "key")
					require.NoError(t, err)
					return r
				}
				r := ask(test.made, "u")
				n.Advance(0, Watermark{Epoch: 1, Sequence: 2, Orders: 1})
				_, err := n.Trim(t.Context(), 0, 0, 10)
				require.NoError(t, err)
				for i, at := range test.others {
					ask(at, "other"+strconv.Itoa(i))
				}
				again := ask(test.asked, "u")
				require.Equal(t, test.replayed, again.Replayed)
				require.Equal(t, test.replayed, again.Order.ID == r.ID)
				require.Equal(t, base+test.asked, n.now(t))
			})
		}
	}
}
