package main

import (
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A Postgres that says nothing does not keep a process from ending: pgx would wait for each connection's goodbye for 15 s.
func TestAStopDoesNotWaitForASilentPostgres(t *testing.T) {
	t.Parallel()
	s := newStores(t)
	p := start(t, nil, s.env()...)
	p.product("console", 10)
	rows, err := s.pool.Query(t.Context(), `SELECT pid FROM pg_stat_activity
		WHERE datname = current_database() AND application_name = 'flashsale' AND pid <> pg_backend_pid()`)
	require.NoError(t, err)
	backends, err := pgx.CollectRows(rows, pgx.RowTo[int])
	require.NoError(t, err)
	require.NotEmpty(t, backends)
	t.Cleanup(func() {
		for _, backend := range backends {
			assert.NoError(t, syscall.Kill(backend, syscall.SIGCONT))
		}
	})
	for _, backend := range backends {
		require.NoError(t, syscall.Kill(backend, syscall.SIGSTOP))
	}
	require.Less(t, p.end(syscall.SIGTERM), 12*time.Second)
}
