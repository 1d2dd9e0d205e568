package persist

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
)

const (
	waitsForStandby = `SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`
	ordersThere     = `SELECT count(*) FROM orders`
)

// standbyAway is a ledger whose synchronous standby is not there, and the way to have it do without.
func standbyAway(t *testing.T) (pool *pgxpool.Pool, doWithout func()) {
	t.Helper()
	pool, err := Connect(t.Context(), devtest.Postgres(t).URL(), 4)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	prepareLedger(t, pool, 100)
	names := func(name string) {
		exec(t, pool, `ALTER SYSTEM SET synchronous_standby_names = `+name) // is no commit that waits
		exec(t, pool, `SELECT pg_reload_conf()`)
	}
	names(`'away'`)
	devtest.Eventually(t, 10*time.Second, "the standby to be asked for", func() bool {
		return count(t, pool, `SELECT count(*) FROM pg_settings WHERE name = 'synchronous_standby_names' AND setting = 'away'`) == 1
	})
	return pool, func() { names(`''`) }
}

// What the standby lacks is gone with the primary. Postgres shows a commit before the standby has it as soon as its wait is
// cancelled, and whoever waits for mode ledger would be told yes.
func TestACommitThatWaitsForItsStandbyIsNotBrokenOff(t *testing.T) {
	pool, doWithout := standbyAway(t)
	at, conn := positionOf(t, pool), connOf(t, pool)
	ctx, giveUp := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := commit(ctx, conn, 0, at, []engine.Entry{entryOf(1, 3)})
		done <- err
	}()
	devtest.Eventually(t, 10*time.Second, "the commit to wait for the standby", func() bool { return count(t, pool, waitsForStandby) == 1 })
	giveUp()
	require.ErrorIs(t, <-done, context.Canceled)
	_ = conn.PgConn().Conn().Close() // pgx would wait 15 s for Postgres' goodbye
	<-conn.PgConn().CleanupDone()    // it has asked for what it asks for by now
	require.EqualValues(t, 1, count(t, pool, waitsForStandby), "Postgres waits on")
	require.Zero(t, count(t, pool, ordersThere), "what the standby lacks is no row")
	require.Equal(t, at, positionOf(t, pool))
	_, err := MigrateUp(t.Context(), pool)
	require.NoError(t, err, "a process may start meanwhile")
	require.NoError(t, EnsurePartitions(t.Context(), pool, 1), "a process may start meanwhile")

	doWithout()
	devtest.Eventually(t, 10*time.Second, "the commit to come true", func() bool { return count(t, pool, ordersThere) == 3 })
}
