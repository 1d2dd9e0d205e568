package persist

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// A process that is frozen keeps its connections, for its kernel goes on answering for it: only what is asked on them tells
// that nobody is there.
func TestALeaderThatAsksNothingLosesThePartition(t *testing.T) {
	t.Parallel()
	pool := ledger(t, 10)
	keeper := &Keeper{pool: pool}
	frozen, other := &follower{Keeper: keeper, log: slog.Default()}, &follower{Keeper: keeper, log: slog.Default()}
	first, second := sessionOf(t, pool), sessionOf(t, pool)
	elected, err := frozen.elect(t.Context(), first)
	require.NoError(t, err)
	require.True(t, elected)
	l := &leader{follower: frozen, conn: first.Conn(), last: context.Background()}
	require.NoError(t, l.allowSilence(t.Context(), 0))
	elected, err = other.elect(t.Context(), second)
	require.NoError(t, err)
	require.False(t, elected, "one leads")

	require.NoError(t, l.allowSilence(t.Context(), 50*time.Millisecond)) // and nothing after it
	devtest.Eventually(t, 20*time.Second, "another process to lead", func() bool {
		elected, err := other.elect(t.Context(), second)
		require.NoError(t, err)
		return elected
	})
	_, err = l.exec(t.Context(), `SELECT 1`)
	require.Error(t, err, "the thawed leader finds out")
}

func sessionOf(t *testing.T, pool *pgxpool.Pool) *pgxpool.Conn {
	t.Helper()
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	t.Cleanup(conn.Release)
	return conn
}

func TestAConnectionThatLedMayBeIdleAgain(t *testing.T) {
	t.Parallel()
	pool := ledger(t, 10)
	conn := connOf(t, pool)
	l := &leader{follower: &follower{}, conn: conn, last: context.Background()}
	setting := func() (value string) {
		require.NoError(t, conn.QueryRow(t.Context(), `SHOW idle_session_timeout`).Scan(&value))
		return value
	}
	before := setting()
	require.NoError(t, l.allowSilence(t.Context(), time.Minute))
	require.Equal(t, "1min", setting())
	resign(t.Context(), conn, 0)
	require.Equal(t, before, setting())
}
