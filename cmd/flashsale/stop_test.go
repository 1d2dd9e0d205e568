package main

import (
	"fmt"
	"net/http"
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

// A frozen process, its machine awake, keeps its connections to Postgres and with them its partitions' locks: Postgres gives
// them to another process all the same. Thawed, it goes on as one of several.
func TestAFrozenProcessLosesItsPartitions(t *testing.T) {
	t.Parallel()
	s := newStores(t)
	leader := start(t, nil, s.env()...)
	leader.product("lamp", 100)
	other := start(t, nil, s.env()...)
	require.NoError(t, leader.cmd.Process.Signal(syscall.SIGSTOP))
	placed := 0
	eventually(t, "an order in the ledger, by the other process", func() bool {
		placed++
		status, _ := other.post("/orders", fmt.Sprintf(`{"productId":"lamp","userId":"buyer-%d","quantity":1,"durability":"ledger"}`, placed))
		return status == http.StatusCreated
	})
	require.NoError(t, leader.cmd.Process.Signal(syscall.SIGCONT))
	leader.sells("thawed")
	_, product := leader.get("/inventory/lamp")
	eventually(t, "what was sold to be in the ledger", func() bool {
		return float64(s.count(t, `SELECT count(*) FROM orders`)) == product["soldStock"]
	})
}
