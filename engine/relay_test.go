package engine

import (
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
	require.True(t, e.reaches(t.Context(), before))
	require.NoError(t, server.Kill())
	require.False(t, e.reaches(t.Context(), before))
	require.False(t, e.renew(t.Context(), r))
	require.Same(t, before, r.now())
}
