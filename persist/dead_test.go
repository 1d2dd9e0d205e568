package persist

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
)

// What a rebuild makes of an order, and what is shown of it, where Postgres refuses some of its states.
func TestTheLastWordOnAnOrder(t *testing.T) {
	const pending, confirmed, cancelled, expired = engine.StatusPending, engine.StatusConfirmed, engine.StatusCancelled, engine.StatusExpired
	const resolve = `UPDATE dead_letters SET resolved_at = now()`
	cases := map[string]struct {
		states  []engine.Status
		refused string // versions
		last    int64  // units of the last state
		then    string
		stock   string
		holds   int
		shown   engine.Status
	}{
		"a dead confirm":                {[]engine.Status{pending, confirmed}, "2", 3, "", "7,0,3,10,1", 0, engine.StatusFailed},
		"a dead confirm of a part":      {[]engine.Status{pending, confirmed}, "2", 2, "", "8,0,2,10,1", 0, engine.StatusFailed},
		"a dead late confirm":           {[]engine.Status{pending, expired, confirmed}, "3", 3, "", "7,0,3,10,1", 0, engine.StatusFailed},
		"a dead confirm, dealt with":    {[]engine.Status{pending, confirmed}, "2", 3, resolve, "10,0,0,10,1", 0, engine.StatusFailed},
		"a dead confirm, put right":     {[]engine.Status{pending, confirmed}, "2", 3, resolve + `; UPDATE products SET sold = 3; UPDATE orders SET status = 'confirmed'`, "7,0,3,10,1", 0, confirmed},
		"a dead extension":              {[]engine.Status{pending, pending}, "2", 3, "", "7,3,0,10,1", 1, pending},
		"extension and confirm dead":    {[]engine.Status{pending, pending, confirmed}, "2, 3", 3, "", "7,0,3,10,1", 0, engine.StatusFailed},
		"confirm and cancel dead":       {[]engine.Status{pending, confirmed, cancelled}, "2, 3", 3, "", "7,3,0,10,1", 1, pending},
		"a dead confirm, cancelled":     {[]engine.Status{pending, confirmed, cancelled}, "2", 3, "", "10,0,0,10,1", 0, cancelled},
		"a dead cancel of what is sold": {[]engine.Status{pending, confirmed, cancelled}, "3", 3, "", "7,0,3,10,1", 0, confirmed},
		"a row of a later epoch":        {[]engine.Status{pending, confirmed}, "2", 3, `UPDATE orders SET epoch = 2, sequence = 1`, "7,3,0,10,1", 1, pending},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			l := leaderOn(t, KeeperConfig{}, 10)
			exec(t, l.pool, fmt.Sprintf(`ALTER TABLE orders ADD CONSTRAINT refused CHECK (version NOT IN (%s))`, c.refused))
			first := held(1, 3)
			commitEach(t, l.pool, first)
			for i, logged := 1, first.Orders[0]; i < len(c.states); i++ {
				quantity := int64(3)
				if i == len(c.states)-1 {
					quantity = c.last
				}
				logged = after(logged, uint64(i+1), c.states[i], quantity)
				logged.Record = logged.Order.Record()
				commitEach(t, l.pool, one(logged))
			}
			exec(t, l.pool, c.then)
			to := loaded(t, l, first.TimeMs)
			require.Equal(t, []string{"lamp", c.stock}, to.pairs["stock"])
			require.Len(t, to.pairs["orders"], 2*c.holds)
			require.Len(t, to.pairs["expiry"], 2*c.holds)
			view, err := NewStore(l.pool, nil).ledgerOrder(t.Context(), first.Orders[0].Order.ID)
			require.NoError(t, err)
			require.Equal(t, c.shown, view.Status)
		})
	}
}

func TestADeadConfirmIsWhatItsBuyerBought(t *testing.T) {
	l := leaderOn(t, KeeperConfig{}, 10)
	exec(t, l.pool, `ALTER TABLE orders ADD CONSTRAINT no_confirm CHECK (status <> 'confirmed')`)
	hold := held(1, 3)
	confirmed := after(hold.Orders[0], 2, engine.StatusConfirmed, 2)
	confirmed.Record = confirmed.Order.Record()
	commitEach(t, l.pool, hold, one(confirmed))
	to := loaded(t, l, hold.TimeMs)
	require.Len(t, to.pairs["buyers"], 2)
	require.Regexp(t, `^2,0,`, to.pairs["buyers"][1])
	require.EqualValues(t, 1, count(t, l.pool, `SELECT failed_orders FROM partitions WHERE pending_orders = 0`))

	view, err := NewStore(l.pool, nil).ledgerOrder(t.Context(), hold.Orders[0].Order.ID)
	require.NoError(t, err)
	require.Contains(t, view.Reason, "no_confirm")
	require.True(t, view.Durable)
	require.EqualValues(t, 2, view.Quantity, "what was confirmed")
	require.EqualValues(t, 2, view.Sequence, "where that is in the log")
}

func TestAnUnreadableLetterTakesNoLastWordAway(t *testing.T) {
	l := leaderOn(t, KeeperConfig{}, 10)
	exec(t, l.pool, `ALTER TABLE orders ADD CONSTRAINT no_confirm CHECK (status <> 'confirmed')`)
	hold := held(1, 3)
	confirmed := after(hold.Orders[0], 2, engine.StatusConfirmed, 3)
	confirmed.Record = confirmed.Order.Record()
	unreadable := engine.LoggedOrder{Record: "?", Err: errQuantity, Order: engine.Order{ID: hold.Orders[0].Order.ID, Sequence: 3}}
	commitEach(t, l.pool, hold, one(confirmed), one(unreadable))
	require.Equal(t, []string{"lamp", "7,0,3,10,1"}, loaded(t, l, hold.TimeMs).pairs["stock"])
	commitEach(t, l.pool, one(after(confirmed, 4, engine.StatusCancelled, 3)))
	require.EqualValues(t, 1, count(t, l.pool, `SELECT cancelled_orders FROM partitions WHERE failed_orders = 0`))
}

func TestARowThatHasTheLastWordAgainIsCountedAsWhatItIs(t *testing.T) {
	cases := map[string]struct {
		then  string
		next  engine.Status
		count string
	}{
		"it moved on in a later epoch": {
			`UPDATE orders SET epoch = 2, sequence = 1; UPDATE partitions SET pending_orders = 1, failed_orders = 0`,
			engine.StatusExpired, `SELECT expired_orders FROM partitions`,
		},
		"it was put right by hand": {
			`ALTER TABLE orders DROP CONSTRAINT no_confirm; UPDATE orders SET status = 'confirmed'; UPDATE products SET sold = 3;
			 UPDATE partitions SET confirmed_orders = 1, failed_orders = 0`,
			engine.StatusCancelled, `SELECT cancelled_orders FROM partitions`,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			l := leaderOn(t, KeeperConfig{}, 10)
			exec(t, l.pool, `ALTER TABLE orders ADD CONSTRAINT no_confirm CHECK (status <> 'confirmed')`)
			hold := held(1, 3)
			confirmed := after(hold.Orders[0], 2, engine.StatusConfirmed, 3)
			confirmed.Record = confirmed.Order.Record()
			commitEach(t, l.pool, hold, one(confirmed))
			exec(t, l.pool, c.then)
			commitEach(t, l.pool, one(after(confirmed, 3, c.next, 3)))
			require.EqualValues(t, 1, count(t, l.pool, c.count))
		})
	}
}

// keyTTL is how long keys are kept in the tests of them: generations of an hour.
const keyTTL = time.Hour

// keyedEntry is an entry with one order that has an idempotency key.
func keyedEntry(sequence uint64, key string, createdMs int64) engine.Entry {
	e := entryOf(sequence, 1)
	o := &e.Orders[0].Order
	o.User, o.IdempotencyKey, o.Request = "ann", key, engine.RequestText(1, 0)
	o.CreatedAtMs, o.UpdatedAtMs = createdMs, createdMs
	e.Orders[0].Record = o.Record()
	return e
}

func keyPair(e engine.Entry) []string {
	o := &e.Orders[0].Order
	return []string{engine.IdempotencyField("lamp", "ann", o.IdempotencyKey), engine.IdempotencyValue(o)}
}

func TestARebuildRestoresTheKeysOfDeadLetters(t *testing.T) {
	l := leaderOn(t, KeeperConfig{IdempotencyTTL: keyTTL}, 10)
	now := count(t, l.pool, `SELECT (extract(epoch FROM now()) * 1000)::bigint`)
	generation := l.generationOf(now)
	ttl := keyTTL.Milliseconds()
	this, last, old := keyedEntry(1, "this|key", now), keyedEntry(2, "last", (generation-1)*ttl), keyedEntry(3, "old", (generation-1)*ttl-1)
	garbled, nobody := keyedEntry(4, "garbled", now), keyedEntry(5, "nobody", now)
	garbled.Orders[0].Record, nobody.Orders[0].Order.ID = "c,?", engine.OrderID{}
	exec(t, l.pool, `ALTER TABLE orders ADD CONSTRAINT no_ann CHECK (user_id <> 'ann')`)
	commitEach(t, l.pool, this, last, old, garbled, entryOf(5, 1))
	exec(t, l.pool, `UPDATE dead_letters SET resolved_at = now() WHERE record LIKE '%last'`) // dealt with, and still its key's effect
	exec(t, l.pool, `INSERT INTO dead_letters (partition, epoch, sequence, idx, record, reason) VALUES (0, 1, 9, 0, $1, 'no id')`,
		nobody.Orders[0].Record)
	to := loaded(t, l, now)
	even, odd := keyPair(this), keyPair(last)
	if generation%2 == 1 {
		even, odd = odd, even
	}
	require.Equal(t, even, to.pairs["even"])
	require.Equal(t, odd, to.pairs["odd"])
}

// A rebuild on a server whose clock is behind that of the server which took the order: the script looks a key up among those
// of its own generation and of the one before, and forgets any hash that is older when the next one begins.
func TestAKeyFromAheadOfTheClockIsKeptWithThisGeneration(t *testing.T) {
	const generation = 472_224
	ttl := keyTTL.Milliseconds()
	for name, aheadMs := range map[string]int64{"a generation": ttl, "three generations": 3 * ttl} {
		t.Run(name, func(t *testing.T) {
			ahead, last := keyedEntry(1, "ahead", generation*ttl+aheadMs), keyedEntry(2, "last", generation*ttl-1)
			l := leaderOn(t, KeeperConfig{IdempotencyTTL: keyTTL}, 10, ahead, last)
			to := loaded(t, l, generation*ttl)
			require.Equal(t, keyPair(ahead), to.pairs["even"])
			require.Equal(t, keyPair(last), to.pairs["odd"])
		})
	}
}
