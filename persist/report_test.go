package persist

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metrics"
	"github.com/stretchr/testify/require"
)

// A store that is away fails in another way each time; that is one trouble, and makes a few lines.
func TestATroubleMakesAFewLines(t *testing.T) {
	var log strings.Builder
	f := &follower{Keeper: &Keeper{metrics: newKeeperMetrics(metrics.NewSet())}, log: slog.New(slog.NewTextHandler(&log, nil))}
	for range 2 {
		log.Reset()
		for port := range 100 {
			f.report(t.Context(), fmt.Errorf("read from port %d: timeout", port))
		}
		require.Equal(t, maxFaultsTold, strings.Count(log.String(), "partition in trouble"))
		f.report(t.Context(), nil)
		f.report(t.Context(), nil)
		require.Equal(t, 1, strings.Count(log.String(), "partition recovered"))
	}
	require.EqualValues(t, 200, f.metrics.faults.Get())
}
