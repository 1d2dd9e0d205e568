package reconcile

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
	"flashsale/persist"
	"flashsale/persist/persisttest"
)

// A log of another history than the ledger names must not be taken for the partition's at the second look because it was read
// at the first.
func TestATailKeepsNothingOfAnotherHistory(t *testing.T) {
	p := persisttest.Start(t, devtest.Redis(t).URL(), persisttest.Ledger(t), engine.Config{Partitions: 1}, persist.KeeperConfig{OrderGrace: time.Hour})
	p.AwaitOpen(t)
	p.Product(t, "lamp", 10, engine.Terms{Active: true}) // makes a log entry
	epoch := p.State(0).Epoch
	other := epoch
	other.Replid = "0123456789012345678901234567890123456789"

	tail := &tail{}
	defer tail.close()
	for range 2 {
		require.ErrorIs(t, tail.reach(t.Context(), p.Engine, other, 0, 1), errRestless)
		require.Empty(t, tail.until(1))
		require.Nil(t, tail.link, "the server that the ledger names may be found anew")
	}
	require.NoError(t, tail.reach(t.Context(), p.Engine, epoch, 0, 1))
	require.Len(t, tail.until(1), 1)

	kept, _, err := tail.find(t.Context(), p.Engine, epoch, 1, engine.OrderID{})
	require.NoError(t, err)
	require.True(t, kept)
	_, _, err = tail.find(t.Context(), p.Engine, other, 1, engine.OrderID{})
	require.ErrorIs(t, err, errRestless, "the link is still that to the server before")
	require.Nil(t, tail.link)
}
