package persist

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
)

// newLeader returns the leader of the only partition, which is open and empty.
func newLeader(t *testing.T) (*leader, *pgxpool.Pool, rueidis.Client) {
	t.Helper()
	pool := ledger(t, 10)
	exec(t, pool, `DELETE FROM products`)
	exec(t, pool, `UPDATE partitions SET epoch = 0, namespace = '', replid = '', sequence = 0`)
	client, err := engine.Connect(t.Context(), devtest.Redis(t).URL())
	require.NoError(t, err)
	t.Cleanup(client.Close)
	e, err := engine.New(client, engine.Config{Partitions: 1})
	require.NoError(t, err)
	l := &leader{follower: &follower{Keeper: NewKeeper(pool, e, KeeperConfig{}), log: slog.Default()}, conn: connOf(t, pool), last: t.Context()}
	l.link, err = e.Connect(t.Context(), 0)
	require.NoError(t, err)
	t.Cleanup(l.link.Close)
	for open := false; !open; { // a round brings the partition in line, the next one finds it so
		require.NoError(t, l.round(t.Context()))
		open = e.State(0).Open
	}
	return l, pool, client
}

func importMany(t *testing.T, pool *pgxpool.Pool, n int) {
	t.Helper()
	products := make([]engine.NewProduct, n)
	for i := range products {
		products[i].ID, products[i].Name, products[i].Actor = fmt.Sprintf("p-%05d", i), "n", "test"
		products[i].Stock.Initial, products[i].Terms.Active = 1, true
	}
	require.NoError(t, ImportProducts(t.Context(), pool, 1, products))
}

func untaken(t *testing.T, pool *pgxpool.Pool) int64 {
	t.Helper()
	return count(t, pool, `SELECT count(*) FROM products WHERE change_number > change_taken`)
}

// A portion is handed over, the log is drained up to it, orders and all, and the next portion does not wait.
func TestManyChangesAreHandedOverInPortions(t *testing.T) {
	l, pool, _ := newLeader(t)
	const rest = 3
	importMany(t, pool, 2*handOverPortion+rest)
	for _, left := range []int64{handOverPortion + rest, rest} {
		enough, err := l.handOver(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 2*handOverPortion+rest-left, enough)
		began := time.Now()
		require.NoError(t, l.drain(t.Context(), positionOf(t, pool), enough))
		require.Less(t, time.Since(began), followInterval, "the round goes on although more is to be handed over")
		require.Equal(t, left, untaken(t, pool))
		require.Equal(t, enough, positionOf(t, pool).sequence)
	}
	require.NoError(t, l.round(t.Context()))
	require.Zero(t, untaken(t, pool))
	require.EqualValues(t, 2*handOverPortion+rest, positionOf(t, pool).sequence, "each is handed over once")
}

// A change that Redis refuses for good leaves the others, and the orders, their way into the ledger.
func TestAChangeThatFailsStopsNoOther(t *testing.T) {
	l, pool, client := newLeader(t)
	importMany(t, pool, 100)
	keys, err := l.engine.EpochKeys(0, positionOf(t, pool).epoch)
	require.NoError(t, err)
	spoil := client.B().Hset().Key(keys.Stock).FieldValue().FieldValue("p-00000", "no counters").Build()
	require.NoError(t, client.Do(t.Context(), spoil).Error())
	require.ErrorContains(t, l.round(t.Context()), "hand over change 1 of p-00000")
	require.EqualValues(t, 1, untaken(t, pool))
	require.EqualValues(t, 99, positionOf(t, pool).sequence)
}
