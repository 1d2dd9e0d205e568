package engine

import (
	"cmp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// An order whose product or buyer has less than it, or can't be read, is left as it is: giving back what nobody has
// would make units of nothing. A hold of that kind is put off.
func TestWhatDoesNotAddUpIsLeftAlone(t *testing.T) {
	client := connectTo(t, devtest.SharedRedis(t))
	const heldStock, soldStock = "7,3,0,10,1", "7,0,3,10,1"
	for name, test := range map[string]struct {
		sold  bool // the order; else it is a hold
		stock string
		buyer string // bought,held
		terms string
	}{
		"hold, product holds less":     {stock: "8,2,0,10,1", buyer: "0,3"},
		"hold, buyer holds less":       {stock: heldStock, buyer: "3,2"},
		"hold, product unreadable":     {stock: "7,3,0", buyer: "0,3"},
		"hold, buyer unreadable":       {stock: heldStock, buyer: "none"},
		"hold, terms unreadable":       {stock: heldStock, buyer: "0,3", terms: "yes"},
		"sale, product has sold less":  {sold: true, stock: "5,3,2,10,1", buyer: "3,0"},
		"sale, buyer has bought less":  {sold: true, stock: soldStock, buyer: "2,3"},
		"sale, the buyer is not there": {sold: true, stock: soldStock},
		"sale, product unreadable":     {sold: true, stock: "-7,0,3,10,1", buyer: "3,0"},
		"sale, terms unreadable":       {sold: true, stock: soldStock, buyer: "3,0", terms: "0,2,0,0,0"},
	} {
		t.Run(name, func(t *testing.T) {
			n := lanesOnly(t, client, Config{Prefix: "corrupt", MaxExtensions: 1})
			n.product(t, "a", 10, onSale)
			r := n.hold(t, "a", "u", 3, time.Minute)
			if test.sold {
				_, err := n.confirm(r.ID, 0)
				require.NoError(t, err)
			}
			k := n.keys(0)
			n.do(t, "HSET", k.Stock, "a", test.stock)
			n.do(t, "HSET", k.Terms, "a", cmp.Or(test.terms, "0,1,0,0,0"))
			n.do(t, "HDEL", k.Buyers, "a|u")
			if test.buyer != "" {
				n.do(t, "HSET", k.Buyers, "a|u", test.buyer+",0,"+string(r.ID[:]))
			}
			before := dumpKeys(t, client, "corrupt*")
			for _, action := range []Action{ActionConfirm, ActionCancel, ActionExtend} {
				done, err := n.settle(&Transition{ID: r.ID, Action: action, HoldFor: 2 * time.Minute})
				require.Equal(t, ErrCorruptOrder, err, "%c", action)
				require.Equal(t, r.ID, done.Order.ID, "the order is told as it is")
			}
			require.Equal(t, before, dumpKeys(t, client, "corrupt*"), "nothing may have changed")
			if test.sold {
				return
			}
			n.jumpTo(t, r.Order.ExpiresAtMs)
			require.Zero(t, n.sweepOnce(t))
			due, err := client.Do(t.Context(), client.B().Zscore().Key(k.Expiry).Member(string(r.ID[:])).Build()).AsFloat64()
			require.NoError(t, err)
			require.Equal(t, r.Order.ExpiresAtMs+sweepPostpone.Milliseconds(), int64(due), "when the hold is looked at again")
			n.do(t, "HSET", k.Stock, "a", heldStock)
			n.do(t, "HSET", k.Terms, "a", "0,1,0,0,0")
			n.do(t, "HSET", k.Buyers, "a|u", "0,3,0,")
			require.Zero(t, n.sweepOnce(t), "not yet")
			n.jump(t, sweepPostpone)
			require.Equal(t, int64(1), n.sweepOnce(t), "once it has been repaired")
			require.Equal(t, Stock{Current: 10, Initial: 10, Change: 1}, n.stock(t, "a"))
		})
	}
}

// Only a hold expires: whatever else is among the holds leaves the set, though its buyer holds as many units elsewhere.
func TestOnlyHoldsExpire(t *testing.T) {
	client := connectTo(t, devtest.SharedRedis(t))
	n := lanesOnly(t, client, Config{Prefix: "strays"})
	n.product(t, "a", 10, onSale)
	n.hold(t, "a", "u", 3, time.Hour)
	sold, err := n.buy("a", "u", 3)
	require.NoError(t, err)
	cancelled := n.hold(t, "a", "u", 1, time.Minute)
	_, err = n.cancel(cancelled.ID)
	require.NoError(t, err)
	k := n.keys(0)
	before := dumpKeys(t, client, "strays*")
	n.do(t, "HSET", k.Orders, "unreadable", "p,1")
	for _, id := range []string{string(sold.ID[:]), string(cancelled.ID[:]), "unreadable", "nobody's"} {
		n.do(t, "ZADD", k.Expiry, "1", id)
	}
	require.Zero(t, n.sweepOnce(t))
	n.do(t, "HDEL", k.Orders, "unreadable")
	require.Equal(t, before, dumpKeys(t, client, "strays*"), "nothing else may have changed")
}
