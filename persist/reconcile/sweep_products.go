package reconcile

import (
	"context"

	"flashsale/engine"
)

// productsFrame looks at all products at once, against one sum of the ledger's rows.
type productsFrame struct {
	ids      []string
	products map[string]*ledgerProduct
	sums     sums
	want     map[string]engine.Stock
	have     map[string]engine.Audited[engine.Stock]
	terms    map[string]engine.Audited[string] // that Redis has
	moved    map[string]bool                   // products that the log changes between the two sides
}

// chooseProducts has the products of the ledger looked at, and others besides.
func (p *productsFrame) chooseProducts(ctx context.Context, f *frame, e *engine.Engine, only, besides []string) error {
	ledger, err := f.products(ctx, only)
	if err != nil {
		return err
	}
	p.products = make(map[string]*ledgerProduct, len(ledger))
	asked := make([][]string, len(f.places))
	for i := range ledger {
		p.products[ledger[i].id] = &ledger[i]
		partition := e.PartitionOf(ledger[i].id)
		asked[partition] = append(asked[partition], ledger[i].id)
	}
	for _, id := range besides {
		if p.products[id] == nil {
			asked[e.PartitionOf(id)] = append(asked[e.PartitionOf(id)], id)
		}
	}
	for partition, ids := range asked {
		f.want(partition, engine.AuditQuery{Products: ids}, nil)
	}
	return nil
}

// gather takes in what the looks of a frame say about products.
func (p *productsFrame) gather(ctx context.Context, f *frame, only []string) (err error) {
	p.want, p.have = make(map[string]engine.Stock), make(map[string]engine.Audited[engine.Stock])
	p.terms, p.moved = make(map[string]engine.Audited[string]), make(map[string]bool)
	if p.sums, err = f.sum(ctx, only); err != nil {
		return err
	}
	for _, l := range f.looks {
		if len(l.query.Products) == 0 {
			continue
		}
		want, err := f.wantedStocks(ctx, l, p.products, p.sums.units)
		if err != nil {
			return err
		}
		f.noteChanged(l, p.moved)
		for i, id := range l.query.Products {
			p.ids = append(p.ids, id)
			p.have[id], p.terms[id] = l.audit.Stocks[i], l.audit.Terms[i]
			if stock, known := want[id]; known {
				p.want[id] = stock
			}
		}
	}
	return nil
}

// amiss tells whether Redis has other counters of a product than it should, or the ledger's own are not the sum of its rows.
func (p *productsFrame) amiss(id string) bool {
	want, wanted := p.want[id]
	have := p.have[id]
	if wanted != have.Found || have.Found && (have.Err != nil || have.Value != want) {
		return true
	}
	product := p.products[id]
	return product != nil && product.sold != p.sums.units[id].sold || p.termsDiffer(id)
}

// termsDiffer tells whether Redis decides by other terms than the ledger has. While a change is on its way nobody can say.
func (p *productsFrame) termsDiffer(id string) bool {
	product := p.products[id]
	if product == nil || product.taken == 0 || !product.settled || p.moved[id] {
		return false
	}
	return p.terms[id].Value != product.terms.String()
}

// noteChanged notes the products that the log changes up to a look.
func (f *frame) noteChanged(l *look, changed map[string]bool) {
	entries := f.tails[l.partition].until(l.audit.Sequence)
	for i := range entries {
		if c := entries[i].Change; c != nil {
			changed[c.Product] = true
		}
	}
}

// sweepProducts compares all products, and the ledger's counters of orders, in one frame.
func (s *sweep) sweepProducts(ctx context.Context) error {
	names, err := s.redisProducts(ctx)
	if err != nil {
		return err
	}
	p := &productsFrame{}
	return s.compare(ctx, judgement{
		choose: func(ctx context.Context, f *frame) error {
			*p = productsFrame{}
			return p.chooseProducts(ctx, f, s.engine, s.config.Products, names)
		},
		judge: func(ctx context.Context, f *frame) error {
			if err := p.gather(ctx, f, s.config.Products); err != nil {
				return err
			}
			s.begin(f, p)
			return s.judgeProducts(ctx, f, p)
		},
	})
}

// redisProducts lists the products that Redis has counters of.
func (s *sweep) redisProducts(ctx context.Context) (names []string, err error) {
	seen := make(map[string]bool)
	for partition := range s.engine.Partitions() {
		err := s.scan(ctx, partition, func(k engine.Keys) string { return k.Stock }, func(elements []string) error {
			for i := 0; i < len(elements); i += 2 {
				if s.concerns(elements[i]) && !seen[elements[i]] {
					seen[elements[i]] = true
					names = append(names, elements[i])
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return names, nil
}

// begin notes what the run compares against, and how much there is.
func (s *sweep) begin(f *frame, p *productsFrame) {
	s.report.Places = nil
	for i := range f.places {
		s.report.Places = append(s.report.Places, Place{Partition: i, Epoch: f.places[i].epoch.Number, Watermark: f.places[i].sequence})
	}
	s.report.Compared = Compared{Products: int64(len(p.ids))}
	s.all, s.done, s.shown = 2*p.sums.orders, 0, 0 // once from the ledger's side, once from Redis's
}

func (s *sweep) judgeProducts(ctx context.Context, f *frame, p *productsFrame) error {
	for _, id := range p.ids {
		if s.only != nil {
			s.seen[id] = true
		}
		if p.amiss(id) {
			suspect(s.suspects, s.suspects.products, id, s.engine.PartitionOf(id))
		}
	}
	for id := range p.sums.units { // rows of products that nobody knows
		if _, looked := p.have[id]; !looked {
			if s.only != nil {
				s.seen[id] = true
			}
			suspect(s.suspects, s.suspects.products, id, s.engine.PartitionOf(id))
		}
	}
	for partition := range f.places {
		if s.only == nil && !f.places[partition].counts.equal(p.sums.counts[partition]) {
			s.suspects.partitions[partition] = true
		}
	}
	const open = `SELECT EXISTS (SELECT 1 FROM dead_letters WHERE resolved_at IS NULL AND ($1::text[] IS NULL OR product_id = ANY ($1)))`
	if err := f.tx.QueryRow(ctx, open, s.config.Products).Scan(&s.suspects.letters); err != nil {
		return err
	}
	return s.seeRefusals(ctx, f)
}

func (c counts) equal(d counts) bool {
	for _, status := range statuses {
		if c[status] != d[status] {
			return false
		}
	}
	return true
}
