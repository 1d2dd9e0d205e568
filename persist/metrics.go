package persist

import (
	"fmt"
	"slices"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"flashsale/engine"
)

// keeperMetrics are made once.
type keeperMetrics struct {
	faults       *metrics.Counter
	holds        *metrics.Counter
	lost         *metrics.Counter
	refused      *metrics.Counter
	aligned      map[alignment]*metrics.Counter
	drained      *metrics.Counter
	batchOrders  *metrics.PrometheusHistogram
	commitSecond *metrics.PrometheusHistogram
	delaySeconds *metrics.PrometheusHistogram
}

var (
	commitOrdersBounds  = []float64{1, 10, 50, 100, 500, 1000, 2500, 5000, 10000}
	commitSecondsBounds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	// delaySecondsBounds go on where an outage of Postgres does.
	delaySecondsBounds = append(slices.Clone(commitSecondsBounds), 30, 60, 300, 1800, 7200)
)

func newKeeperMetrics(set *metrics.Set) *keeperMetrics {
	return &keeperMetrics{
		faults:       set.NewCounter("flashsale_partition_faults_total"),
		lost:         set.NewCounter("flashsale_lost_orders_total"),
		refused:      set.NewCounter("flashsale_refused_orders_total"),
		holds:        set.NewCounter("flashsale_partition_operator_holds_total"),
		aligned:      newAlignedCounters(set),
		drained:      set.NewCounter("flashsale_ledger_orders_total"),
		batchOrders:  set.NewPrometheusHistogramExt("flashsale_ledger_batch_orders", commitOrdersBounds),
		commitSecond: set.NewPrometheusHistogramExt("flashsale_ledger_commit_seconds", commitSecondsBounds),
		delaySeconds: set.NewPrometheusHistogramExt("flashsale_ledger_delay_seconds", delaySecondsBounds),
	}
}

// committed takes in a transaction of the drain, and how long the first of its orders had been decided when it was there.
func (m *keeperMetrics) committed(orders int64, took, delay time.Duration) {
	m.delaySeconds.Update(max(0, delay).Seconds())
	m.drained.AddInt64(orders)
	m.batchOrders.Update(float64(orders))
	m.commitSecond.Update(took.Seconds())
}

// alignment is how a partition was brought in line, and why.
type alignment struct{ how, reason string }

// How a partition is brought in line.
const (
	howAdopted = "adopted"
	howRebuilt = "rebuilt"
)

// Why a partition is brought in line, in as many words as there are label values.
const (
	reasonNew      = "new"         // it has had no epoch yet
	reasonOperator = "operator"    // somebody asked for it
	reasonAhead    = "redis_ahead" // the ledger refused a sale, or its form has changed
	reasonGap      = "gap"         // the log does not go on where the ledger ends
	reasonHistory  = "history"     // the server has another history than the ledger names
	reasonMissing  = "missing"     // Redis does not hold the epoch: new, flushed, restored
	reasonClosed   = "closed"      // whoever was at it did not end it
	reasonFenced   = "fenced"      // Redis was restarted or failed over
	reasonBehind   = "behind"      // Redis has forgotten entries
)

func newAlignedCounters(set *metrics.Set) map[alignment]*metrics.Counter {
	counters := make(map[alignment]*metrics.Counter)
	for _, how := range []string{howAdopted, howRebuilt} {
		for _, reason := range []string{
			reasonNew, reasonOperator, reasonAhead, reasonGap, reasonHistory, reasonMissing, reasonClosed, reasonFenced, reasonBehind,
		} {
			counters[alignment{how, reason}] = set.NewCounter(
				fmt.Sprintf("flashsale_partition_aligned_total{how=%q,reason=%q}", how, reason))
		}
	}
	return counters
}

// alignReason returns the label value for what made a leader bring its partition in line, the first that holds.
func alignReason(at position, suspect string, guard engine.Guard) string {
	switch {
	case at.epoch.Namespace == "":
		return reasonNew
	case at.rebuildReason == operatorRebuild:
		return reasonOperator
	case at.rebuildReason != "":
		return reasonAhead
	case suspect == errGap.Error():
		return reasonGap
	case suspect != "":
		return reasonHistory
	case guard == engine.GuardMissing:
		return reasonMissing
	case guard == engine.GuardFenced:
		return reasonFenced
	case guard == engine.GuardBehind:
		return reasonBehind
	default:
		return reasonClosed
	}
}
