package engine

import (
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// engineMetrics are made once; nothing on the hot path builds a name.
type engineMetrics struct {
	gateRefusals   *metrics.Counter
	queueFull      *metrics.Counter
	backlogFull    *metrics.Counter
	tooLate        *metrics.Counter
	ledgerBehind   *metrics.Counter
	failedCalls    *metrics.Counter
	shortFences    *metrics.Counter
	clientsRenewed *metrics.Counter
	expired        *metrics.Counter
	batchSize      *metrics.PrometheusHistogram
	queueSeconds   *metrics.PrometheusHistogram
	redisSeconds   *metrics.PrometheusHistogram
}

var (
	batchSizeBounds    = []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512}
	batchSecondsBounds = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}
)

func newEngineMetrics(set *metrics.Set, backlogCap int64) *engineMetrics {
	set.NewGauge("flashsale_backlog_cap_orders", func() float64 { return float64(backlogCap) })
	return &engineMetrics{
		gateRefusals:   set.NewCounter("flashsale_gate_refusals_total"),
		queueFull:      set.NewCounter(`flashsale_shed_total{reason="queue_full"}`),
		backlogFull:    set.NewCounter(`flashsale_shed_total{reason="backlog_full"}`),
		ledgerBehind:   set.NewCounter(`flashsale_shed_total{reason="ledger_behind"}`),
		tooLate:        set.NewCounter(`flashsale_shed_total{reason="too_late"}`),
		failedCalls:    set.NewCounter("flashsale_redis_failed_calls_total"),
		shortFences:    set.NewCounter("flashsale_replica_waits_short_total"),
		clientsRenewed: set.NewCounter("flashsale_redis_clients_renewed_total"),
		expired:        set.NewCounter("flashsale_holds_expired_total"),
		batchSize:      set.NewPrometheusHistogramExt("flashsale_batch_orders", batchSizeBounds),
		queueSeconds:   set.NewPrometheusHistogramExt("flashsale_queue_seconds", batchSecondsBounds),
		redisSeconds:   set.NewPrometheusHistogramExt("flashsale_redis_call_seconds", batchSecondsBounds),
	}
}

func (m *engineMetrics) batch(orders int, took time.Duration) {
	m.batchSize.Update(float64(orders))
	m.redisSeconds.Update(took.Seconds())
}

// queued takes in how long the first request of a batch had waited: one figure a batch costs the requests nothing.
func (m *engineMetrics) queued(waited time.Duration) {
	m.queueSeconds.Update(max(0, waited).Seconds())
}
