package persist

import (
	"fmt"
	"slices"

	"flashsale/engine"
)

// ledgerProduct are the counters of a product whose row is locked.
type ledgerProduct struct {
	initial int64
	sold    int64
	taken   int64 // number of the last change that the log brought
}

// changeKey names a change of a product.
type changeKey struct {
	product string
	number  int64
}

// oldOrder is the row of an order before the batch.
type oldOrder struct {
	status   engine.Status
	quantity int64
	version  int64
	logPlace // of its last change
}

// verdict is what the ledger makes of a batch: the rows to write and how the counters move.
type verdict struct {
	rows    []*engine.Order // by id; those that the ledger refuses have failed
	dead    []engine.LoggedOrder
	deltas  map[string]int64 // product -> units by which sold moves
	refused []*engine.Order
	changes []engine.TakenChange // as the ledger records them
	lowered []engine.TakenChange // those that the ledger refuses, as Redis took them
}

const (
	reasonOversold  = "the ledger refused it: more was sold than there is stock"
	reasonNoProduct = "the ledger has no such product"
)

// judge decides in plain Go, with all rows concerned locked: no order of an unknown product becomes a row, and where
// Redis sold more than there is, the latest orders by sequence fail, only the excess.
func judge(b batch, products map[string]ledgerProduct, old map[engine.OrderID]oldOrder) verdict {
	v := verdict{rows: make([]*engine.Order, 0, len(b.orders)), deltas: make(map[string]int64)}
	var of run // of orders of one product, which is looked up once
	for _, logged := range b.orders {
		o := &logged.Order
		if o.Product != of.product {
			of.end(&v)
			_, known := products[o.Product]
			of = run{product: o.Product, known: known}
		}
		switch {
		case o.Quantity < 1 || o.Quantity > engine.MaxQuantity: // so that no sum can overflow
			v.bury(logged, errQuantity)
		case !of.known:
			v.bury(logged, errNoLedgerProduct)
		case old[o.ID].version >= o.Version: // the ledger has this state of the order, or a later one
		default:
			v.rows = append(v.rows, o)
			of.rows++
			of.delta += sold(o.Status, o.Quantity) - soldBefore(old, o.ID)
		}
	}
	of.end(&v)
	for product, delta := range v.deltas {
		if excess := products[product].sold + delta - products[product].initial; excess > 0 {
			v.fail(product, excess, old)
		}
	}
	return v
}

// run are orders of one product that follow one another.
type run struct {
	product string
	known   bool
	rows    int
	delta   int64 // units by which sold moves
}

func (r *run) end(v *verdict) {
	if r.rows > 0 {
		v.deltas[r.product] += r.delta
	}
}

func (v *verdict) bury(logged *engine.LoggedOrder, because error) {
	dead := *logged
	dead.Record, dead.Err = logged.Text(), because // of an order sold at once the entry has no record
	v.dead = append(v.dead, dead)
}

// fail refuses the latest orders of a product that took stock in this batch, until the excess is gone.
func (v *verdict) fail(product string, excess int64, old map[engine.OrderID]oldOrder) {
	var takers []int
	for i := range v.rows {
		if v.rows[i].Product == product && sold(v.rows[i].Status, v.rows[i].Quantity) > soldBefore(old, v.rows[i].ID) {
			takers = append(takers, i)
		}
	}
	slices.SortFunc(takers, func(x, y int) int { return compareLogged(v.rows[y], v.rows[x]) })
	for _, i := range takers {
		if excess <= 0 {
			return
		}
		took := sold(v.rows[i].Status, v.rows[i].Quantity)
		failed := *v.rows[i] // the batch may be judged again
		failed.Status, failed.Reason = engine.StatusFailed, reasonOversold
		v.rows[i] = &failed
		v.refused = append(v.refused, v.rows[i])
		v.deltas[product] -= took
		excess -= took
	}
}

// judgeChanges decides, after the orders, which changes that Redis took the ledger takes too: where a decrease would
// leave less stock than was sold, Redis ran ahead, and the change is refused, but its number is used up. atOnce has the
// changes that the ledger knows, and whether they are in force there already.
func (v *verdict) judgeChanges(changes []*engine.TakenChange, products map[string]ledgerProduct, atOnce map[changeKey]bool) {
	for _, taken := range changes {
		change := *taken
		p := products[change.Product]
		inForce, known := atOnce[changeKey{change.Product, change.Number}]
		if known && change.Number == p.taken+1 { // any other is recorded and moves nothing
			if !inForce && !change.Refused && !p.lower(change.Applied, v.deltas[change.Product]) {
				v.lowered = append(v.lowered, change)
				change.Refused, change.Applied = true, 0
			}
			p.taken = change.Number
			products[change.Product] = p
		}
		v.changes = append(v.changes, change)
	}
}

// lower takes units out of the stock unless that would leave less than was sold. What is not in force at once can only
// lower the stock.
func (p *ledgerProduct) lower(applied, soldNow int64) bool {
	if applied > 0 || p.initial+applied < p.sold+soldNow {
		return false
	}
	p.initial += applied
	return true
}

// rebuildReason says why Redis, which ran ahead, is to be rebuilt; "" = it did not.
func (v *verdict) rebuildReason() string {
	if len(v.refused) > 0 {
		return fmt.Sprintf("the ledger refused %d orders, the first of product %s", len(v.refused), v.refused[0].Product)
	}
	if len(v.lowered) > 0 {
		return fmt.Sprintf("the ledger refused to lower the stock of product %s by %d", v.lowered[0].Product, -v.lowered[0].Applied)
	}
	return ""
}

// compareLogged orders by place in the log.
func compareLogged(x, y *engine.Order) int {
	if x.Sequence != y.Sequence {
		if x.Sequence < y.Sequence {
			return -1
		}
		return 1
	}
	return x.Index - y.Index
}

// sold is how many units an order in a state has taken for good.
func sold(status engine.Status, quantity int64) int64 {
	if status == engine.StatusConfirmed {
		return quantity
	}
	return 0
}

func soldBefore(old map[engine.OrderID]oldOrder, id engine.OrderID) int64 {
	before := old[id]
	return sold(before.status, before.quantity)
}
