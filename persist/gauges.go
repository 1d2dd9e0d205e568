package persist

import (
	"fmt"

	"github.com/VictoriaMetrics/metrics"

	"flashsale/engine"
)

// registerGauges shows the state of every partition. There are as many as there are partitions.
func (k *Keeper) registerGauges(set *metrics.Set) {
	for id := range k.engine.Partitions() {
		gauge := func(name, labels string, value func(engine.PartitionState) float64) {
			set.NewGauge(fmt.Sprintf(`%s{partition="%d"%s}`, name, id, labels), func() float64 { return value(k.engine.State(id)) })
		}
		gauge("flashsale_partition_open", "", func(s engine.PartitionState) float64 { return oneIf(s.Open) })
		for _, status := range engine.PartitionStatuses {
			gauge("flashsale_partition_state", fmt.Sprintf(",state=%q", status), func(s engine.PartitionState) float64 {
				return oneIf(s.Status == status)
			})
		}
		gauge("flashsale_partition_leader", "", func(engine.PartitionState) float64 { return oneIf(k.leads[id].Load()) })
		gauge("flashsale_partition_epoch", "", func(s engine.PartitionState) float64 { return float64(s.Epoch.Number) })
		gauge("flashsale_partition_queued_orders", "", func(s engine.PartitionState) float64 { return float64(s.Queued) })
		gauge("flashsale_ledger_backlog_orders", "", func(s engine.PartitionState) float64 { return float64(s.Backlog) })
		gauge("flashsale_ledger_lag_entries", "", func(s engine.PartitionState) float64 { return float64(s.Entries) })
		gauge("flashsale_ledger_lag_seconds", "", func(s engine.PartitionState) float64 { return s.Lag.Seconds() })
		gauge("flashsale_ledger_sequence", "", func(s engine.PartitionState) float64 { return float64(s.Watermark.Sequence) })
	}
}

func oneIf(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}
