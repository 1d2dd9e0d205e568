package persist

import (
	"bytes"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
)

// loaded is what a snapshot of a ledger brings, before anything of it goes to Redis: a chunk takes more than that.
func loaded(t *testing.T, l *leader, nowMs int64) *loader {
	t.Helper()
	to := &loader{
		keys:  engine.Keys{Stock: "stock", Terms: "terms", Buyers: "buyers", Orders: "orders", Expiry: "expiry", Even: "even", Odd: "odd"},
		pairs: make(map[string][]string), generation: l.generationOf(nowMs),
	}
	tx, err := l.beginSnapshot(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback(t.Context())) }()
	require.NoError(t, l.loadProducts(t.Context(), tx, to))
	require.NoError(t, l.loadBuyers(t.Context(), tx, to))
	require.NoError(t, l.loadHolds(t.Context(), tx, to))
	require.NoError(t, l.loadKeys(t.Context(), tx, to))
	return to
}

func leaderOn(t *testing.T, config KeeperConfig, units int64, entries ...engine.Entry) *leader {
	t.Helper()
	pool := ledger(t, units)
	commitEach(t, pool, entries...)
	config = config.withDefaults()
	return &leader{
		follower: &follower{Keeper: &Keeper{pool: pool, config: config}, log: config.Logger},
		conn:     connOf(t, pool), last: t.Context(),
	}
}

func TestARebuildRestoresHolds(t *testing.T) {
	hold, other := held(1, 2), held(2, 3)
	hold.Orders[0].Order.User, hold.Orders[0].Order.Product = "ann", "lamp"
	hold.Orders[0].Order.IdempotencyKey, hold.Orders[0].Order.Request = "k|1", "2;60000"
	other.Orders[0].Order.User = "bob"
	bought := entryOf(3, 1)
	bought.Orders[0].Order.User, bought.Orders[0].Order.CreatedAtMs = "ann", hold.TimeMs+500
	cancelled := held(4, 1)
	cancelled.Orders[0].Order.User, cancelled.Orders[0].Order.CreatedAtMs = "ann", hold.TimeMs+900
	cancelled.Orders[0].Order.Status = engine.StatusCancelled
	l := leaderOn(t, KeeperConfig{LockTTL: 5 * time.Second}, 10, hold, other, bought, cancelled,
		one(after(other.Orders[0], 5, engine.StatusPending, 3)))
	to := loaded(t, l, hold.TimeMs+1000)

	require.Equal(t, []string{"lamp", "4,5,1,10,1"}, to.pairs["stock"])
	require.Equal(t, []string{"lamp", "0,1,0,0,0"}, to.pairs["terms"])
	lock := func(ms int64) string { return strconv.FormatInt(ms+5000, 10) }
	require.ElementsMatch(t, []string{
		"lamp|ann", "1,2," + lock(hold.TimeMs+500) + "," + string(bought.Orders[0].Order.ID[:]), // a cancelled order locks nobody
		"lamp|bob", "0,3," + lock(hold.TimeMs) + "," + string(other.Orders[0].Order.ID[:]),
	}, to.pairs["buyers"])
	annID, bobID := string(hold.Orders[0].Order.ID[:]), string(other.Orders[0].Order.ID[:])
	t0 := strconv.FormatInt(hold.TimeMs, 10)
	expires := strconv.FormatInt(hold.TimeMs+60_000, 10)
	require.ElementsMatch(t, []string{
		annID, "p,1,2," + t0 + "," + t0 + "," + expires + ",0,0,lamp|ann|2;60000|k|1",
		bobID, "p,2,3," + t0 + "," + strconv.FormatInt(hold.TimeMs+1, 10) + "," + expires + ",0,0,lamp|bob",
	}, to.pairs["orders"])
	require.ElementsMatch(t, []string{expires, annID, expires, bobID}, to.pairs["expiry"])
}

func TestAHoldThatDoesNotFitIsLeftOut(t *testing.T) {
	var log bytes.Buffer
	first, second, third := held(2, 3), held(3, 4), held(4, 1)
	second.Orders[0].Order.CreatedAtMs++
	third.Orders[0].Order.CreatedAtMs += 2
	l := leaderOn(t, KeeperConfig{Logger: slog.New(slog.NewTextHandler(&log, nil))}, 10, entryOf(1, 4), first, second, third)
	to := loaded(t, l, first.TimeMs)
	require.Equal(t, []string{"lamp", "3,3,4,10,1"}, to.pairs["stock"])
	require.Len(t, to.pairs["orders"], 2)
	require.Len(t, to.pairs["expiry"], 2)
	require.Equal(t, 2, bytes.Count(log.Bytes(), []byte("a hold is left out")))
	require.Contains(t, log.String(), second.Orders[0].Order.ID.String())
	for i := 1; i < len(to.pairs["buyers"]); i += 2 {
		require.NotContains(t, to.pairs["buyers"][i], string(second.Orders[0].Order.ID[:]))
	}
}

func TestARebuildRestoresRecentIdempotencyKeys(t *testing.T) {
	const ttl = 3600_000
	keyed := func(sequence uint64, key string, createdMs int64) engine.Entry {
		e := entryOf(sequence, 1)
		o := &e.Orders[0].Order
		o.User, o.IdempotencyKey, o.Request = "ann", key, engine.RequestText(1, 0)
		o.CreatedAtMs, o.UpdatedAtMs = createdMs, createdMs
		return e
	}
	const generation = 472_223 // odd
	now := int64(generation*ttl + 10)
	this, last, old := keyed(1, "this", generation*ttl), keyed(2, "last", (generation-1)*ttl), keyed(3, "old", (generation-1)*ttl-1)
	l := leaderOn(t, KeeperConfig{IdempotencyTTL: ttl * time.Millisecond}, 10, this, last, old, entryOf(4, 1))
	to := loaded(t, l, now)
	require.EqualValues(t, generation, to.generation)
	pair := func(e engine.Entry) []string {
		o := &e.Orders[0].Order
		return []string{engine.IdempotencyField("lamp", "ann", o.IdempotencyKey), engine.IdempotencyValue(o)}
	}
	require.Equal(t, pair(this), to.pairs["odd"])
	require.Equal(t, pair(last), to.pairs["even"])
}

func TestLostOrdersCountAsTakenOnce(t *testing.T) {
	pool := ledger(t, 10)
	exec(t, pool, `ALTER TABLE orders ADD CONSTRAINT no_poison CHECK (user_id NOT LIKE 'poison%' AND status <> 'cancelled')`)
	twice, freed, kept := held(1, 2), held(2, 3), entryOf(3, 1)
	twice.Orders[0].Order.User, freed.Orders[0].Order.User = "poison-1", "poison-2"
	confirmed, expired := after(twice.Orders[0], 4, engine.StatusConfirmed, 2), after(freed.Orders[0], 5, engine.StatusExpired, 3)
	confirmed.Record, expired.Record = "c,2", "e,2"
	cancelled := after(kept.Orders[0], 6, engine.StatusCancelled, 1)
	cancelled.Record = "x,2"
	commitEach(t, pool, twice, freed, kept, one(confirmed), one(expired), one(cancelled))
	config := KeeperConfig{}.withDefaults()
	l := &leader{follower: &follower{Keeper: &Keeper{config: config}, log: config.Logger}, conn: connOf(t, pool), last: t.Context()}
	to := loaded(t, l, twice.TimeMs)
	require.Equal(t, []string{"lamp", "7,0,3,10,1"}, to.pairs["stock"])
	require.Len(t, to.pairs["buyers"], 4)
}
