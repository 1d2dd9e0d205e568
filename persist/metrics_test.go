package persist

import (
	"bytes"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/stretchr/testify/require"
)

// What Postgres kept waiting for minutes is not told as the ten seconds at which the transactions' own scale ends.
func TestTheDelayOfTheLedgerMayBeMinutes(t *testing.T) {
	set := metrics.NewSet()
	newKeeperMetrics(set).committed(1, time.Millisecond, 4*time.Minute)
	var shown bytes.Buffer
	set.WritePrometheus(&shown)
	require.Contains(t, shown.String(), `flashsale_ledger_delay_seconds_bucket{le="60"} 0`+"\n")
	require.Contains(t, shown.String(), `flashsale_ledger_delay_seconds_bucket{le="300"} 1`+"\n")
}
