package persist_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A machine that vanishes must not keep its sessions, and with them a leader's lock; that they really end is shown where there
// is a network to be silent (internal/faults, TestAMachineThatVanishes). On a unix socket Postgres shows 0, but keeps what it
// was asked for.
func TestSessionsAskForAnEndToSilence(t *testing.T) {
	t.Parallel()
	pool := connect(t, newLedger(t))
	for name, want := range map[string]string{
		"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "1", "tcp_keepalives_count": "3", "tcp_user_timeout": "8000",
	} {
		var value, source string
		const query = `SELECT reset_val, source FROM pg_settings WHERE name = $1`
		require.NoError(t, pool.QueryRow(t.Context(), query, name).Scan(&value, &source))
		require.Equal(t, [...]string{want, "client"}, [...]string{value, source}, name)
	}
}
