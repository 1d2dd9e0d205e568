package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"flashsale/engine"
)

// pairFact is a buyer on both sides at one moment.
type pairFact struct {
	pair
	redis   engine.Audited[engine.Buyer]
	want    units   // what Redis should count
	lastRow bool    // the ledger, or the log, has the order that Redis calls the buyer's last
	letter  *letter // a dead letter of that order; nil = there is none
	excess  *row    // the buyer's newest row of just as many units as Redis lacks; nil = there is none
}

// surplus is by how much Redis counts too much.
func (p *pairFact) surplus() units {
	return units{p.redis.Value.Held, p.redis.Value.Bought}.minus(p.want)
}

// productFact is a product on both sides at one moment.
type productFact struct {
	id     string
	redis  engine.Audited[engine.Stock]
	want   engine.Stock
	wanted bool // Redis should know it
	ledger *ledgerProduct
	rows   units // what the rows of its orders add up to
	terms  engine.Audited[string]
	differ bool // the terms, from those of the ledger
}

// surplus is by how much Redis counts too many units as held and sold.
func (p *productFact) surplus() units {
	return units{p.redis.Value.Held - p.want.Held, p.redis.Value.Sold - p.want.Sold}
}

// facts are suspects on both sides, in one frame, at a later watermark than that at which they became suspects.
type facts struct {
	engine   *engine.Engine
	orders   []orderFact
	pairs    map[pair]*pairFact
	products map[string]*productFact
	excess   map[int]counts // partition -> by how much the ledger's counters of orders exceed what they count
	letters  []openLetter
	refusals []refusal
	places   []place

	more bool // letters or refusals than are listed
}

// openLetter is a dead letter that nobody has dealt with.
type openLetter struct {
	id               int64
	partition        int
	order            *engine.OrderID
	product, user    string
	quantity         int64
	record, reason   string
	epoch, sequence  int64
	inTheLedgerAs    string // status of the order's row; "" = it has none
	readable, latest bool
	told             bool // that the order has failed, to somebody
	known            bool // the ledger has the product
}

// examine looks at suspects once more, with all that may explain them: the buyers and products of orders, the products of
// buyers.
func (r *Reconciler) examine(ctx context.Context, s *suspects) (*facts, error) {
	rest(ctx) // a later watermark
	found := &facts{engine: r.engine}
	p := &productsFrame{}
	var pairs []pair
	err := r.compare(ctx, judgement{
		choose: func(ctx context.Context, f *frame) (err error) {
			*found, *p = facts{engine: r.engine}, productsFrame{}
			if pairs, err = r.widen(ctx, f, s); err != nil {
				return err
			}
			return r.chooseSuspects(ctx, f, p, s, pairs)
		},
		judge: func(ctx context.Context, f *frame) error { return r.gather(ctx, f, p, s, found) },
	})
	return found, err
}

// widen adds the buyers and the products of suspect orders, as the ledger and Redis have them, and returns the buyers.
func (r *Reconciler) widen(ctx context.Context, f *frame, s *suspects) ([]pair, error) {
	ids := slices.Collect(maps.Keys(s.orders))
	rows, err := f.rows(ctx, ids)
	if err != nil {
		return nil, err
	}
	pairs := maps.Clone(s.pairs)
	for _, row := range rows {
		pairs[pair{row.Product, row.User}] = true
	}
	if err := r.widenByRedis(ctx, f, ids, pairs); err != nil {
		return nil, err
	}
	for p := range pairs {
		s.products[p.product] = true
	}
	return slices.Collect(maps.Keys(pairs)), nil
}

// widenByRedis adds the buyers whom Redis, or its log, has of orders.
func (r *Reconciler) widenByRedis(ctx context.Context, f *frame, ids []engine.OrderID, pairs map[pair]bool) error {
	byPartition := make([][]engine.OrderID, len(f.places))
	for _, id := range ids {
		byPartition[id.Partition()] = append(byPartition[id.Partition()], id)
	}
	for partition, some := range byPartition {
		if len(some) == 0 {
			continue
		}
		timed, cancel := context.WithTimeout(ctx, askTimeout)
		audit, err := r.engine.Audit(timed, partition, f.places[partition].epoch, 0, &engine.AuditQuery{Orders: some})
		cancel()
		if err != nil {
			return err
		}
		for i := range audit.Orders {
			if order := r.knownOf(ctx, f, &audit.Orders[i]); order != nil {
				pairs[pair{order.Product, order.User}] = true
			}
		}
	}
	return nil
}

// knownOf returns an order as Redis, or its log, has it; nil where neither says.
func (r *Reconciler) knownOf(ctx context.Context, f *frame, o *engine.AuditedOrder) *engine.Order {
	order := &o.Record.Value
	if !o.Record.Found || o.Record.Err != nil {
		return nil
	}
	if !o.InLog {
		return order
	}
	timed, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	partition := order.ID.Partition()
	_, logged, err := f.tails[partition].find(timed, r.engine, f.places[partition].epoch, order.Sequence, order.ID)
	if err != nil { // it is asked again with the others
		return nil
	}
	return logged
}

// productIDs lists the products, never nil, which would be all.
func (s *suspects) productIDs() []string {
	return slices.AppendSeq([]string{}, maps.Keys(s.products))
}

func (r *Reconciler) chooseSuspects(ctx context.Context, f *frame, p *productsFrame, s *suspects, pairs []pair) error {
	products := s.productIDs()
	if err := p.chooseProducts(ctx, f, r.engine, products, products); err != nil {
		return err
	}
	orders, buyers := make([][]engine.OrderID, len(f.places)), make([][]pair, len(f.places))
	for id := range s.orders {
		orders[id.Partition()] = append(orders[id.Partition()], id)
	}
	for _, one := range pairs {
		buyers[r.engine.PartitionOf(one.product)] = append(buyers[r.engine.PartitionOf(one.product)], one)
	}
	for partition := range f.places {
		f.want(partition, engine.AuditQuery{Orders: orders[partition]}, buyers[partition])
	}
	return nil
}

func (r *Reconciler) gather(ctx context.Context, f *frame, p *productsFrame, s *suspects, found *facts) error {
	found.places = f.places
	if err := found.gatherOrders(ctx, f); err != nil {
		return err
	}
	if err := found.gatherPairs(ctx, f); err != nil {
		return err
	}
	only := s.productIDs()
	if len(s.partitions) > 0 {
		only = nil // the counters of orders count all products
	}
	if err := p.gather(ctx, f, only); err != nil {
		return err
	}
	found.gatherProducts(p, s)
	if s.letters {
		if err := found.gatherLetters(ctx, f, r.config.Products); err != nil {
			return err
		}
	}
	return found.gatherRefusals(ctx, f, r.config.Products)
}

func (x *facts) gatherOrders(ctx context.Context, f *frame) error {
	for _, l := range f.looks {
		some, err := f.orderFacts(ctx, l)
		if err != nil {
			return err
		}
		for i := range some {
			o := &some[i]
			if o.amiss == "" {
				continue
			}
			if record := o.record(); record != nil {
				timed, cancel := context.WithTimeout(ctx, askTimeout)
				var logged *engine.Order
				o.kept, logged, err = f.tails[l.partition].find(timed, x.engine, f.places[l.partition].epoch, record.Sequence, o.id)
				cancel()
				if err != nil {
					return fmt.Errorf("log of partition %d: %w", l.partition, err)
				}
				o.logged = logged != nil
				o.fill(logged)
			}
			x.orders = append(x.orders, *o)
		}
	}
	slices.SortFunc(x.orders, func(a, b orderFact) int { return slices.Compare(a.id[:], b.id[:]) })
	return nil
}

func (x *facts) gatherPairs(ctx context.Context, f *frame) error {
	x.pairs = make(map[pair]*pairFact)
	var last []engine.OrderID
	logged := make(map[engine.OrderID]bool)
	for _, l := range f.looks {
		byRows, err := f.sumPairs(ctx, l.pairs)
		if err != nil {
			return err
		}
		want, err := f.wantedPairs(ctx, l, byRows)
		if err != nil {
			return err
		}
		f.noteLogged(l, logged)
		for i, p := range l.pairs {
			x.pairs[p] = &pairFact{pair: p, redis: l.audit.Buyers[i], want: want[p]}
			if id, ok := l.audit.Buyers[i].Value.ID(); ok {
				last = append(last, id)
			}
		}
	}
	rows, err := f.rows(ctx, last)
	if err != nil {
		return err
	}
	for _, p := range x.pairs {
		id, _ := p.redis.Value.ID()
		p.lastRow, p.letter = rows[id] != nil || logged[id], f.letters[id]
		if err := p.findExcess(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// noteLogged notes the orders that the log names and the ledger has not taken in at a look.
func (f *frame) noteLogged(l *look, logged map[engine.OrderID]bool) {
	entries := f.tails[l.partition].until(l.audit.Sequence)
	for i := range entries {
		for k := range entries[i].Orders {
			logged[entries[i].Orders[k].Order.ID] = true
		}
	}
}

// findExcess looks for the row that the ledger may have too much: of those that fit, the one that was written last.
func (p *pairFact) findExcess(ctx context.Context, f *frame) error {
	by := p.surplus()
	if readable := p.redis.Err == nil; !readable || by.sold >= 0 {
		return nil
	}
	const query = `SELECT ` + rowColumns + ` FROM orders
 WHERE user_id = $1 AND product_id = $2 AND status = 'confirmed' AND quantity = $3
 ORDER BY recorded_at DESC, id DESC
 LIMIT 1`
	found, err := scanRow(f.tx.QueryRow(ctx, query, p.user, p.product, -by.sold))
	if err == nil {
		p.excess = &found
	}
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return err
}

func (x *facts) gatherProducts(p *productsFrame, s *suspects) {
	x.products = make(map[string]*productFact)
	for _, id := range slices.Concat(p.ids, slices.Collect(maps.Keys(s.products))) {
		want, wanted := p.want[id]
		x.products[id] = &productFact{
			id: id, redis: p.have[id], want: want, wanted: wanted, ledger: p.products[id], rows: p.sums.units[id],
			terms: p.terms[id], differ: p.termsDiffer(id),
		}
	}
	x.excess = make(map[int]counts)
	for partition := range s.partitions {
		excess := make(counts)
		for _, status := range statuses {
			if n := x.places[partition].counts[status] - p.sums.counts[partition][status]; n != 0 {
				excess[status] = n
			}
		}
		x.excess[partition] = excess
	}
}

const selectOpenLetters = `
SELECT d.id, d.partition, d.order_id, coalesce(d.product_id, ''), coalesce(d.user_id, ''), coalesce(d.quantity, 0), d.record,
       d.reason, d.epoch, d.sequence, coalesce(o.status, ''), d.quantity IS NOT NULL AND d.order_id IS NOT NULL,
       NOT EXISTS (SELECT 1 FROM dead_letters n WHERE n.order_id = d.order_id AND n.quantity IS NOT NULL AND n.id > d.id),
       EXISTS (SELECT 1 FROM dead_letters t WHERE t.order_id = d.order_id AND t.told_failed_at IS NOT NULL),
       d.product_id IS NULL OR EXISTS (SELECT 1 FROM products p WHERE p.id = d.product_id)
  FROM dead_letters d LEFT JOIN orders o ON o.id = d.order_id
 WHERE d.resolved_at IS NULL AND ($1::text[] IS NULL OR d.product_id = ANY ($1))
 ORDER BY d.id
 LIMIT $2`

func (x *facts) gatherLetters(ctx context.Context, f *frame, only []string) error {
	rows, err := f.tx.Query(ctx, selectOpenLetters, only, maxFindings+1)
	if err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	x.letters, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (l openLetter, err error) {
		err = r.Scan(&l.id, &l.partition, &l.order, &l.product, &l.user, &l.quantity, &l.record, &l.reason, &l.epoch,
			&l.sequence, &l.inTheLedgerAs, &l.readable, &l.latest, &l.told, &l.known)
		return l, err
	})
	if err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	if len(x.letters) > maxFindings {
		x.more, x.letters = true, x.letters[:maxFindings]
	}
	return nil
}
