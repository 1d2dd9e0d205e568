package persist

import (
	"fmt"

	"github.com/VictoriaMetrics/metrics"

	"flashsale/engine"
)

// registerGauges shows the state of every partition. There are as many as there are partitions.
func registerGauges(set *metrics.Set, e *engine.Engine) {
	for id := range e.Partitions() {
		gauge := func(name string, value func(engine.PartitionState) float64) {
			set.NewGauge(fmt.Sprintf(`%s{partition="%d"}`, name, id), func() float64 { return value(e.State(id)) })
		}
		gauge("flashsale_partition_open", func(s engine.PartitionState) float64 {
			if s.Open {
				return 1
			}
			return 0
		})
		gauge("flashsale_partition_epoch", func(s engine.PartitionState) float64 { return float64(s.Epoch.Number) })
		gauge("flashsale_partition_queued_orders", func(s engine.PartitionState) float64 { return float64(s.Queued) })
		gauge("flashsale_ledger_backlog_orders", func(s engine.PartitionState) float64 { return float64(s.Backlog) })
		gauge("flashsale_ledger_lag_seconds", func(s engine.PartitionState) float64 { return s.Lag.Seconds() })
		gauge("flashsale_ledger_sequence", func(s engine.PartitionState) float64 { return float64(s.Watermark.Sequence) })
	}
}
