package persist_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
)

// tamper writes a field of one of the hashes of the epoch in force, as a fault would.
func (s *stack) tamper(t testing.TB, n *node, product string, key func(engine.Keys) string, field, value string) {
	t.Helper()
	p := n.PartitionOf(product)
	keys, err := n.EpochKeys(p, n.State(p).Epoch)
	require.NoError(t, err)
	c := client(t, s.redisURL)
	require.NoError(t, c.Do(t.Context(), c.B().Hset().Key(key(keys)).FieldValue().FieldValue(field, value).Build()).Error())
}

func stockKey(k engine.Keys) string { return k.Stock }
func termsKey(k engine.Keys) string { return k.Terms }

func TestTheLedgerRefusesMoreSalesThanStock(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	n := s.start(t)
	n.product(t, "lamp", 3, onSale)
	s.tamper(t, n, "lamp", stockKey, "lamp", "5,0,0,5,1") // two units that nobody has
	epoch, _ := s.epochOf(t, n.PartitionOf("lamp"))

	var bought []engine.OrderID
	for i := range 5 {
		r, err := n.buy("lamp", fmt.Sprint("buyer-", i), 1)
		if err == nil {
			bought = append(bought, r.ID)
		}
	}
	require.Len(t, bought, 5)
	eventually(t, "a rebuild", func() bool {
		again, _ := s.epochOf(t, n.PartitionOf("lamp"))
		return again == epoch+1
	})
	n.AwaitOpen(t)
	require.EqualValues(t, 3, s.count(t, `SELECT sold FROM products WHERE id = 'lamp'`))
	for i, id := range bought {
		view, err := n.store.Order(t.Context(), id)
		require.NoError(t, err)
		want := engine.StatusConfirmed
		if i >= 3 {
			want = engine.StatusFailed // the latest, and only the excess
		}
		require.Equal(t, want, view.Status, "order %d", i)
	}
	stock, _, err := n.Stock(t.Context(), "lamp")
	require.NoError(t, err)
	require.Equal(t, engine.Stock{Sold: 3, Initial: 3, Change: 1}, stock)
	_, err = n.buy("lamp", "another", 1)
	require.ErrorIs(t, err, engine.ErrSoldOut)
}

func TestAPoisonOrderStopsOnlyItself(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	_, err := s.pool.Exec(t.Context(), `ALTER TABLE orders ADD CONSTRAINT no_poison CHECK (user_id <> 'poison')`)
	require.NoError(t, err)
	n := s.start(t)
	n.product(t, "lamp", 100, onSale)

	for i := range 20 {
		user := fmt.Sprint("buyer-", i)
		if i == 7 {
			user = "poison"
		}
		_, err := n.buy("lamp", user, 1)
		require.NoError(t, err)
	}
	s.appendEntry(t, n, "lamp", "orders", "1700000000000", "not-an-id", "not a record")
	s.appendEntry(t, n, "lamp", "orders", "1700000000000", "0123456789abcdef", "\xff\xfe\x00")
	s.appendEntry(t, n, "lamp", "orders", "1700000000000", "0123456789abcdef", "c,1,9223372036854775807,1,1,0,1,0,lamp|bob")
	s.appendEntry(t, n, "lamp", "change", "1700000000000", "\xff\x00", "1,1,APPLIED")
	_, err = n.buy("lamp", "after", 1)
	require.NoError(t, err)

	s.awaitLedger(t, n, "lamp", 20)
	require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM dead_letters WHERE user_id = 'poison' AND reason LIKE '%no_poison%'`))
	require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM dead_letters WHERE record = 'not a record'`))
	require.EqualValues(t, 5, s.count(t, `SELECT count(*) FROM dead_letters`))
	require.EqualValues(t, 0, s.count(t, `SELECT count(*) FROM orders WHERE user_id = 'poison'`))
	require.Positive(t, n.Watermark(n.PartitionOf("lamp")).Refused)
}

// However many orders an entry had that nobody can read, they do not wait for the ledger for ever: Redis says how many there were.
func TestOrdersOfADamagedEntryDoNotWaitForEver(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	s.config.Partitions = 1
	n := s.start(t)
	n.product(t, "lamp", 100, onSale)
	drained := func(orders int64) {
		t.Helper()
		eventually(t, fmt.Sprintf("the ledger to count %d orders", orders), func() bool {
			at := n.State(0)
			return at.Watermark.Orders == orders && at.Entries == 0 && at.Backlog == 0 && at.Lag == 0
		})
		require.EqualValues(t, orders, s.count(t, `SELECT orders FROM partitions`))
	}
	_, err := n.buy("lamp", "ann", 1)
	require.NoError(t, err)
	drained(1)
	s.tamper(t, n, "lamp", func(k engine.Keys) string { return k.Meta }, "orders", "4")
	s.appendEntry(t, n, "lamp", "accepted", "1700000000000", "1", "tokentoken123456", "1", "lamp|bob lamp|cid lamp|dan")
	drained(4)
	inLedger, now := n.Reservation("lamp", "eve", 1)
	inLedger.Durability = engine.DurabilityLedger
	require.NoError(t, n.Reserve(inLedger, now), "whoever waits for the ledger is not sent away")
}

// Changes of products say nothing of orders: where such an entry is the last of what is read at once and only changes follow, Redis
// is asked for the count with them.
func TestChangesBehindADamagedEntryDoNotHideItsOrders(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	s.config.Partitions = 1
	n := s.start(t)
	n.product(t, "lamp", 100, onSale)
	_, err := n.buy("lamp", "ann", 1)
	require.NoError(t, err)
	s.awaitLedger(t, n, "lamp", 1)
	keys, err := n.EpochKeys(0, n.State(0).Epoch)
	require.NoError(t, err)
	c := client(t, s.redisURL)
	const readAtOnce = 1024
	last, err := c.Do(t.Context(), c.B().Eval().Script(`
		local last = redis.call('HGET', KEYS[1], 'sequence')
		for i = 1, ARGV[1] + 6 do
			last = last + 1
			if i == tonumber(ARGV[1]) then
				redis.call('XADD', KEYS[2], last .. '-0', 'accepted', '1700000000000', '1', 'tokentoken123456', '1', 'lamp|bob lamp|cid lamp|dan')
			else
				redis.call('XADD', KEYS[2], last .. '-0', 'change', '1700000000000', 'lamp', '1,0,APPLIED')
			end
		end
		redis.call('HSET', KEYS[1], 'sequence', last, 'orders', '4')
		return last`).Numkeys(2).Key(keys.Meta, keys.Log).Arg(strconv.Itoa(readAtOnce)).Build()).AsInt64()
	require.NoError(t, err)
	eventually(t, "the ledger to count four orders", func() bool {
		at := n.State(0)
		return at.Watermark.Sequence == uint64(last) && at.Watermark.Orders == 4 && at.Backlog == 0
	})
}

func TestAnOrderOfAProductThatTheLedgerLacksIsBuried(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	s.config.Partitions = 1
	n := s.start(t)
	n.product(t, "lamp", 100, onSale)
	s.tamper(t, n, "lamp", stockKey, "ghost", "9,0,0,9,1")
	s.tamper(t, n, "lamp", termsKey, "ghost", "0,1,0,0,0")
	_, err := n.buy("ghost", "ann", 2)
	require.NoError(t, err)
	_, err = n.buy("lamp", "ann", 1)
	require.NoError(t, err)
	s.awaitLedger(t, n, "lamp", 1)
	require.EqualValues(t, 2, s.count(t, `SELECT quantity FROM dead_letters WHERE product_id = 'ghost' AND reason = 'the ledger has no such product'`))
}

// appendEntry adds an entry to a product's log with the next sequence, as a broken script would.
func (s *stack) appendEntry(t testing.TB, n *node, product string, fields ...string) {
	t.Helper()
	p := n.PartitionOf(product)
	keys, err := n.EpochKeys(p, n.State(p).Epoch)
	require.NoError(t, err)
	c := client(t, s.redisURL)
	next, err := c.Do(t.Context(), c.B().Hincrby().Key(keys.Meta).Field("sequence").Increment(1).Build()).AsInt64()
	require.NoError(t, err)
	args := append([]string{fmt.Sprintf("%d-0", next)}, fields...)
	require.NoError(t, c.Do(t.Context(), c.B().Arbitrary("XADD").Keys(keys.Log).Args(args...).Build()).Error())
}

func TestOpenDeadLettersCountAsTakenInARebuild(t *testing.T) {
	redis := devtest.Redis(t)
	s := newStack(t, redis.URL())
	_, err := s.pool.Exec(t.Context(), `ALTER TABLE orders ADD CONSTRAINT no_poison CHECK (user_id <> 'poison')`)
	require.NoError(t, err)
	n := s.start(t)
	n.product(t, "lamp", 5, engine.Terms{Active: true, PerUserLimit: 2})
	_, err = n.buy("lamp", "poison", 2)
	require.NoError(t, err)
	eventually(t, "the dead letter", func() bool { return s.count(t, `SELECT count(*) FROM dead_letters`) == 1 })

	c := client(t, redis.URL())
	require.NoError(t, c.Do(t.Context(), c.B().Flushall().Build()).Error())
	eventually(t, "sales to go on", func() bool {
		_, err := n.buy("lamp", "ann", 1)
		return err == nil
	})
	stock, _, err := n.Stock(t.Context(), "lamp")
	require.NoError(t, err)
	require.Equal(t, engine.Stock{Current: 2, Sold: 3, Initial: 5, Change: 1}, stock)
	_, err = n.buy("lamp", "poison", 1)
	require.ErrorIs(t, err, engine.ErrLimitExceeded)
}
