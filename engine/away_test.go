package engine

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// What waiting may cure is told from what is set up wrong.
func TestAway(t *testing.T) {
	server := devtest.Redis(t)
	admin := connectTo(t, server.URL())
	require.NoError(t, admin.Do(t.Context(), admin.B().Arbitrary("CONFIG", "SET", "requirepass", "secret").Build()).Error())
	_, err := Connect(t.Context(), server.URL())
	require.ErrorContains(t, err, "NOAUTH")
	require.False(t, Away(err))
	require.NoError(t, server.Kill())
	_, err = Connect(t.Context(), server.URL())
	require.Error(t, err)
	require.True(t, Away(err), "%v", err)
	require.True(t, Away(context.DeadlineExceeded))
	require.False(t, Away(fmt.Errorf("redis: %w", unfit("too old"))))
	_, err = Connect(t.Context(), "http://example.org")
	require.False(t, Away(err))
	require.False(t, Away(nil))
}

// A user who lacks any one command is refused by its name, and nothing is written meanwhile.
func TestRights(t *testing.T) {
	port := devtest.FreePort(t)
	admin := connectTo(t, devtest.Redis(t, "bind 127.0.0.1", "port "+strconv.Itoa(port)).URL())
	limit := func(rules ...string) error {
		command := append([]string{"ACL", "SETUSER", "shop", "reset", "on", "nopass", "~rights:*", "+@all"}, rules...)
		require.NoError(t, admin.Do(t.Context(), admin.B().Arbitrary(command...).Build()).Error())
		e, err := New(connectTo(t, fmt.Sprintf("redis://shop:x@127.0.0.1:%d", port)), Config{Prefix: "rights"})
		require.NoError(t, err)
		return e.CheckRights(t.Context())
	}
	require.NoError(t, limit())
	for _, command := range []string{"xadd", "hmget", "evalsha", "bgrewriteaof", "wait", "multi", "zrem"} {
		err := limit("-" + command)
		require.ErrorContains(t, err, "lacks +"+command)
		require.False(t, Away(err))
	}
	require.ErrorContains(t, limit("-xadd", "-hset"), "lacks +hset +xadd")
	require.ErrorContains(t, limit("resetkeys", "~other:*"), "it needs ~rights:*")
	keys, err := admin.Do(t.Context(), admin.B().Dbsize().Build()).AsInt64()
	require.NoError(t, err)
	require.Zero(t, keys)
}
