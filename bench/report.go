package bench

import (
	"cmp"
	"fmt"
	"maps"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"flashsale/bench/load"
)

// Report is what a sale did. Rates and latencies are of what was measured, after the warm-up; what is proven includes it.
type Report struct {
	Scenario    string      `json:"scenario"`
	About       string      `json:"about"`
	Target      string      `json:"target"`
	Product     string      `json:"product"` // id, with more than one the beginning of their ids
	Started     time.Time   `json:"started"`
	Settings    Settings    `json:"settings"`
	Environment Environment `json:"environment"`

	// Of the operations that place orders.
	Accepted int64            `json:"accepted"` // answered 201
	Refused  map[string]int64 `json:"refused"`  // answered 409, by code
	Failed   map[string]int64 `json:"failed"`   // all others, by status and code or by error
	// Details is how the service explained what it refused or failed, by reason: its first words of each, in all operations.
	Details           map[string]string `json:"details,omitempty"`
	AcceptedPerSecond float64           `json:"acceptedPerSecond"`
	Latency           Latency           `json:"latency"` // accepted and refused

	Ops               []OpReport `json:"operations"`
	RequestsPerSecond float64    `json:"requestsPerSecond"` // of all operations
	Seconds           float64    `json:"seconds"`           // measured
	Late              *Lateness  `json:"late,omitempty"`    // of an open loop
	Stolen            float64    `json:"stolen"`            // share of the bench's machine's CPU time that its host gave to others

	WarmupSeconds float64     `json:"warmupSeconds"`
	SlotSeconds   float64     `json:"slotSeconds"`
	Slots         []load.Slot `json:"slots"` // answers over time, from the first order
	Timeline      []Moment    `json:"timeline"`
	LagAtEnd      Moment      `json:"lagAtEnd,omitzero"` // right after the last answer; none where it could not be read

	Placed        int64   `json:"placed"`               // orders, those of the warm-up and found ones too
	Found         int64   `json:"found"`                // orders whose outcome was not known at first, and that turned out to be placed
	Unresolved    int64   `json:"unresolved"`           // orders that may have been placed or not, and nothing tells
	Undecided     int64   `json:"undecided"`            // orders that were placed, and nothing tells how they ended
	Stock         Stock   `json:"stock,omitzero"`       // of all products, after the sale; none where it could not be read
	LookedUp      int64   `json:"lookedUp"`             // orders, one by one
	Durable       int64   `json:"durable"`              // of them, that the ledger was seen to have
	RowsRead      bool    `json:"rowsRead"`             // the proof rests on every row of the ledger
	RowsUnread    int64   `json:"rowsUnread,omitempty"` // but of the orders after the first 50,000,000, which were counted only
	LedgerSeconds float64 `json:"ledgerSeconds"`

	Checked    bool     `json:"checked"`         // all checks were made and every rule holds
	Proven     bool     `json:"proven"`          // and it is known what became of every order
	Error      string   `json:"error,omitempty"` // why it is not proven, where no rule is broken
	Claims     []Claim  `json:"claims"`          // what was checked, and on what
	Violations []Breach `json:"violations"`
}

// Settings are those of the run.
type Settings struct {
	Buyers      int64   `json:"buyers"`
	Visits      int64   `json:"visits,omitempty"`
	Products    int     `json:"products"`
	Units       int64   `json:"units"` // of each
	Zipf        float64 `json:"zipf"`
	Connections int     `json:"connections"`
	Rate        float64 `json:"rate,omitempty"` // 0 = closed loop
	Seconds     float64 `json:"seconds,omitempty"`
	HoldSeconds int     `json:"holdSeconds,omitempty"`
	Durability  string  `json:"durability,omitempty"`
	Seed        uint64  `json:"seed"`
}

// OpReport is what became of one operation.
type OpReport struct {
	Name              string           `json:"name"`
	Accepted          int64            `json:"accepted"`
	Refused           map[string]int64 `json:"refused"`
	Failed            map[string]int64 `json:"failed"`
	AcceptedPerSecond float64          `json:"acceptedPerSecond"`
	AcceptedLatency   Latency          `json:"acceptedLatency"`
	RefusedLatency    Latency          `json:"refusedLatency"`
}

// Lateness is how well an open loop kept its schedule.
type Lateness struct {
	Latency
	Visits  int64 `json:"visits"`  // that were begun, of which the lateness is
	Dropped int64 `json:"dropped"` // visits that were not begun: they were later than the timeout
}

// Latency sums up how long requests took until the whole answer was there, in microseconds with three digits.
type Latency struct {
	P50Us   int64   `json:"p50Us"`
	P95Us   int64   `json:"p95Us"`
	P99Us   int64   `json:"p99Us"`
	P999Us  int64   `json:"p999Us"`
	P9999Us int64   `json:"p9999Us"`
	MaxUs   int64   `json:"maxUs"`
	Curve   []int64 `json:"curve,omitempty"` // at each of CurvePercentiles
}

// CurvePercentiles are where the distribution of latencies is told.
var CurvePercentiles = []float64{0, 25, 50, 75, 90, 95, 97.5, 99, 99.5, 99.75, 99.9, 99.95, 99.975, 99.99}

func newReport(s *sale) Report {
	return Report{
		Scenario: s.Scenario, About: s.scenario.About, Target: s.Target, Product: s.Product, Started: time.Now().UTC(),
		Settings: Settings{
			Buyers: s.Buyers, Visits: s.Visits, Products: s.Products, Units: s.Units, Zipf: s.Zipf,
			Connections: s.Connections, Rate: s.Rate, Seconds: s.Duration.Seconds(), HoldSeconds: s.HoldSeconds,
			Durability: s.Durability, Seed: s.Seed,
		},
		Environment: s.Environment,
		Refused:     map[string]int64{}, Failed: map[string]int64{}, Details: map[string]string{}, Claims: []Claim{}, Violations: []Breach{},
	}
}

// count notes what the buyers saw.
func (r *Report) count(result *load.Result, s *sale) {
	if len(result.Ops) == 0 {
		return
	}
	r.Seconds, r.WarmupSeconds, r.Stolen = result.Seconds, result.WarmupSeconds, result.Stolen
	r.SlotSeconds, r.Slots = result.SlotSeconds, result.Slots
	requests := int64(0)
	answered := result.Ops[0].AnsweredUs()
	for i := range result.Ops {
		op := &result.Ops[i]
		requests += op.Counts.All()
		maps.Copy(r.Details, op.Details)
		r.Ops = append(r.Ops, newOpReport(op, result))
		if i >= s.scenario.placing {
			continue
		}
		r.Accepted += op.Counts.Accepted
		addAll(r.Refused, op.Counts.Refused)
		addAll(r.Failed, op.Counts.Failed)
		if i > 0 {
			answered.Merge(op.AnsweredUs())
		}
	}
	r.Latency = latencyOf(answered)
	r.AcceptedPerSecond, r.RequestsPerSecond = result.PerSecond(r.Accepted), result.PerSecond(requests)
	r.Placed = s.book.placed
	if s.Rate > 0 {
		r.Late = &Lateness{latencyOf(result.LateUs), result.LateUs.TotalCount(), result.Dropped}
	}
}

func newOpReport(op *load.OpResult, result *load.Result) OpReport {
	return OpReport{
		Name: op.Name, Accepted: op.Counts.Accepted, Refused: op.Counts.Refused, Failed: op.Counts.Failed,
		AcceptedPerSecond: result.PerSecond(op.Counts.Accepted),
		AcceptedLatency:   latencyOf(op.AcceptedUs), RefusedLatency: latencyOf(op.RefusedUs),
	}
}

func addAll(sum, more map[string]int64) {
	for reason, n := range more {
		sum[reason] += n
	}
}

func latencyOf(h *hdrhistogram.Histogram) Latency {
	l := Latency{
		P50Us: h.ValueAtQuantile(50), P95Us: h.ValueAtQuantile(95), P99Us: h.ValueAtQuantile(99),
		P999Us: h.ValueAtQuantile(99.9), P9999Us: h.ValueAtQuantile(99.99), MaxUs: h.Max(),
	}
	if h.TotalCount() == 0 {
		return l
	}
	for _, p := range CurvePercentiles {
		l.Curve = append(l.Curve, h.ValueAtQuantile(p))
	}
	return l
}

// settle notes what was found after the sale.
func (r *Report) settle(s *settlement) {
	r.Stock, r.Found, r.Unresolved, r.Undecided = s.stock, int64(len(s.found)), s.unresolved, s.undecided
	r.Placed += r.Found
}

// Verdict returns in one line whether the sale was correct.
func (r *Report) Verdict() string {
	switch {
	case len(r.Violations) > 0:
		return fmt.Sprintf("NOT CORRECT: %d broken", len(r.Violations))
	case !r.Proven && !r.Checked:
		return "NOT PROVEN: " + cmp.Or(r.Error, "the sale or its checks did not come to their end")
	}
	verdict := fmt.Sprintf("sold exactly: %s of %s, nothing lost, nothing twice", grouped(r.Stock.Sold), r.offered())
	if !r.Proven {
		verdict = fmt.Sprintf("NOT PROVEN: %s; sold %s of %s, and nothing else is lost or there twice", r.Error, grouped(r.Stock.Sold), r.offered())
	}
	verdict += r.basis()
	if failed := load.Total(r.allFailed()); failed > 0 {
		verdict += "; failed requests: " + grouped(failed)
	}
	return verdict + r.caveat()
}

// Begun is true where there is something to report: buyers came.
func (r *Report) Begun() bool { return len(r.Ops) > 0 }

// StockKnown is false where the stock could not be read after the sale.
func (r *Report) StockKnown() bool { return r.Stock != Stock{} }

// LagKnown is false where nobody could say how far the ledger was behind.
func (r *Report) LagKnown() bool { return r.LagAtEnd.Seconds > 0 }

// basis says what the verdict rests on where that is less than everything: a row that is there twice, under another id, is
// found by reading all rows alone, for the ledger's counts are kept by the service.
func (r *Report) basis() string {
	switch {
	case r.RowsRead && r.RowsUnread == 0:
		return ""
	case r.RowsRead:
		return fmt.Sprintf(" (row by row, but of the last %s, whose number is right)", ordersText(r.RowsUnread))
	case r.LookedUp >= r.Placed:
		return " (each order looked up; --rows reads every row)"
	}
	return " (by a sample; --rows reads every row)"
}

// untold counts the orders whose outcome nobody knows.
func (r *Report) untold() int64 { return r.Unresolved + r.Undecided }

func ordersText(n int64) string {
	if n == 1 {
		return "1 order"
	}
	return grouped(n) + " orders"
}

// Endless is true where there was more on sale than anybody buys.
func (r *Report) Endless() bool { return r.Settings.Units >= endless }

// offered is what was on sale; more than anybody buys is called so.
func (r *Report) offered() string {
	if r.Endless() {
		return "a stock without end"
	}
	return grouped(r.Settings.Units * int64(r.Settings.Products))
}

func (r *Report) allFailed() map[string]int64 {
	all := map[string]int64{}
	for i := range r.Ops {
		addAll(all, r.Ops[i].Failed)
	}
	return all
}
