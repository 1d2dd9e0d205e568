package persist_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
)

// A process may still reach a primary that was cut off and replaced. Once the ledger names the other server's history,
// the old one sells nothing, although its own meta is open and whole.
func TestACutOffPrimarySellsNothing(t *testing.T) {
	port := strconv.Itoa(devtest.FreePort(t))
	old := devtest.Redis(t, "bind 127.0.0.1", "port "+port, "repl-diskless-sync-delay 0")
	replica := devtest.Redis(t, "replicaof 127.0.0.1 "+port, "repl-diskless-sync-delay 0")
	s := newStack(t, old.URL())
	s.config.Partitions = 1
	first := s.start(t)
	first.product(t, "lamp", 100, onSale)
	promoted := client(t, replica.URL())
	awaitReplica(t, client(t, old.URL()), promoted, first)
	first.stop()
	require.NoError(t, promoted.Do(t.Context(), promoted.B().Arbitrary("REPLICAOF", "NO", "ONE").Build()).Error())

	onNew := *s
	onNew.redisURL = replica.URL()
	survivor := onNew.start(t) // adopts the promoted server
	late := s.startShut(t)     // finds the old one
	eventually(t, "the late process to know the new history", func() bool {
		return late.State(0).Epoch.Replid == survivor.State(0).Epoch.Replid
	})
	for i := range 20 {
		_, err := late.buy("lamp", fmt.Sprint("lost-", i), 1)
		require.ErrorIs(t, err, engine.ErrPartitionClosed, "order %d", i)
	}
	_, err := survivor.buy("lamp", "ann", 1)
	require.NoError(t, err)
	s.awaitLedger(t, survivor, "lamp", 1)
}

// awaitReplica waits until the replica holds what the partition's server holds, and sales are open.
func awaitReplica(t *testing.T, primary, replica rueidis.Client, n *node) {
	t.Helper()
	sequence := func(c rueidis.Client) string {
		keys, err := n.EpochKeys(0, n.State(0).Epoch)
		require.NoError(t, err)
		got, err := c.Do(t.Context(), c.B().Hmget().Key(keys.Meta).Field("sequence", "state", "replid").Build()).AsStrSlice()
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(got)
	}
	eventually(t, "the replica to follow", func() bool {
		info, err := replica.Do(t.Context(), replica.B().Info().Section("replication").Build()).ToString()
		require.NoError(t, err)
		return n.State(0).Open && sequence(primary) == sequence(replica) && containsLine(info, "master_link_status:up")
	})
}

func containsLine(text, line string) bool {
	for candidate := range strings.Lines(text) {
		if strings.TrimSpace(candidate) == line {
			return true
		}
	}
	return false
}
