package reconcile

import (
	"context"
	"fmt"
	"hash/maphash"

	"github.com/jackc/pgx/v5"

	"flashsale/engine"
)

// A sweep compares what the ledger had a while ago with what Redis has now, which is quick, and looks closely, in one frame,
// only at what differs then: in a rush that is what moved meanwhile, otherwise it is a drift.

// closeLook collects what is to be looked at closely, and does so in portions.
type closeLook[T any] struct {
	wanted []T
	look   func(ctx context.Context, some []T) error
}

func (c *closeLook[T]) add(ctx context.Context, one T) error {
	c.wanted = append(c.wanted, one)
	if len(c.wanted) < engine.MaxAudit {
		return nil
	}
	return c.flush(ctx)
}

func (c *closeLook[T]) flush(ctx context.Context) error {
	if len(c.wanted) == 0 {
		return nil
	}
	some := c.wanted
	c.wanted = nil
	return c.look(ctx, some)
}

// selectBuyers adds up the orders of every buyer.
const selectBuyers = `
SELECT user_id, product_id, coalesce(sum(quantity) FILTER (WHERE status = 'pending'), 0)::bigint,
       coalesce(sum(quantity) FILTER (WHERE status = 'confirmed'), 0)::bigint, count(*)
  FROM orders
 WHERE status IN ('pending', 'confirmed') AND ($1::text[] IS NULL OR product_id = ANY ($1))
 GROUP BY user_id, product_id`

// buyersMemory is what Postgres may use to add them up before it goes to disk.
const buyersMemory = `SET LOCAL work_mem = '64MB'`

// buyers is a portion of them on its way from the ledger to a comparison, those of one partition.
type buyers struct {
	pairs []pair
	units []units
}

// sweepLedgerBuyers compares every buyer that the ledger has with what Redis counts of them.
func (s *sweep) sweepLedgerBuyers(ctx context.Context) error {
	tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx) //nolint:errcheck // it has read only
	if _, err := tx.Exec(ctx, buyersMemory); err != nil {
		return err
	}
	if err := unlimited(ctx, tx); err != nil {
		return err
	}
	near := &closeLook[pair]{look: s.comparePairs}
	rows, err := tx.Query(ctx, selectBuyers, s.config.Products)
	if err != nil {
		return err
	}
	portions := make([]buyers, s.engine.Partitions())
	var p pair
	var u units
	var n int
	_, err = pgx.ForEachRow(rows, []any{&p.user, &p.product, &u.held, &u.sold, &n}, func() error {
		partition := s.engine.PartitionOf(p.product)
		portion := &portions[partition]
		portion.pairs, portion.units = append(portion.pairs, p), append(portion.units, u)
		s.known.add(p.field())
		s.report.Compared.Buyers++
		s.report.Compared.Orders += int64(n)
		s.advance(n)
		if len(portion.pairs) < engine.MaxAudit {
			return nil
		}
		return s.screen(ctx, partition, portion, near)
	})
	if err != nil {
		return err
	}
	for partition := range portions {
		if err := s.screen(ctx, partition, &portions[partition], near); err != nil {
			return err
		}
	}
	return near.flush(ctx)
}

// screen asks Redis about a portion of buyers and has those looked at closely who differ.
func (s *sweep) screen(ctx context.Context, partition int, portion *buyers, near *closeLook[pair]) error {
	if len(portion.pairs) == 0 {
		return nil
	}
	var q engine.AuditQuery
	for _, p := range portion.pairs {
		q.Buyers = append(q.Buyers, p.field())
	}
	audit, err := s.glance(ctx, partition, &q)
	if err != nil {
		return err
	}
	for i, p := range portion.pairs {
		if audit.Guard != engine.GuardOK || buyerAmiss(&audit.Buyers[i], portion.units[i]) {
			if err := near.add(ctx, p); err != nil {
				return err
			}
		}
	}
	portion.pairs, portion.units = portion.pairs[:0], portion.units[:0]
	return nil
}

// glance asks Redis without regard to the ledger's watermark.
func (s *sweep) glance(ctx context.Context, partition int, q *engine.AuditQuery) (engine.Audit, error) {
	const query = `SELECT epoch, namespace, replid FROM partitions WHERE partition = $1`
	var epoch engine.Epoch
	if err := s.pool.QueryRow(ctx, query, partition).Scan(&epoch.Number, &epoch.Namespace, &epoch.Replid); err != nil {
		return engine.Audit{}, fmt.Errorf("epoch of partition %d: %w", partition, err)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return s.engine.Audit(ctx, partition, epoch, 0, q)
}

// comparePairs looks closely at buyers.
func (s *sweep) comparePairs(ctx context.Context, pairs []pair) error {
	var byRows map[pair]units
	return s.compare(ctx, judgement{
		choose: func(_ context.Context, f *frame) error {
			s.wantPairs(f, pairs)
			return nil
		},
		judge: func(ctx context.Context, f *frame) (err error) {
			if byRows, err = f.sumPairs(ctx, pairs); err != nil {
				return err
			}
			return s.judgePairs(ctx, f, byRows)
		},
	})
}

// wantPairs has buyers looked at, each in the partition of the product.
func (s *sweep) wantPairs(f *frame, pairs []pair) {
	asked := make([][]pair, len(f.places))
	for _, p := range pairs {
		partition := s.engine.PartitionOf(p.product)
		asked[partition] = append(asked[partition], p)
	}
	for partition, some := range asked {
		f.want(partition, engine.AuditQuery{}, some)
	}
}

func (s *sweep) judgePairs(ctx context.Context, f *frame, byRows map[pair]units) error {
	for _, l := range f.looks {
		want, err := f.wantedPairs(ctx, l, byRows)
		if err != nil {
			return err
		}
		for i, p := range l.pairs {
			if buyerAmiss(&l.audit.Buyers[i], want[p]) {
				suspect(s.suspects, s.suspects.pairs, p, l.partition)
			}
		}
	}
	return nil
}

// buyerAmiss tells whether Redis counts something else of a buyer than it should. A buyer who has nothing may be unknown.
func buyerAmiss(have *engine.Audited[engine.Buyer], want units) bool {
	return have.Err != nil || units{have.Value.Held, have.Value.Bought} != want
}

// sweepRedisBuyers looks for buyers of whom only Redis counts anything.
func (s *sweep) sweepRedisBuyers(ctx context.Context, partition int) error {
	near := &closeLook[pair]{look: s.comparePairs}
	err := s.scan(ctx, partition, func(k engine.Keys) string { return k.Buyers }, func(elements []string) error {
		s.advance(len(elements) / 2)
		for i := 0; i+1 < len(elements); i += 2 {
			product, user, ok := engine.SplitBuyerField(elements[i])
			ok = ok && engine.ValidProductID(product) && engine.ValidUserID(user) && s.concerns(product)
			have, err := engine.ParseBuyer(elements[i+1])
			if ok && (err != nil || have.Bought+have.Held > 0 && !s.known.has(elements[i])) {
				if err := near.add(ctx, pair{product, user}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return near.flush(ctx)
}

// filter remembers texts in a fixed space (a Bloom filter): it never forgets one, and takes another for one of them once in
// 17 million times where it has a million, once in 2,000 where it has ten. Its hash differs from run to run, so what one run
// overlooks the next one sees.
type filter struct {
	seed maphash.Seed
	bits []uint64
}

const (
	filterBits   = 1 << 28 // 32 MB
	filterProbes = 4
)

func newFilter() *filter {
	return &filter{seed: maphash.MakeSeed(), bits: make([]uint64, filterBits/64)}
}

func (b *filter) each(text string, use func(word *uint64, bit uint64)) {
	hash := maphash.String(b.seed, text)
	step := hash>>32 | 1
	for range filterProbes {
		at := hash % filterBits
		use(&b.bits[at/64], 1<<(at%64))
		hash += step
	}
}

func (b *filter) add(text string) { b.each(text, func(word *uint64, bit uint64) { *word |= bit }) }

func (b *filter) has(text string) bool {
	all := true
	b.each(text, func(word *uint64, bit uint64) { all = all && *word&bit != 0 })
	return all
}
