package reconcile

import (
	"errors"
	"time"

	"flashsale/engine"
)

// Class is a kind of drift.
type Class string

// The classes of drift. They are never renamed.
const (
	// Counter: a counter of Redis or of the ledger is not the sum of what it counts.
	Counter Class = "counter"
	// MissingInLedger: Redis knows an order, or its last change, that the ledger should have and has not.
	MissingInLedger Class = "missing_in_ledger"
	// MissingInRedis: an order of the ledger, or of the log, that Redis should know and does not.
	MissingInRedis Class = "missing_in_redis"
	// Phantom: an order on one side that nothing on either side backs.
	Phantom Class = "phantom"
	// OrphanedHold: a hold that is in one part of Redis and not in the other, or that is over in the ledger.
	OrphanedHold Class = "orphaned_hold"
	// BuyerCount: what Redis counts of a buyer is not the sum of the buyer's orders.
	BuyerCount Class = "buyer_count"
	// DeadLetter: an order that was answered and could not become a row.
	DeadLetter Class = "dead_letter"
	// Terms: Redis decides by other terms of a product (limit, window, switched off, longest hold) than the ledger has.
	Terms Class = "terms"
	// BrokenPromise: an order that Redis granted and the ledger refused, whose buyer may have been told yes.
	BrokenPromise Class = "broken_promise"
	// Undersell: units that are neither on sale, held nor sold.
	Undersell Class = "undersell"
)

// Finding is one drift, with both sides in words.
type Finding struct {
	Class     Class  `json:"class"`
	Partition int    `json:"partition"`
	Product   string `json:"product,omitempty"`
	User      string `json:"user,omitempty"`
	Order     string `json:"order,omitempty"`
	Redis     string `json:"redis"`             // what Redis says
	Ledger    string `json:"ledger"`            // what the ledger says
	Meaning   string `json:"meaning"`           // for the shop
	Repair    string `json:"repair"`            // what --apply does about it
	Outcome   string `json:"outcome,omitempty"` // what it did

	fix fix
}

// Done tells whether the drift is repaired.
func (f *Finding) Done() bool { return f.fix.done }

// Place is how far the ledger had come with a partition when a run began.
type Place struct {
	Partition int    `json:"partition"`
	Epoch     uint64 `json:"epoch"`
	Watermark uint64 `json:"watermark"`
}

// Report is what a run found.
type Report struct {
	Run        int64                   `json:"run"` // its number in reconcile_runs; 0 = it could not be recorded
	Outcome    engine.ReconcileOutcome `json:"outcome"`
	Reason     string                  `json:"reason,omitempty"` // why it could not tell
	StartedAt  time.Time               `json:"startedAt"`
	FinishedAt time.Time               `json:"finishedAt"`
	Seconds    float64                 `json:"seconds"`
	Apply      bool                    `json:"apply,omitempty"` // it was to repair what can be repaired
	Products   []string                `json:"onlyProducts,omitempty"`
	Places     []Place                 `json:"partitions"`
	Compared   Compared                `json:"compared"`
	Findings   []Finding               `json:"findings"`
	More       bool                    `json:"more,omitempty"` // there is more than is listed
	Repaired   int                     `json:"repaired,omitempty"`

	basis basis
}

// basis is what findings were found on: a repair must not act on anything else.
type basis struct {
	places  []place      // the partitions, as the last look found them
	arrears []arrears    // what was on its way
	cut     map[int]bool // partitions of which something was left out, for there was too much
}

// Compared counts what a run looked at.
type Compared struct {
	Products int64 `json:"products"`
	Orders   int64 `json:"orders"` // rows of the ledger that have units
	Buyers   int64 `json:"buyers"`
	Records  int64 `json:"records"` // orders that are still in Redis, by their record and by the log entry that sold them: some by both
}

// ErrUnknown says that a run could not tell: a store is away, a partition is shut, or the watermark is out of reach.
var ErrUnknown = errors.New("can't tell")

// maxFindings bounds what one run lists of each kind of thing. Of a partition that has more nothing is repaired.
const maxFindings = 1000

// units are what orders take of a product's stock.
type units struct{ held, sold int64 }

func (u units) plus(v units) units  { return units{u.held + v.held, u.sold + v.sold} }
func (u units) minus(v units) units { return units{u.held - v.held, u.sold - v.sold} }

// loses tells whether taking these units from what Redis counts could lose a sale or a hold: a hold that became a sale does not.
func (u units) loses() bool { return u.sold > 0 || u.held+u.sold > 0 }

// unitsOf returns what an order takes; nil takes nothing.
func unitsOf(o *engine.Order) units {
	switch {
	case o == nil:
	case o.Status == engine.StatusPending:
		return units{held: o.Quantity}
	case o.Status == engine.StatusConfirmed:
		return units{sold: o.Quantity}
	}
	return units{}
}

// pair is a buyer of a product.
type pair struct{ product, user string }

func (p pair) field() string { return engine.BuyerField(p.product, p.user) }
