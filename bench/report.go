package bench

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report is what a sale did. Rates are over SellingSeconds; counts of orders are orders of one unit each.
type Report struct {
	Target      string `json:"target"`
	Product     string `json:"product"`
	Buyers      int    `json:"buyers"`
	Units       int64  `json:"units"`
	Connections int    `json:"connections"`

	Accepted int64            `json:"accepted"` // answered 201
	Refused  map[string]int64 `json:"refused"`  // answered 409, by code
	Failed   map[string]int64 `json:"failed"`   // all others, by status and code or by error

	Found      int64 `json:"found"`      // of the failed: outcome not known at first, turned out to be placed
	Unresolved int64 `json:"unresolved"` // of the failed: may have been placed or not, and nothing tells

	SellingSeconds    float64 `json:"sellingSeconds"` // from the first order sent to the last answer
	AcceptedPerSecond float64 `json:"acceptedPerSecond"`
	RequestsPerSecond float64 `json:"requestsPerSecond"` // accepted, refused and failed

	AcceptedLatency Latency `json:"acceptedLatency"`
	RefusedLatency  Latency `json:"refusedLatency"`
	Latency         Latency `json:"latency"` // accepted and refused

	Stock         Stock   `json:"stock"`         // after the sale
	Durable       int64   `json:"durable"`       // placed orders that the ledger was seen to have
	LedgerSeconds float64 `json:"ledgerSeconds"` // from the end of the sale's checks until it had them

	Proven     bool     `json:"proven"` // all checks were made and every rule holds
	Violations []Breach `json:"violations"`
}

// Stock is what the server says about the product, in units.
type Stock struct {
	Initial int64 `json:"initialStock"`
	Current int64 `json:"currentStock"`
	Held    int64 `json:"heldStock"`
	Sold    int64 `json:"soldStock"`
}

// Latency sums up how long requests took, from sending to the whole answer, in microseconds with three digits.
type Latency struct {
	P50Us int64 `json:"p50Us"`
	P95Us int64 `json:"p95Us"`
	P99Us int64 `json:"p99Us"`
	MaxUs int64 `json:"maxUs"`
}

func newReport(o *Options) Report {
	return Report{
		Target: o.Target, Product: o.Product, Buyers: o.Buyers, Units: o.Units, Connections: o.Connections,
		Refused: map[string]int64{}, Failed: map[string]int64{}, Violations: []Breach{},
	}
}

// count notes what the buyers saw.
func (r *Report) count(t *tally, elapsed time.Duration) {
	r.Accepted, r.Refused, r.Failed = int64(len(t.accepted)), t.refused, t.failed
	r.Unresolved = t.nameless + int64(len(t.unknown))
	r.SellingSeconds = elapsed.Seconds()
	if r.SellingSeconds > 0 {
		r.AcceptedPerSecond = float64(r.Accepted) / r.SellingSeconds
		r.RequestsPerSecond = float64(r.requests()) / r.SellingSeconds
	}
	r.AcceptedLatency, r.RefusedLatency = latencyOf(t.acceptedUs), latencyOf(t.refusedUs)
	both := hdrhistogram.Import(t.acceptedUs.Export())
	both.Merge(t.refusedUs)
	r.Latency = latencyOf(both)
}

func latencyOf(h *hdrhistogram.Histogram) Latency {
	return Latency{
		P50Us: h.ValueAtQuantile(50), P95Us: h.ValueAtQuantile(95), P99Us: h.ValueAtQuantile(99), MaxUs: h.Max(),
	}
}

// settle notes what was found after the sale.
func (r *Report) settle(s *settlement) {
	r.Stock, r.Found, r.Unresolved = s.stock, int64(len(s.found)), s.unresolved
}

func (r *Report) requests() int64 { return r.Accepted + total(r.Refused) + total(r.Failed) }

// Verdict returns in one line whether the sale was correct.
func (r *Report) Verdict() string {
	switch {
	case len(r.Violations) > 0:
		return fmt.Sprintf("NOT CORRECT: %d broken", len(r.Violations))
	case !r.Proven:
		return "NOT PROVEN: the sale or its checks did not come to their end"
	}
	verdict := fmt.Sprintf("sold exactly: %d of %d, nothing lost, nothing twice", r.Stock.Sold, r.Units)
	if failed := total(r.Failed); failed > 0 {
		verdict += fmt.Sprintf("; failed requests: %d", failed)
	}
	return verdict
}
