package devtest

import (
	"context"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// redisSay is one command to a Redis on a socket.
func redisSay(t *testing.T, url string, command ...string) string {
	t.Helper()
	reply, err := devstack.Ask(t.Context(), "unix", strings.TrimPrefix(url, "unix://"), command...)
	require.NoError(t, err)
	return reply
}

func ping(ctx context.Context, server *RedisServer) error {
	_, err := devstack.Ask(ctx, "unix", strings.TrimPrefix(server.URL(), "unix://"), "PING")
	return err
}

func query(t *testing.T, url, statement string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.Background()) }()
	var value string
	require.NoError(t, conn.QueryRow(t.Context(), statement).Scan(&value))
	return value
}

func TestRedisSurvivesAKill(t *testing.T) {
	t.Parallel()
	server := Redis(t)
	redisSay(t, server.URL(), "SET", "k", "kept")
	require.NoError(t, server.Kill())
	_, err := devstack.Ask(t.Context(), "unix", strings.TrimPrefix(server.URL(), "unix://"), "PING")
	require.Error(t, err)
	require.NoError(t, server.Kill(), "killing twice is harmless")
	require.NoError(t, server.Restart(t.Context()))
	assert.Equal(t, "kept", redisSay(t, server.URL(), "GET", "k"))
}

func TestRedisStopsAndRestarts(t *testing.T) {
	t.Parallel()
	server := Redis(t)
	redisSay(t, server.URL(), "SET", "k", "kept")
	require.NoError(t, server.Stop())
	require.NoError(t, server.Restart(t.Context()))
	require.NoError(t, server.Restart(t.Context()), "also while it runs")
	assert.Equal(t, "kept", redisSay(t, server.URL(), "GET", "k"))
}

func TestRedisPauses(t *testing.T) {
	t.Parallel()
	server := Redis(t)
	require.NoError(t, server.Pause())
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	answer := make(chan error, 1)
	go func() { answer <- ping(ctx, server) }()
	select {
	case err := <-answer:
		t.Fatalf("a paused Redis answered (%v)", err)
	case <-time.After(100 * time.Millisecond):
	}
	require.NoError(t, server.Resume())
	require.NoError(t, <-answer)
}

func TestRedisSettings(t *testing.T) {
	t.Parallel()
	server := Redis(t, "appendonly no", "save 60 1000", "enable-debug-command yes")
	info := redisSay(t, server.URL(), "INFO", "persistence")
	assert.Contains(t, info, "aof_enabled:0")
	assert.Equal(t, "OK", redisSay(t, server.URL(), "DEBUG", "SET-ACTIVE-EXPIRE", "1"))
}

func TestRedisReplicates(t *testing.T) {
	t.Parallel()
	port := strconv.Itoa(FreePort(t))
	primary := Redis(t, "bind 127.0.0.1", "port "+port)
	replica := Redis(t, "replicaof 127.0.0.1 "+port, "repl-diskless-sync-delay 0")
	redisSay(t, primary.URL(), "SET", "k", "copied")
	require.Eventually(t, func() bool {
		return strings.Contains(redisSay(t, replica.URL(), "INFO", "replication"), "master_link_status:up")
	}, 20*time.Second, 10*time.Millisecond)
	assert.Equal(t, "copied", redisSay(t, replica.URL(), "GET", "k"))
}

func TestSharedRedisIsOne(t *testing.T) {
	t.Setenv("REDIS_URL", "")
	assert.Equal(t, SharedRedis(t), SharedRedis(t))
}

func TestClusterIsReady(t *testing.T) {
	t.Parallel()
	addresses := Cluster(t, 3)
	require.Len(t, addresses, 3)
	moved := 0
	for _, address := range addresses {
		_, err := devstack.Ask(t.Context(), "tcp", address, "SET", "k", "v")
		if err != nil {
			require.ErrorContains(t, err, "MOVED")
			moved++
		}
	}
	assert.Equal(t, 2, moved, "one of three owns the slot")
}

func TestDatabasesAreSeparate(t *testing.T) {
	t.Parallel()
	first, second := Database(t), Database(t)
	require.NoError(t, execute(t.Context(), first, "CREATE TABLE only_here ()"))
	assert.Equal(t, "false", query(t, second, "SELECT (to_regclass('only_here') IS NOT NULL)::text"))
}

func TestDatabaseIsDropped(t *testing.T) {
	var url string
	t.Run("user", func(t *testing.T) { url = Database(t) })
	require.ErrorContains(t, execute(t.Context(), url, "SELECT"), "does not exist")
}

func TestDatabaseFromTemplate(t *testing.T) {
	template := "made " + strconv.FormatInt(time.Now().UnixNano(), 10) // once for each -count
	var prepared atomic.Int64
	prepare := func(url string) error {
		prepared.Add(1)
		return execute(context.Background(), url, "CREATE TABLE made AS SELECT 'once' AS v")
	}
	t.Run("copies", func(t *testing.T) {
		for _, name := range []string{"a", "b", "c"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				url := DatabaseFrom(t, template, prepare)
				assert.Equal(t, "once", query(t, url, "SELECT v FROM made"))
				require.NoError(t, execute(t.Context(), url, "DROP TABLE made"))
			})
		}
	})
	assert.Equal(t, int64(1), prepared.Load())
}

func TestPostgresSurvivesAKill(t *testing.T) {
	t.Parallel()
	server := Postgres(t)
	require.NoError(t, execute(t.Context(), server.URL(), "CREATE TABLE kept AS SELECT 'kept' AS v"))
	require.NoError(t, server.Kill())
	require.Error(t, execute(t.Context(), server.URL(), "SELECT"))
	require.NoError(t, server.Restart(t.Context()))
	assert.Equal(t, "kept", query(t, server.URL(), "SELECT v FROM kept"))
}

func TestPostgresServersAreSeparate(t *testing.T) {
	t.Parallel()
	first, second := Postgres(t), Postgres(t)
	require.NoError(t, first.Stop())
	assert.Equal(t, "1", query(t, second.URL(), "SELECT '1'"))
}
