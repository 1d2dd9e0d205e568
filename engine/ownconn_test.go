package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// moveTo has the partition's orders go to another server, as a failover and then the ledger do. The old one lives on.
func (n *node) moveTo(t testing.TB, url string) {
	t.Helper()
	n.Engine.client.(*relay).replace(connectTo(t, url).(*relay).now())
	n.replid = replidOf(t, n.Engine)
	epoch := Epoch{Number: 2, Namespace: NewNamespace(2), Replid: n.replid}
	keys, err := n.EpochKeys(0, epoch)
	require.NoError(t, err)
	require.NoError(t, n.Load(t.Context(), keys, keys.Stock, 1, n.replid, nil))
	require.NoError(t, n.Seal(t.Context(), keys, 1, n.replid, 1, 0, 0))
	require.NoError(t, n.Install(0, epoch))
	guard, err := n.Check(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, GuardOK, guard)
	n.product(t, "b", 10, onSale)
}

// What the old server says of itself must not shut a partition that was found open on the new one.
func TestAfterAFailoverNobodyAsksTheOldServer(t *testing.T) {
	n := startNode(t, connectTo(t, devtest.Redis(t).URL()), Config{InFlight: 1})
	n.product(t, "a", 10, onSale)
	_, err := n.buy("a", "ann", 1)
	require.NoError(t, err)
	n.moveTo(t, devtest.Redis(t).URL())
	_, err = n.buy("b", "bob", 1)
	require.NoError(t, err)
	require.True(t, n.State(0).Open)
}

// The replica of the old server is lost, and it lives on: replicas that nobody needs any more are not waited for.
func TestAfterAFailoverNobodyWaitsForTheOldServersReplicas(t *testing.T) {
	old, replicas := replicaSet(t, 1)
	fresh, _ := replicaSet(t, 1)
	n := startNode(t, connectTo(t, old.URL()), Config{InFlight: 1, Timeout: time.Second})
	n.product(t, "a", 10, onSale)
	_, done := n.buyAs(DurabilityReplicated, "a", "ann", "")
	require.NoError(t, outcomeOf(t, done))
	require.NoError(t, replicas[0].Kill())
	_, done = n.buyAs(DurabilityReplicated, "a", "bob", "")
	require.Error(t, outcomeOf(t, done))
	n.moveTo(t, fresh.URL())
	eventually(t, "an order on the new server and its replica", func() bool {
		require.NoError(t, n.RequireReplicas(t.Context()))
		_, done := n.buyAs(DurabilityReplicated, "b", NewNamespace(3), "")
		return outcomeOf(t, done) == nil
	})
}

// A connection that was closed while nobody ordered has executed nothing: a refusal after that is one.
func TestAConnectionThatWasClosedWhileIdleIsNoticed(t *testing.T) {
	taps := &tap{Client: connectTo(t, devtest.SharedRedis(t))}
	n := startNode(t, taps, Config{Prefix: "idle", InFlight: 1})
	n.product(t, "a", 10, Terms{Active: true, PerUserLimit: 1})
	_, err := n.buy("a", "ann", 1)
	require.NoError(t, err)
	answered := time.Now()
	taps.killOwn(t)
	eventually(t, "the connection to be idle", func() bool { return time.Since(answered) > idleProof })
	_, err = n.buy("a", "ann", 1)
	require.ErrorIs(t, err, ErrLimitExceeded)
}

// WAIT on another connection than the one that something was written on would say yes at once.
func TestAFenceWhoseConnectionIsGoneSaysNo(t *testing.T) {
	primary, _ := replicaSet(t, 1)
	n := newNode(t, connectTo(t, primary.URL()), Config{})
	p := n.partitions[0]
	f := &fence{ownConn: &ownConn{engine: n.Engine}, partition: p}
	require.ErrorIs(t, f.wait(t.Context(), n.replid, time.Second, true), errNotSent)
	require.True(t, p.owing.Load())
	require.NoError(t, f.wait(t.Context(), n.replid, patience, false))
	f.drop()
}
