// Package devtest gives tests the servers they run on: real ones, which end with the test or with the tests of a package.
// Only test files may import it; internal/layout holds that.
package devtest

import (
	"io"
	"testing"

	"flashsale/internal/devstack"
)

// RedisServer is a private Redis that belongs to one test.
type RedisServer = devstack.RedisServer

// PostgresServer is a private Postgres cluster that belongs to one test.
type PostgresServer = devstack.PostgresServer

// Redis starts a private Redis, whatever REDIS_URL says, with the settings of `make run`; it ends with the test. Settings
// are lines as in redis.conf and come after ours: Redis(t, "appendonly no", "enable-debug-command yes").
func Redis(t testing.TB, settings ...string) *RedisServer {
	t.Helper()
	server, err := devstack.NewRedisServer(t.Context(), settings...)
	return untilEnd(t, server, err)
}

// Postgres starts a private Postgres, whatever DATABASE_URL says; it ends with the test. It survives Kill, not the machine:
// it does not wait for disks. Settings come after ours: Postgres(t, "fsync=on").
func Postgres(t testing.TB, settings ...string) *PostgresServer {
	t.Helper()
	server, err := shared.seed.NewServer(t.Context(), settings...)
	return untilEnd(t, server, err)
}

// Cluster starts a Redis Cluster of that many primaries without replicas, ends it with the test, and returns their
// addresses, like 127.0.0.1:40001, once every one of them reports cluster_state:ok.
func Cluster(t testing.TB, primaries int) []string {
	t.Helper()
	cluster, err := devstack.NewCluster(t.Context(), primaries, false)
	return untilEnd(t, cluster, err).Addresses()
}

// ReplicatedCluster is Cluster with a replica for each primary; it fails over by itself, after a second or two.
func ReplicatedCluster(t testing.TB, primaries int) *devstack.Cluster {
	t.Helper()
	cluster, err := devstack.NewCluster(t.Context(), primaries, true)
	return untilEnd(t, cluster, err)
}

// Sentinel starts a Redis with one replica and three Sentinels that watch over them; it fails over by itself, after a second
// or two. Settings are those of both servers.
func Sentinel(t testing.TB, settings ...string) *devstack.Sentinel {
	t.Helper()
	group, err := devstack.NewSentinel(t.Context(), settings...)
	return untilEnd(t, group, err)
}

// FreePort finds a port of 127.0.0.1 for a server of the test, such as a Redis with replicas:
// Redis(t, "bind 127.0.0.1", "port 40001").
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := devstack.FreePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// untilEnd fails the test where there is an error, and closes the server with the test.
func untilEnd[S io.Closer](t testing.TB, server S, err error) S {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}
