package engine

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// TestTogether makes each call write one entry, whatever the lanes are set to.
func TestTogether(t *testing.T) {
	n := newNode(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "together", BatchSize: 1})
	n.product(t, "a", 5, onSale)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	holds := []*Reservation{n.order("a", "u", 2), n.order("a", "v", 2)}
	for _, r := range holds {
		r.HoldMs = time.Minute.Milliseconds()
	}
	require.NoError(t, n.ReserveTogether(ctx, holds))
	transitions := make([]*Transition, len(holds))
	for i, r := range holds {
		transitions[i] = &Transition{ID: r.ID, Action: ActionConfirm}
	}
	require.NoError(t, n.SettleTogether(ctx, transitions))
	require.Equal(t, []uint64{2, 3}, []uint64{holds[1].Order.Sequence, transitions[1].Order.Sequence}, "one entry a call, after the product's")
	require.Equal(t, int64(4), n.stock(t, "a").Sold)

	more := []*Reservation{n.order("a", "x", 1), n.order("a", "y", 1)}
	require.ErrorIs(t, n.ReserveTogether(ctx, more), ErrSoldOut, "of the second")
	require.Equal(t, int64(5), n.stock(t, "a").Sold)

	_, _, err := n.Shut(ctx, n.keys(0), 1)
	require.NoError(t, err)
	require.ErrorIs(t, n.ReserveTogether(ctx, []*Reservation{n.order("a", "z", 1)}), ErrPartitionClosed)
}
