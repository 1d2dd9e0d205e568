package persist

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
)

func TestAStormOfAlarmsLetsTheDrainTakeStepsAndPauses(t *testing.T) {
	pool := ledger(t, 10)
	client, err := engine.Connect(t.Context(), devtest.Redis(t).URL())
	require.NoError(t, err)
	t.Cleanup(client.Close)
	e, err := engine.New(client, engine.Config{Partitions: 1})
	require.NoError(t, err)
	l := &leader{follower: &follower{Keeper: NewKeeper(pool, e, KeeperConfig{}), log: slog.Default()}, conn: connOf(t, pool), last: t.Context()}
	l.link, err = e.Connect(t.Context(), 0)
	require.NoError(t, err)
	t.Cleanup(l.link.Close)
	replid, err := l.link.Replid(t.Context())
	require.NoError(t, err)
	exec(t, pool, `UPDATE partitions SET replid = $1`, replid)
	at := positionOf(t, pool)
	keys, err := e.EpochKeys(0, at.epoch)
	require.NoError(t, err)
	id := engine.NewOrderID(0, time.Now())
	add := client.B().Xadd().Key(keys.Log).Id("1-0").FieldValue().FieldValue("orders", "1").FieldValue(string(id[:]), "c,1,1,1,1,0,1,0,lamp|ann")
	require.NoError(t, client.Do(t.Context(), add.Build()).Error())
	require.NoError(t, e.Install(0, at.epoch))
	guard, err := e.Check(t.Context(), 0) // raises the alarm
	require.NoError(t, err)
	require.Equal(t, engine.GuardMissing, guard)

	began := time.Now()
	require.NoError(t, l.drain(t.Context(), at, 0))
	require.GreaterOrEqual(t, time.Since(began), alarmPause)
	require.EqualValues(t, 1, positionOf(t, pool).sequence)
}

func TestABrokenListenerIsLoggedOnceAndItsRecoveryToo(t *testing.T) {
	postgres := devtest.Postgres(t)
	pool, err := Connect(t.Context(), postgres.URL(), 1)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	var log devtest.Output
	k := &Keeper{pool: pool, config: KeeperConfig{Logger: slog.New(slog.NewTextHandler(&log, nil))}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- k.listen(ctx) }()
	await(t, "a listener", func() bool { return listeners(t, pool) == 1 })

	require.NoError(t, postgres.Kill())
	await(t, "the break", func() bool { return strings.Count(log.String(), "broke off") > 0 })
	require.NoError(t, postgres.Restart(t.Context()))
	await(t, "the recovery", func() bool { return strings.Count(log.String(), "in time again") > 0 })
	cancel()
	require.NoError(t, <-ended)
	require.Equal(t, 1, strings.Count(log.String(), "broke off"))
	require.Equal(t, 1, strings.Count(log.String(), "in time again"))
}

func listeners(t *testing.T, pool *pgxpool.Pool) int64 {
	return count(t, pool, `SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'`)
}

// await polls until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	require.Eventually(t, holds, 20*time.Second, 5*time.Millisecond, "waited in vain for %s", what)
}
