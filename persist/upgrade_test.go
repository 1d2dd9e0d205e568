package persist

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pressly/goose/v3"
	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
)

// oldLedger is a ledger of the first version, 00001, with rows of every state that it knew.
func oldLedger(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := Connect(t.Context(), devtest.Database(t), 4)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.NoError(t, withGoose(pool, func(p *goose.Provider) error {
		_, err := p.UpTo(t.Context(), 1)
		return err
	}))
	require.NoError(t, EnsurePartitions(t.Context(), pool, 2))
	exec(t, pool, `UPDATE partitions SET epoch = 1, namespace = '1-0123456789abcdef', replid = 'r' WHERE partition = 0`)
	exec(t, pool, `INSERT INTO products (id, partition, name, price_cents, initial_stock, sold, change_number, change_taken)
		VALUES ('lamp', 0, 'lamp', 0, 10, 2, 1, 1)`)
	exec(t, pool, `INSERT INTO stock_changes (product_id, number, kind, amount, at_once, name, price_cents, per_user_limit, active, actor)
		VALUES ('lamp', 1, 'add', 10, true, 'lamp', 0, 0, true, 'test')`)
	for i, status := range []string{"confirmed", "confirmed", "failed"} {
		exec(t, pool, `INSERT INTO orders (id, partition, product_id, user_id, quantity, status, version, epoch, sequence, idx, created_at, updated_at)
			VALUES ($1, 0, 'lamp', $2, 1, $3, 1, 1, 1, 0, 'epoch', 'epoch')`, engine.NewOrderID(0, time.Now()), fmt.Sprint("user-", i), status)
	}
	for range 2 { // of one order
		exec(t, pool, `INSERT INTO dead_letters (partition, epoch, sequence, idx, order_id, product_id, user_id, quantity, record, reason)
			VALUES (0, 1, 1, 0, '01a2036b-0b73-7000-b847-50bfa354bc8c', 'lamp', 'dead', 1, 'c,1', 'test')`)
	}
	exec(t, pool, `INSERT INTO dead_letters (partition, epoch, sequence, idx, record, reason) VALUES (0, 1, 1, 0, '?', 'test')`)
	exec(t, pool, `UPDATE partitions SET sequence = 1, orders = 5 WHERE partition = 0`)
	return pool
}

func TestAnUpgradeCountsWhatIsThere(t *testing.T) {
	pool := oldLedger(t)
	_, err := MigrateUp(t.Context(), pool)
	require.NoError(t, err)
	requireStates(t, pool, 2, 2)
	require.NotEmpty(t, positionOf(t, pool).rebuildReason)
	require.EqualValues(t, 1, count(t, pool, `SELECT count(*) FROM partitions WHERE rebuild_reason IS NULL`),
		"a partition that Redis never held is not rebuilt")

	for undone := (Migration{}); undone.Version != 2; {
		undone, err = MigrateDown(t.Context(), pool)
		require.NoError(t, err)
	}
	require.EqualValues(t, 3, count(t, pool, `SELECT count(*) FROM orders`))
	_, err = MigrateUp(t.Context(), pool)
	require.NoError(t, err)
	requireStates(t, pool, 2, 2)
}

// Step 6: of letters that are open nobody knows who was told of them; those of orders sold at once get their record; a yes that
// the ledger refused is a promise to be dealt with.
func TestAnUpgradeKnowsNothingOfWhoWasTold(t *testing.T) {
	pool := oldLedger(t)
	id := engine.NewOrderID(0, time.UnixMilli(1_764_000_000_123))
	exec(t, pool, `INSERT INTO dead_letters (partition, epoch, sequence, idx, order_id, product_id, user_id, quantity, record, reason)
		VALUES (0, 1, 7, 0, $1, 'ghost', 'ann', 2, '', 'the ledger has no such product')`, id)
	exec(t, pool, `UPDATE orders SET reason = $1 WHERE status = 'failed'`, reasonOversold)
	_, err := MigrateUp(t.Context(), pool)
	require.NoError(t, err)
	require.EqualValues(t, 3, count(t, pool, `SELECT count(*) FROM dead_letters WHERE told_failed_at IS NOT NULL`))
	var record string
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT record FROM dead_letters WHERE order_id = $1`, id).Scan(&record))
	order, err := engine.ParseRecord(id, record)
	require.NoError(t, err)
	require.Equal(t, engine.Order{
		ID: id, Product: "ghost", User: "ann", Quantity: 2, Status: engine.StatusConfirmed, Version: 1, Sequence: 7,
		CreatedAtMs: 1_764_000_000_123, UpdatedAtMs: 1_764_000_000_123,
	}, order)
	require.EqualValues(t, 1, count(t, pool, `SELECT count(*) FROM refusals WHERE user_id = 'user-2' AND resolved_at IS NULL`))
}

// Step 7: other indexes, the same rows in the same file, and back.
func TestAnUpgradeLeavesTheOrdersWhereTheyAre(t *testing.T) {
	pool := oldLedger(t)
	require.NoError(t, withGoose(pool, func(p *goose.Provider) error {
		_, err := p.UpTo(t.Context(), 6)
		return err
	}))
	const file = `SELECT pg_relation_filenode('orders')::bigint`
	named := func(like string) int64 {
		return count(t, pool, `SELECT count(*) FROM pg_indexes WHERE tablename = 'orders' AND indexdef LIKE '`+like+`'`)
	}
	before := count(t, pool, file)
	for range 2 {
		_, err := MigrateUp(t.Context(), pool)
		require.NoError(t, err)
		require.Equal(t, before, count(t, pool, file), "the table was written anew")
		require.EqualValues(t, 1, named("%(user_id, created_at)"))
		require.Zero(t, named("%idempotency_key%"))

		for undone := (Migration{}); undone.Version != 7; {
			undone, err = MigrateDown(t.Context(), pool)
			require.NoError(t, err)
		}
		require.Equal(t, before, count(t, pool, file))
		require.EqualValues(t, 1, named("%(user_id, created_at, id)"))
		require.EqualValues(t, 1, named("%idempotency_key%"))
	}
}

func requireStates(t *testing.T, pool *pgxpool.Pool, confirmed, failed int64) {
	t.Helper()
	require.Equal(t, confirmed, count(t, pool, `SELECT confirmed_orders FROM partitions WHERE partition = 0`))
	require.Equal(t, failed, count(t, pool, `SELECT failed_orders FROM partitions WHERE partition = 0`))
	require.Zero(t, count(t, pool, `SELECT sum(pending_orders + cancelled_orders + expired_orders)::bigint FROM partitions`))
}

// oldRedis holds partition 0 as the first version left it: terms of four fields, and an order that nobody drained.
func oldRedis(t *testing.T, pool *pgxpool.Pool) (rueidis.Client, engine.Keys) {
	t.Helper()
	client, err := engine.Connect(t.Context(), devtest.Redis(t).URL())
	require.NoError(t, err)
	t.Cleanup(client.Close)
	e, err := engine.New(client, engine.Config{Partitions: 2})
	require.NoError(t, err)
	link, err := e.Connect(t.Context(), 0)
	require.NoError(t, err)
	defer link.Close()
	replid, err := link.Replid(t.Context())
	require.NoError(t, err)
	exec(t, pool, `UPDATE partitions SET replid = $1 WHERE partition = 0`, replid)
	keys, err := e.EpochKeys(0, engine.Epoch{Number: 1, Namespace: "1-0123456789abcdef"})
	require.NoError(t, err)
	id := engine.NewOrderID(0, time.Now())
	for _, command := range [][]string{
		{"HSET", keys.Meta, "state", "open", "replid", replid, "epoch", "1", "orders", "6", "sequence", "2", "time", "1"},
		{"HSET", keys.Stock, "lamp", "7,0,3,10,1"},
		{"HSET", keys.Terms, "lamp", "0,1,0,0"},
		{"XADD", keys.Log, "2-0", "orders", "1700000000000", string(id[:]), "c,1,1,1700000000000,1700000000000,0,2,0,lamp|late"},
	} {
		do := client.B().Arbitrary(command[0]).Keys(command[1]).Args(command[2:]...).Build()
		require.NoError(t, client.Do(t.Context(), do).Error())
	}
	return client, keys
}

func TestAnUpgradedPartitionIsDrainedAndThenWrittenAnew(t *testing.T) {
	pool := oldLedger(t)
	client, old := oldRedis(t, pool)
	_, err := MigrateUp(t.Context(), pool)
	require.NoError(t, err)
	e, err := engine.New(client, engine.Config{Partitions: 2})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- NewKeeper(pool, e, KeeperConfig{}).Run(ctx) }()
	defer func() { cancel(); require.NoError(t, <-ended) }()

	await(t, "a new epoch", func() bool { return positionOf(t, pool).epoch.Number == 2 && e.State(0).Open })
	require.EqualValues(t, 1, count(t, pool, `SELECT count(*) FROM orders WHERE user_id = 'late'`), "what was not drained was drained first")
	keys, err := e.EpochKeys(0, positionOf(t, pool).epoch)
	require.NoError(t, err)
	require.Equal(t, "0,1,0,0,0", hashField(t, client, keys.Terms, "lamp"))
	require.Equal(t, "6,0,4,10,1", hashField(t, client, keys.Stock, "lamp"), "three orders and one that only has dead letters")
	requireStates(t, pool, 3, 2)
	await(t, "the old namespace to go", func() bool {
		n, err := client.Do(t.Context(), client.B().Exists().Key(old.All()...).Build()).AsInt64()
		require.NoError(t, err)
		return n == 0
	})
}

func hashField(t *testing.T, client rueidis.Client, key, field string) string {
	t.Helper()
	value, err := client.Do(t.Context(), client.B().Hget().Key(key).Field(field).Build()).ToString()
	require.NoError(t, err, "%s %q", key, field)
	return value
}

// A row is updated in place only where no index, nor its predicate, has a column that an update changes.
func TestNoIndexOfOrdersHasWhatAnUpdateChanges(t *testing.T) {
	pool := ledger(t, 1)
	const query = `SELECT count(*) FROM pg_indexes WHERE tablename = 'orders' AND indexdef ~
		'\m(quantity|status|version|epoch|sequence|idx|updated_at|expires_at|reason|recorded_at)\M'`
	require.Zero(t, count(t, pool, query))
	require.EqualValues(t, 2, count(t, pool, `SELECT count(*) FROM pg_indexes WHERE tablename = 'orders'`))
}
