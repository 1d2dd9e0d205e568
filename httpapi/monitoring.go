package httpapi

import (
	"context"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"flashsale/engine"
)

// maxInventoryLevels bounds the products that the live figures list: the first by id.
const maxInventoryLevels = 100

// inventoryTimeout bounds what the live figures wait for the inventory: whoever gets them every second is to get the others
// even where nobody answers.
const inventoryTimeout = 600 * time.Millisecond

// The percentiles that are shown.
const (
	median = 0.50
	p95    = 0.95
	p99    = 0.99
)

// getBenchmark shows what was measured since the start or the last clear.
func (s *Server) getBenchmark(ctx *fasthttp.RequestCtx) { s.sendFigures(ctx, s.benchmark()) }

func (s *Server) benchmark() []byte {
	f := s.traffic.whole()
	body := appendUintMember(nil, `{"totalRequests":`, f.requests)
	body = appendUintMember(body, `,"successfulRequests":`, f.answers())
	body = appendUintMember(body, `,"failedRequests":`, f.requests-f.answers())
	body = appendUintMember(body, `,"acceptedRequests":`, f.accepts())
	body = appendUintMember(body, `,"refusedRequests":`, f.answers()-f.accepts())
	body = f.appendLatencies(body, `,"averageLatency":`)
	body = appendDecimal(append(body, `,"throughput":`...), f.perSecond(f.requests))
	body = appendDecimal(append(body, `,"errorRate":`...), f.errorRate())
	body = appendIntMember(body, `,"peakConcurrency":`, s.traffic.peak.Load())
	body = appendThousandths(append(body, `,"testDuration":`...), f.duration().Milliseconds())
	body = appendTime(append(body, `,"since":`...), f.since.UnixMilli())
	return append(appendTime(append(body, `,"timestamp":`...), f.until.UnixMilli()), '}')
}

// getLiveFigures shows what goes on now.
func (s *Server) getLiveFigures(ctx *fasthttp.RequestCtx) { s.sendFigures(ctx, s.liveFigures()) }

// liveFigures tells what goes on now. Only the inventory is asked for elsewhere; where nobody answers it is null.
func (s *Server) liveFigures() []byte {
	live, whole, states := s.traffic.live(), s.traffic.whole(), s.partitionStates()
	body := appendTime([]byte(`{"timestamp":`), live.until.UnixMilli())
	body = appendThousandths(append(body, `,"windowSeconds":`...), live.duration().Milliseconds())
	body = appendDecimal(append(body, `,"ordersPerSecond":`...), live.perSecond(live.placed))
	body = appendDecimal(append(body, `,"throughput":`...), live.perSecond(live.requests))
	body = appendDecimal(append(body, `,"errorRate":`...), live.errorRate())
	body = live.appendLatencies(body, `,"averageProcessingTime":`)
	body = appendIntMember(body, `,"activeConnections":`, s.openConnections())
	body = appendIntMember(body, `,"activeRequests":`, s.traffic.inFlight.Load())
	body = whole.appendOrders(body)
	body = appendBacklog(body, states)
	return append(s.appendInventoryLevels(body), '}')
}

// postClear begins the benchmark's window anew.
func (s *Server) postClear(ctx *fasthttp.RequestCtx) {
	s.sendFigures(ctx, append(appendTime([]byte(`{"clearedAt":`), s.traffic.clear().UnixMilli()), '}'))
}

// sendFigures sends an object that nobody may keep.
func (s *Server) sendFigures(ctx *fasthttp.RequestCtx, body []byte) {
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	sendJSON(ctx, fasthttp.StatusOK, body)
}

// appendLatencies appends the average under a name of its own and the percentiles, in milliseconds; null where nothing
// was measured.
func (f *figures) appendLatencies(dst []byte, average string) []byte {
	dst = f.appendLatency(append(dst, average...), int64(math.Round(f.latency.Mean())))
	dst = f.appendLatency(append(dst, `,"p50Latency":`...), f.latency.Quantile(median))
	dst = f.appendLatency(append(dst, `,"p95Latency":`...), f.latency.Quantile(p95))
	return f.appendLatency(append(dst, `,"p99Latency":`...), f.latency.Quantile(p99))
}

// openConnections counts those of the streams too, which fasthttp hands over and forgets.
func (s *Server) openConnections() int64 {
	return int64(max(0, s.fast.GetOpenConnectionsCount())) + int64(s.hub.Clients()+s.feed.Clients())
}

func (f *figures) appendLatency(dst []byte, ns int64) []byte {
	if f.requests == 0 {
		return append(dst, "null"...)
	}
	return appendThousandths(dst, time.Duration(ns).Round(time.Microsecond).Microseconds())
}

// appendOrders appends what became of the orders since the start or the last clear, by code where they were not placed.
func (f *figures) appendOrders(dst []byte) []byte {
	dst = appendTime(append(dst, `,"countedSince":`...), f.since.UnixMilli())
	dst = appendUintMember(dst, `,"successfulOrders":`, f.placed)
	dst = appendUintMember(dst, `,"failedOrders":`, f.failedOrders())
	dst = f.appendCodes(append(dst, `,"refusals":`...), func(code engine.Code) bool { return !isFailure(code) })
	return f.appendCodes(append(dst, `,"failures":`...), isFailure)
}

// appendCodes appends how many orders met each of some codes, without those that none met.
func (f *figures) appendCodes(dst []byte, shown func(engine.Code) bool) []byte {
	dst = append(dst, '{')
	count := 0
	for _, code := range slices.Sorted(maps.Keys(f.outcomes)) {
		if n := f.outcomes[code]; n > 0 && shown(code) {
			dst = appendUintMember(append(appendString(separate(dst, count), string(code)), ':'), "", n)
			count++
		}
	}
	return append(dst, '}')
}

// appendBacklog appends what waits: for Redis in this process, and for the ledger in all partitions.
func appendBacklog(dst []byte, states []engine.PartitionState) []byte {
	queued, orders, lag := waiting(states)
	dst = appendIntMember(dst, `,"queueLength":`, queued)
	dst = appendIntMember(dst, `,"pendingOrders":`, orders)
	return appendLedgerLag(dst, orders, lag)
}

// waiting adds up what waits in all partitions; the lag is that of the one furthest behind.
func waiting(states []engine.PartitionState) (queued, orders int64, lag time.Duration) {
	for i := range states {
		queued += int64(states[i].Queued)
		orders += states[i].Backlog
		lag = max(lag, states[i].Lag)
	}
	return queued, orders, lag
}

func appendLedgerLag(dst []byte, orders int64, lag time.Duration) []byte {
	dst = appendIntMember(dst, `,"ledger":{"lagOrders":`, orders)
	return append(appendThousandths(append(dst, `,"lagSeconds":`...), lag.Milliseconds()), '}')
}

// appendInventoryLevels appends the stock of the first products, or null where it can't be had.
func (s *Server) appendInventoryLevels(dst []byte) []byte {
	ctx, cancel := context.WithTimeout(context.Background(), min(inventoryTimeout, s.config.RequestTimeout))
	defer cancel()
	products, err := s.firstProducts(ctx) // one more tells whether these are all
	if err != nil {
		return append(dst, `,"inventoryLevels":null`...)
	}
	shown := min(len(products), maxInventoryLevels)
	dst = append(dst, `,"inventoryLevels":[`...)
	for i := range products[:shown] {
		dst = appendLevel(separate(dst, i), &products[i])
	}
	return appendBoolMember(dst, `],"inventoryLevelsComplete":`, shown == len(products))
}

func appendLevel(dst []byte, p *engine.Product) []byte {
	dst = appendStringMember(dst, `{"productId":`, p.ID)
	dst = appendIntMember(dst, `,"currentStock":`, p.Stock.Current)
	dst = appendIntMember(dst, `,"heldStock":`, p.Stock.Held)
	dst = appendIntMember(dst, `,"soldStock":`, p.Stock.Sold)
	dst = appendIntMember(dst, `,"initialStock":`, p.Stock.Initial)
	return append(dst, '}')
}

func appendUintMember(dst []byte, head string, n uint64) []byte {
	return strconv.AppendUint(append(dst, head...), n, 10)
}

// appendDecimal appends a rate or a share with at most six decimals.
func appendDecimal(dst []byte, f float64) []byte {
	const million = 1e6
	return strconv.AppendFloat(dst, math.Round(f*million)/million, 'f', -1, 64)
}
