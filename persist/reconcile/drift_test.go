package reconcile_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
	"flashsale/persist/reconcile"
)

// sold is a shop that has sold and held some of a lamp, with all of it drained.
type sold struct {
	*shop
	lamp         string
	keys         engine.Keys
	bought, held engine.OrderID // ann's 2 and bob's 3
}

// sell has some units sold, held and cancelled: 14 of 20 are left.
func (s *shop) sell(t testing.TB, lamp string) *sold {
	s.product(t, lamp, 20)
	made := &sold{shop: s, lamp: lamp, bought: s.buy(t, lamp, "ann", 2), held: s.hold(t, lamp, "bob", 3)}
	s.buy(t, lamp, "carol", 1)
	require.NoError(t, s.settle(t.Context(), s.hold(t, lamp, "dan", 1), engine.ActionCancel, 0))
	return made
}

// wanted is a finding that a drift must lead to, and nothing else.
type wanted struct {
	class         reconcile.Class
	product, user string
	order         *engine.OrderID
	redis, ledger string // what they must say, in part
}

// drifts are made by hand; each returns what must be found.
var drifts = map[string]func(t *testing.T, s *sold) wanted{
	"counter: a bumped counter in Redis": func(t *testing.T, s *sold) wanted {
		s.say(t, "HSET", s.keys.Stock, s.lamp, "12,3,5,20,1")
		return wanted{class: reconcile.Counter, product: s.lamp, redis: "12 on sale, 3 held, 5 sold", ledger: "14 on sale, 3 held, 3 sold"}
	},
	"counter: more on sale than there is": func(t *testing.T, s *sold) wanted {
		s.say(t, "HSET", s.keys.Stock, s.lamp, "15,3,3,21,1")
		return wanted{class: reconcile.Counter, product: s.lamp, redis: "21 units in all", ledger: "20 units in all"}
	},
	"counter: the ledger's units sold": func(t *testing.T, s *sold) wanted {
		s.tell(t, `UPDATE products SET sold = sold - 2 WHERE id = $1`, s.lamp)
		return wanted{class: reconcile.Counter, product: s.lamp, redis: "3 sold", ledger: "1 unit sold, its rows 3"}
	},
	"counter: the ledger's orders by state": func(t *testing.T, s *sold) wanted {
		s.tell(t, `UPDATE partitions SET cancelled_orders = cancelled_orders + 4`)
		return wanted{class: reconcile.Counter, ledger: "cancelled"}
	},
	"missing in the ledger: a row deleted": func(t *testing.T, s *sold) wanted {
		s.tell(t, `DELETE FROM orders WHERE id = $1`, s.bought)
		return wanted{
			class: reconcile.MissingInLedger, product: s.lamp, user: "ann", order: &s.bought,
			redis: "counts 2 bought", ledger: "0 bought",
		}
	},
	"missing in the ledger: a hold's row deleted": func(t *testing.T, s *sold) wanted {
		s.tell(t, `DELETE FROM orders WHERE id = $1`, s.held)
		return wanted{
			class: reconcile.MissingInLedger, product: s.lamp, user: "bob", order: &s.held,
			redis: "has it pending of 3 units", ledger: "has no such order",
		}
	},
	"missing in Redis: a hold is gone": func(t *testing.T, s *sold) wanted {
		s.say(t, "HDEL", s.keys.Orders, string(s.held[:]))
		s.say(t, "ZREM", s.keys.Expiry, string(s.held[:]))
		return wanted{
			class: reconcile.MissingInRedis, product: s.lamp, user: "bob", order: &s.held,
			redis: "has no such order", ledger: "has it pending of 3 units",
		}
	},
	"missing in Redis: a hold is gone with its units": func(t *testing.T, s *sold) wanted {
		s.say(t, "HDEL", s.keys.Orders, string(s.held[:]))
		s.say(t, "ZREM", s.keys.Expiry, string(s.held[:]))
		s.say(t, "HDEL", s.keys.Buyers, s.lamp+"|bob")
		s.say(t, "HSET", s.keys.Stock, s.lamp, "17,0,3,20,1")
		return wanted{class: reconcile.MissingInRedis, product: s.lamp, user: "bob", order: &s.held, redis: "has no such order", ledger: "pending"}
	},
	"missing in Redis: a sale that it does not count": func(t *testing.T, s *sold) wanted {
		s.say(t, "HDEL", s.keys.Buyers, s.lamp+"|ann")
		s.say(t, "HSET", s.keys.Stock, s.lamp, "16,3,1,20,1")
		return wanted{class: reconcile.MissingInRedis, product: s.lamp, user: "ann", redis: "does not know the buyer", ledger: "2 bought"}
	},
	"phantom: an order in Redis": func(t *testing.T, s *sold) wanted {
		id := engine.NewOrderID(s.PartitionOf(s.lamp), time.Now())
		s.say(t, "HSET", s.keys.Orders, string(id[:]), "c,1,2,1764000000000,1764000000000,0,3,3,"+s.lamp+"|eve")
		return wanted{class: reconcile.Phantom, product: s.lamp, user: "eve", order: &id, redis: "has it confirmed of 2 units", ledger: "has no such order"}
	},
	"phantom: a sale in the ledger": func(t *testing.T, s *sold) wanted {
		id := engine.NewOrderID(s.PartitionOf(s.lamp), time.Now())
		s.tell(t, `INSERT INTO orders SELECT $1, partition, product_id, 'eve', 2, 'confirmed', 1, epoch, sequence, 9, created_at, updated_at FROM orders WHERE id = $2`, id, s.bought)
		return wanted{class: reconcile.Phantom, product: s.lamp, user: "eve", order: &id, redis: "does not know the buyer", ledger: "2 bought"}
	},
	"phantom: a hold in the ledger": func(t *testing.T, s *sold) wanted {
		id := engine.NewOrderID(s.PartitionOf(s.lamp), time.Now())
		s.tell(t, `INSERT INTO orders SELECT $1, partition, product_id, 'eve', 2, 'pending', 1, epoch, sequence, 9, created_at, updated_at FROM orders WHERE id = $2`, id, s.bought)
		return wanted{class: reconcile.Phantom, product: s.lamp, user: "eve", order: &id, redis: "has no such order", ledger: "pending of 2 units"}
	},
	"orphaned hold: it would never expire": func(t *testing.T, s *sold) wanted {
		s.say(t, "ZREM", s.keys.Expiry, string(s.held[:]))
		return wanted{class: reconcile.OrphanedHold, product: s.lamp, user: "bob", order: &s.held, redis: "not among the holds that expire", ledger: "pending"}
	},
	"orphaned hold: nothing is there to expire": func(t *testing.T, s *sold) wanted {
		id := engine.NewOrderID(s.PartitionOf(s.lamp), time.Now())
		s.say(t, "ZADD", s.keys.Expiry, strconv.FormatInt(time.Now().Add(time.Hour).UnixMilli(), 10), string(id[:]))
		return wanted{class: reconcile.OrphanedHold, order: &id, redis: "has no such order; it is among the holds", ledger: "has no such order"}
	},
	"orphaned hold: it would last for ten hours more": func(t *testing.T, s *sold) wanted {
		s.say(t, "ZADD", s.keys.Expiry, "INCR", "36000000", string(s.held[:]))
		return wanted{class: reconcile.OrphanedHold, product: s.lamp, user: "bob", order: &s.held, redis: "among the holds that expire, at", ledger: "pending of 3 units"}
	},
	"orphaned hold: the ledger has another time": func(t *testing.T, s *sold) wanted {
		s.tell(t, `UPDATE orders SET expires_at = expires_at + interval '1 day' WHERE id = $1`, s.held)
		return wanted{class: reconcile.OrphanedHold, product: s.lamp, user: "bob", order: &s.held, redis: "among the holds that expire, at", ledger: "pending of 3 units"}
	},
	"orphaned hold: the ledger has no time": func(t *testing.T, s *sold) wanted {
		s.tell(t, `UPDATE orders SET expires_at = NULL WHERE id = $1`, s.held)
		return wanted{class: reconcile.OrphanedHold, product: s.lamp, user: "bob", order: &s.held, redis: "among the holds that expire, at", ledger: "without an end"}
	},
	"terms: another limit and a window in Redis": func(t *testing.T, s *sold) wanted {
		s.say(t, "HSET", s.keys.Terms, s.lamp, "7,1,1764000000000,0,60000")
		return wanted{
			class: reconcile.Terms, product: s.lamp, redis: "on sale from 2025-11-24T16:00:00Z, at most 7 units a buyer, holds up to 1m0s",
			ledger: "on sale, any number a buyer, no longest hold",
		}
	},
	"terms: Redis has none": func(t *testing.T, s *sold) wanted {
		s.say(t, "HDEL", s.keys.Terms, s.lamp)
		return wanted{class: reconcile.Terms, product: s.lamp, redis: "has no terms of the product", ledger: "on sale"}
	},
	"terms: switched off in the ledger": func(t *testing.T, s *sold) wanted {
		s.tell(t, `UPDATE products SET active = false WHERE id = $1`, s.lamp)
		return wanted{class: reconcile.Terms, product: s.lamp, redis: "on sale", ledger: "switched off"}
	},
	"buyer count: a buyer is lost": func(t *testing.T, s *sold) wanted {
		s.say(t, "HDEL", s.keys.Buyers, s.lamp+"|ann")
		return wanted{class: reconcile.BuyerCount, product: s.lamp, user: "ann", redis: "does not know the buyer", ledger: "2 bought"}
	},
	"dead letter": func(t *testing.T, s *sold) wanted {
		s.tell(t, `ALTER TABLE orders ADD CONSTRAINT no_poison CHECK (user_id <> 'poison')`)
		id := s.buy(t, s.lamp, "poison", 2)
		devtest.Eventually(t, patience, "the letter", func() bool { return s.count(t, `SELECT count(*) FROM dead_letters`) == 1 })
		s.tell(t, `ALTER TABLE orders DROP CONSTRAINT no_poison`)
		return wanted{class: reconcile.DeadLetter, product: s.lamp, user: "poison", order: &id, redis: "|poison", ledger: "no_poison"}
	},
	"undersell: units that are nowhere": func(t *testing.T, s *sold) wanted {
		s.say(t, "HSET", s.keys.Stock, s.lamp, "9,3,3,20,1")
		return wanted{class: reconcile.Undersell, product: s.lamp, redis: "9 on sale, 3 held, 3 sold", ledger: "14 on sale"}
	},
	"undersell: Redis has lost the product": func(t *testing.T, s *sold) wanted {
		s.say(t, "HDEL", s.keys.Stock, s.lamp)
		return wanted{class: reconcile.Undersell, product: s.lamp, redis: "does not know the product", ledger: "14 on sale"}
	},
}

// Promise 21: drift is found and explained, and --apply ends in a clean run.
func TestEveryKindOfDriftIsNamedAndRepaired(t *testing.T) {
	const shops = 2 // at work side by side, for the sake of time
	names := slices.Sorted(maps.Keys(drifts))
	for group := range shops {
		t.Run(fmt.Sprintf("shop %d", group), func(t *testing.T) {
			t.Parallel()
			s := newShop(t, fmt.Sprintf("drift-%d", group), 1)
			made := make(map[string]*sold)
			for i := group; i < len(names); i += shops {
				made[names[i]] = s.sell(t, fmt.Sprintf("lamp-%d", i))
			}
			s.drained(t)
			require.Empty(t, s.reconcile(t, reconcile.Config{}).Findings, "before any drift")
			for name, one := range made {
				t.Run(name, func(t *testing.T) {
					one.keys = s.keys(t, 0)
					one.requireNamedAndRepaired(t, drifts[name](t, one))
				})
			}
		})
	}
}

func (s *sold) requireNamedAndRepaired(t *testing.T, want wanted) {
	report := s.reconcile(t, reconcile.Config{})
	require.Equal(t, engine.ReconciledDrift, report.Outcome)
	require.Len(t, report.Findings, 1, "this drift, and nothing else: %+v", report.Findings)
	f := report.Findings[0]
	require.Equal(t, []string{string(want.class), want.product, want.user}, []string{string(f.Class), f.Product, f.User}, "%+v", f)
	if want.order != nil {
		require.Equal(t, want.order.String(), f.Order)
	}
	require.Contains(t, f.Redis, want.redis)
	require.Contains(t, f.Ledger, want.ledger)
	require.NotEmpty(t, f.Meaning)

	repair := s.reconcile(t, reconcile.Config{Apply: true})
	require.Equal(t, engine.ReconciledClean, repair.Outcome, "%+v", repair.Findings)
	require.Equal(t, 1, repair.Repaired)
	after := s.reconcile(t, reconcile.Config{})
	require.Equal(t, engine.ReconciledClean, after.Outcome, "%+v", after.Findings)
	s.requireInvariants(t)
	require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM reconcile_repairs WHERE run_id = $1`, repair.Run))
}
