package persist

import (
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// keeperMetrics are made once.
type keeperMetrics struct {
	faults       *metrics.Counter
	holds        *metrics.Counter
	lost         *metrics.Counter
	adopted      *metrics.Counter
	rebuilt      *metrics.Counter
	drained      *metrics.Counter
	batchOrders  *metrics.PrometheusHistogram
	commitSecond *metrics.PrometheusHistogram
}

var (
	commitOrdersBounds  = []float64{1, 10, 50, 100, 500, 1000, 2500, 5000, 10000}
	commitSecondsBounds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
)

func newKeeperMetrics(set *metrics.Set) *keeperMetrics {
	return &keeperMetrics{
		faults:       set.NewCounter("flashsale_partition_faults_total"),
		lost:         set.NewCounter("flashsale_lost_orders_total"),
		holds:        set.NewCounter("flashsale_partition_operator_holds_total"),
		adopted:      set.NewCounter(`flashsale_partition_aligned_total{how="adopted"}`),
		rebuilt:      set.NewCounter(`flashsale_partition_aligned_total{how="rebuilt"}`),
		drained:      set.NewCounter("flashsale_ledger_orders_total"),
		batchOrders:  set.NewPrometheusHistogramExt("flashsale_ledger_batch_orders", commitOrdersBounds),
		commitSecond: set.NewPrometheusHistogramExt("flashsale_ledger_commit_seconds", commitSecondsBounds),
	}
}

func (m *keeperMetrics) committed(orders int64, took time.Duration) {
	m.drained.AddInt64(orders)
	m.batchOrders.Update(float64(orders))
	m.commitSecond.Update(took.Seconds())
}

func (m *keeperMetrics) aligned(how string) {
	if how == "adopted" {
		m.adopted.Inc()
		return
	}
	m.rebuilt.Inc()
}
