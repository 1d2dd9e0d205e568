package engine

import "time"

// OrderPlace is a place in the list of a user's orders, newest first. The zero place is before the newest.
type OrderPlace struct {
	CreatedAtMs int64
	ID          OrderID
}

// OrderPage is a part of the list of a user's orders.
type OrderPage struct {
	Orders []OrderView
	LagMs  int64 // how far behind Redis the list may be; 0 = it has everything that was answered before it was asked for
}

// JobStatus says how far an order is on its way from Redis to the ledger.
type JobStatus string

// The ways of an order: it waits in Redis, is part of a ledger transaction under way in this process, is in the ledger, or
// has failed there.
const (
	JobWaiting   JobStatus = "waiting"
	JobActive    JobStatus = "active"
	JobCompleted JobStatus = "completed"
	JobFailed    JobStatus = "failed"
)

// Job is an order as a job of the drain.
type Job struct {
	OrderView
	State        JobStatus
	Position     int64 // in the queue of its partition, from 1; 0 = it is in the ledger
	RecordedAtMs int64 // when the ledger wrote it, by the ledger's clock; 0 = not yet
}

// OrderCounts are the orders by state, as the ledger has them, and what is on the way there.
type OrderCounts struct {
	Pending   int64
	Confirmed int64
	Cancelled int64
	Expired   int64
	Failed    int64

	Waiting int64 // changes of orders that no transaction of this process brings yet
	Active  int64 // changes of orders in the ledger transactions under way in this process
}

// Total returns how many orders the ledger has.
func (c *OrderCounts) Total() int64 {
	return c.Pending + c.Confirmed + c.Cancelled + c.Expired + c.Failed
}

// ProductStock is a product and its counters.
type ProductStock struct {
	Product string
	Stock
}

// StockTotals sums up the counters of all products.
type StockTotals struct {
	Products   int64
	OutOfStock int64 // products of which nothing is left to buy
	LowStock   int64 // products of which something is left, but at most a tenth of the initial stock
	Initial    int64 // units
	Current    int64 // units
}

// lowStockPart is the part of its initial stock, one in so many, at which a product counts as low.
const lowStockPart = 10

func (t *StockTotals) add(s Stock) {
	t.Products++
	t.Initial += s.Initial
	t.Current += s.Current
	switch {
	case s.Current == 0:
		t.OutOfStock++
	case s.Current <= s.Initial/lowStockPart:
		t.LowStock++
	}
}

// ReconcileOutcome says how a comparison of Redis with the ledger ended.
type ReconcileOutcome string

// The outcomes of a comparison.
const (
	ReconciledClean   ReconcileOutcome = "clean"
	ReconciledDrift   ReconcileOutcome = "drift"
	ReconciledUnknown ReconcileOutcome = "unknown" // it could not tell
)

// Reconciled is what came of a comparison of Redis with the ledger over all products.
type Reconciled struct {
	Run        int64 // its number in reconcile_runs
	Outcome    ReconcileOutcome
	Drift      int64 // things that differ and were not repaired
	Repaired   int64
	FinishedAt time.Time
}
