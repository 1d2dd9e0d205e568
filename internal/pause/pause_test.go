package pause

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestForWaitsUnlessTheContextEnds(t *testing.T) {
	begun := time.Now()
	require.True(t, For(t.Context(), time.Millisecond))
	require.GreaterOrEqual(t, time.Since(begun), time.Millisecond)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.False(t, For(ctx, time.Hour))
}
