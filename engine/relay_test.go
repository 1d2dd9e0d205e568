package engine

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// A client that never answers again, though its server does, is replaced under those who use it, and the orders go through.
func TestABrokenClientIsReplaced(t *testing.T) {
	t.Parallel()
	server := devtest.Redis(t)
	n := startNode(t, connectTo(t, server.URL()), Config{})
	n.product(t, "a", 10, onSale)
	r, ok := n.Engine.client.(*relay)
	require.True(t, ok)
	broken := r.now()
	broken.Close()
	_, err := n.buy("a", "ann", 1)
	require.Error(t, err)
	eventually(t, "orders to go through", func() bool {
		_, err := n.buy("a", "bob", 1)
		return err == nil
	})
	require.NotSame(t, broken, r.now())
	require.EqualValues(t, 1, n.metrics.clientsRenewed.Get())
}

// A server that is away is no reason to blame the client.
func TestAClientOfADeadServerStays(t *testing.T) {
	t.Parallel()
	server := devtest.Redis(t)
	client := connectTo(t, server.URL())
	e, err := New(client, Config{})
	require.NoError(t, err)
	r, ok := client.(*relay)
	require.True(t, ok)
	before := r.now()
	require.True(t, all(e.reached(t.Context(), before)))
	require.NoError(t, server.Kill())
	require.False(t, all(e.reached(t.Context(), before)))
	require.False(t, e.renew(t.Context(), r))
	require.Same(t, before, r.now())
}

// Of two servers one is away for good, and the client has lost its way to the other: a new one is put in force all the same.
func TestABetterClientReachesMoreThanBefore(t *testing.T) {
	for name, c := range map[string]struct {
		fresh, now []bool
		want       bool
	}{
		"all again":                        {[]bool{true, true}, []bool{false, false}, true},
		"one is away for both":             {[]bool{true, false}, []bool{false, false}, true},
		"no more than before":              {[]bool{true, false}, []bool{true, false}, false},
		"another one instead":              {[]bool{true, false}, []bool{false, true}, false},
		"nothing":                          {[]bool{false, false}, []bool{false, false}, false},
		"it found its way in the meantime": {[]bool{true, true}, []bool{true, true}, false},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, better(c.fresh, c.now)) })
	}
}

// A server that accepts connections and says nothing: whoever connects is back when nobody wants it any more.
func TestConnectEndsWithItsContext(t *testing.T) {
	t.Parallel()
	server := devtest.Redis(t)
	require.NoError(t, server.Pause())
	defer func() { require.NoError(t, server.Resume()) }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Connect(ctx, server.URL())
	require.ErrorIs(t, err, context.Canceled, "not by a limit of rueidis")
}
