package engine

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// Promise 19: a server that may throw stock away is refused, by its name.
func TestConnectRefusesAnEvictingServer(t *testing.T) {
	server := devtest.Redis(t, "appendonly no")
	client := connectTo(t, server.URL())
	for policy, refused := range map[string]bool{"allkeys-lru": true, "volatile-ttl": true, "noeviction": false} {
		require.NoError(t, client.Do(t.Context(), client.B().Arbitrary("CONFIG", "SET", "maxmemory-policy", policy).Build()).Error())
		other, err := Connect(t.Context(), server.URL())
		if !refused {
			require.NoError(t, err, "policy %s", policy)
			other.Close()
			continue
		}
		require.ErrorContains(t, err, policy)
		require.ErrorContains(t, err, "set it to noeviction")
	}
}

// A setting that is changed under a running service, or comes with a promoted replica, is told until it is put right.
func TestAServerThatBeginsToEvictIsTold(t *testing.T) {
	server := devtest.Redis(t, "appendonly no")
	n := startNode(t, connectTo(t, server.URL()), Config{})
	look := func(policy string) string {
		n.do(t, "CONFIG", "SET", "maxmemory-policy", policy)
		n.lookAtServers(t.Context())
		require.True(t, n.State(0).Open, "whether to stop is for people to decide")
		return n.State(0).Reason
	}
	require.Empty(t, look("noeviction"))
	require.Equal(t, unfitReason, look("allkeys-lru"))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	n.lookAtServers(gone)
	require.Equal(t, unfitReason, n.State(0).Reason, "no answer is no news")
	require.Empty(t, look("noeviction"))
}

func TestConnectRefuses(t *testing.T) {
	_, err := Connect(t.Context(), "http://example.org")
	require.ErrorContains(t, err, "redis address")
	for _, address := range []string{
		"redis://:can%ary@h:6379", "redis://:a/canary@h:6379", "redis://:a#canary@h:6379", "redis://:1/canary@h:6379",
		"canary://h", "redis://h/canary", "redis://h?db=canary", ":canary@h:6379",
	} {
		_, err := Connect(t.Context(), address)
		require.ErrorIs(t, err, errAddress, "%s", address)
		require.NotContains(t, err.Error(), "canary")
	}
	_, err = Connect(t.Context(), "unix:///nobody/listens/here.sock")
	require.ErrorContains(t, err, "connect to redis")
}

func TestKeyspaceIsClaimedOnce(t *testing.T) {
	client := connectTo(t, devtest.SharedRedis(t))
	n := newNode(t, client, Config{Prefix: "claim", Partitions: 2})
	defer n.do(t, "DEL", keyspaceKey("claim"))
	require.NoError(t, n.ClaimKeyspace(t.Context()))
	require.NoError(t, n.ClaimKeyspace(t.Context()), "the same number again")
	other, err := New(client, Config{Prefix: "claim", Partitions: 3})
	require.NoError(t, err)
	require.ErrorContains(t, other.ClaimKeyspace(t.Context()), "first used with 2 partitions, the setting says 3")
}

func TestConfigIsValidated(t *testing.T) {
	for name, config := range map[string]Config{
		"partitions":        {Partitions: MaxPartitions + 1},
		"in-flight calls":   {InFlight: maxInFlight + 1},
		"partitions ":       {Partitions: -1},
		"batch size":        {BatchSize: maxBatchSize + 1},
		"in-flight":         {InFlight: -1},
		"queue length":      {QueueLength: -1},
		"timeout":           {Timeout: time.Microsecond},
		"backlog cap":       {BacklogCap: -1},
		"lock not negative": {LockTTL: -1},
		"gate":              {GateTTL: time.Second},
		"key prefix":        {Prefix: "fs:{p00}"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(nil, config)
			require.ErrorContains(t, err, strings.TrimSpace(name))
		})
	}
	_, err := New(nil, Config{})
	require.NoError(t, err, "zero values become the defaults")
}
