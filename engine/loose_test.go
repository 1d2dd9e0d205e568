package engine

import (
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
)

// closing is a client whose connections say when they are closed, and do so only when they may.
type closing struct {
	rueidis.Client
	began, may chan struct{}
}

type closingConn struct {
	rueidis.DedicatedClient
	closing
}

func (c closing) Dedicate() (rueidis.DedicatedClient, func()) {
	conn, release := c.Client.Dedicate()
	return closingConn{conn, c}, release
}

func (c closingConn) Close() {
	close(c.began)
	<-c.may
	c.DedicatedClient.Close()
}

// Run is not over while a connection of mode replicated is still being closed.
func TestRunWaitsForConnectionsThatAreClosed(t *testing.T) {
	slow := closing{began: make(chan struct{}), may: make(chan struct{})}
	primary, _ := replicaSet(t, 1)
	slow.Client = connectTo(t, primary.URL())
	n := startNode(t, slow, Config{Timeout: patience, InFlight: 1})
	n.product(t, "a", 1000, onSale)
	_, done := n.buyAs(DurabilityReplicated, "a", "ann", "")
	require.NoError(t, outcomeOf(t, done))
	stopped := make(chan struct{})
	go func() {
		n.stop()
		close(stopped)
	}()
	<-slow.began
	select {
	case <-stopped:
		require.FailNow(t, "Run is over")
	case <-time.After(50 * time.Millisecond): // a Run that does not wait is over by then
	}
	close(slow.may)
	<-stopped
}

func TestLooseGoroutinesAreWaitedForWithABound(t *testing.T) {
	var l loose
	require.True(t, l.wait(0), "there is none")
	end := make(chan struct{})
	l.run(func() { <-end })
	l.run(func() {})
	require.False(t, l.wait(time.Millisecond))
	close(end)
	require.True(t, l.wait(patience))
	l.run(func() {})
	require.True(t, l.wait(patience), "once more")
}
