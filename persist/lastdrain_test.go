package persist

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
)

// A process that ends drains what is there once more, but nothing of a server that is not the one the ledger names: whoever
// leads next shuts the partition first.
func TestTheLastDrainAsksForTheServersHistory(t *testing.T) {
	client, err := engine.Connect(t.Context(), devtest.Redis(t).URL())
	require.NoError(t, err)
	t.Cleanup(client.Close)
	l := leaderOn(t, KeeperConfig{}, 10)
	e, err := engine.New(client, engine.Config{Partitions: 1})
	require.NoError(t, err)
	l.Keeper = NewKeeper(l.pool, e, KeeperConfig{})
	l.link, err = l.engine.Connect(t.Context(), 0)
	require.NoError(t, err)
	t.Cleanup(l.link.Close)
	replid, err := l.link.Replid(t.Context())
	require.NoError(t, err)
	epoch := engine.Epoch{Number: 1, Namespace: engine.NewNamespace(1)}
	keys, err := l.engine.EpochKeys(0, epoch)
	require.NoError(t, err)
	id := engine.NewOrderID(0, time.UnixMilli(1_764_000_000_000))
	add := client.B().Arbitrary("XADD").Keys(keys.Log).Args("1-0", "orders", "1764000000000", string(id[:]),
		"c,1,2,1764000000000,1764000000000,0,1,1,lamp|ann").Build()
	require.NoError(t, client.Do(t.Context(), add).Error())

	const name = `UPDATE partitions SET epoch = 1, namespace = $1, sequence = 0, replid = $2 WHERE partition = 0`
	exec(t, l.pool, name, epoch.Namespace, strings.Repeat("0", 40))
	require.ErrorIs(t, l.drainLast(t.Context()), errOtherHistory)
	require.Zero(t, count(t, l.pool, `SELECT count(*) FROM orders`))
	exec(t, l.pool, name, epoch.Namespace, replid)
	require.NoError(t, l.drainLast(t.Context()))
	require.EqualValues(t, 1, count(t, l.pool, `SELECT count(*) FROM orders WHERE user_id = 'ann' AND quantity = 2`))
}
