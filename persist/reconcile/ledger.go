package reconcile

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"flashsale/engine"
)

// place is a partition as a snapshot of the ledger has it.
type place struct {
	epoch    engine.Epoch
	sequence uint64
	rebuild  string // why it is about to be rebuilt; "" = it is not
	counts   counts // of orders, as the ledger keeps them
}

// counts are orders by state.
type counts map[engine.Status]int64

// statuses are the states in the order of their counters.
var statuses = []engine.Status{
	engine.StatusPending, engine.StatusConfirmed, engine.StatusCancelled, engine.StatusExpired, engine.StatusFailed,
}

const selectPlaces = `
SELECT epoch, namespace, replid, sequence, coalesce(rebuild_reason, ''), coalesce(operator_hold, ''),
       pending_orders, confirmed_orders, cancelled_orders, expired_orders, failed_orders
  FROM partitions
 ORDER BY partition`

func readPlaces(ctx context.Context, tx pgx.Tx) ([]place, error) {
	rows, err := tx.Query(ctx, selectPlaces)
	if err != nil {
		return nil, fmt.Errorf("partitions: %w", err)
	}
	places, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p place, err error) {
		var n [5]int64
		err = row.Scan(&p.epoch.Number, &p.epoch.Namespace, &p.epoch.Replid, &p.sequence, &p.rebuild, &p.epoch.Held,
			&n[0], &n[1], &n[2], &n[3], &n[4])
		p.counts = make(counts)
		for i, status := range statuses {
			p.counts[status] = n[i]
		}
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("partitions: %w", err)
	}
	return places, nil
}

// row is an order as the ledger has it.
type row struct {
	engine.Order
	epoch uint64
}

const rowColumns = `id, product_id, user_id, quantity, status, version, epoch, sequence, idx, created_at, updated_at, expires_at`

func scanRow(from pgx.Row) (r row, err error) {
	var created, updated time.Time
	var expires *time.Time
	err = from.Scan(&r.ID, &r.Product, &r.User, &r.Quantity, &r.Status, &r.Version, &r.epoch, &r.Sequence, &r.Index,
		&created, &updated, &expires)
	r.CreatedAtMs, r.UpdatedAtMs = created.UnixMilli(), updated.UnixMilli()
	if expires != nil {
		r.ExpiresAtMs = expires.UnixMilli()
	}
	return r, err
}

// rows reads orders by their ids.
func (f *frame) rows(ctx context.Context, ids []engine.OrderID) (map[engine.OrderID]*row, error) {
	found := make(map[engine.OrderID]*row, len(ids))
	if len(ids) == 0 {
		return found, nil
	}
	rows, err := f.tx.Query(ctx, `SELECT `+rowColumns+` FROM orders WHERE id = ANY ($1)`, ids)
	if err != nil {
		return nil, fmt.Errorf("orders: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (row, error) { return scanRow(r) })
	if err != nil {
		return nil, fmt.Errorf("orders: %w", err)
	}
	for i := range all {
		found[all[i].ID] = &all[i]
	}
	return found, nil
}

// letter is the last readable dead letter of an order, together with the order's row.
type letter struct {
	order engine.Order // as it was logged
	epoch uint64
	open  bool // somebody has yet to deal with it
	row   *row // nil = there is none
}

// maxLetters bounds how many orders with dead letters a run takes in.
const maxLetters = 10_000

const selectLetters = `
SELECT d.partition, d.order_id, d.record, d.epoch, d.sequence, d.idx, d.open, ` + letterRow + `
  FROM (SELECT DISTINCT ON (order_id) *, bool_or(resolved_at IS NULL) OVER (PARTITION BY order_id) AS open
          FROM dead_letters
         WHERE order_id IS NOT NULL AND quantity IS NOT NULL
         ORDER BY order_id, id DESC) d
  LEFT JOIN orders o ON o.id = d.order_id
 LIMIT $1`

const letterRow = `o.id IS NOT NULL, coalesce(o.product_id, ''), coalesce(o.user_id, ''), coalesce(o.quantity, 0), coalesce(o.status, ''),
       coalesce(o.version, 0), coalesce(o.epoch, 0), coalesce(o.sequence, 0), coalesce(o.idx, 0),
       coalesce(extract(epoch FROM o.expires_at) * 1000, 0)::bigint`

// readLetters reads the last readable dead letter of every order that has any.
func (f *frame) readLetters(ctx context.Context) error {
	rows, err := f.tx.Query(ctx, selectLetters, maxLetters+1)
	if err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	f.letters = make(map[engine.OrderID]*letter)
	var l letter
	var r row
	var partition int
	var id engine.OrderID
	var record string
	var at engine.Order
	var known bool
	into := []any{
		&partition, &id, &record, &l.epoch, &at.Sequence, &at.Index, &l.open,
		&known, &r.Product, &r.User, &r.Quantity, &r.Status, &r.Version, &r.epoch, &r.Sequence, &r.Index,
		&r.ExpiresAtMs,
	}
	_, err = pgx.ForEachRow(rows, into, func() error {
		order, err := engine.ParseRecord(id, record)
		if err != nil || partition >= len(f.places) {
			return nil //nolint:nilerr // nobody can say what it takes
		}
		order.Sequence, order.Index = at.Sequence, at.Index
		one := &letter{order: order, epoch: l.epoch, open: l.open}
		if known {
			one.row = &row{Order: r.Order, epoch: r.epoch}
			one.row.ID = id
		}
		f.letters[id] = one
		return nil
	})
	if err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	if len(f.letters) > maxLetters {
		return fmt.Errorf("%w: the ledger has more than %d orders with dead letters; deal with them first", ErrUnknown, maxLetters)
	}
	return nil
}

// ledgerProduct is a product as a snapshot of the ledger has it.
type ledgerProduct struct {
	id        string
	partition int
	initial   int64 // without what a change under way has raised already
	sold      int64
	taken     int64 // number of the last change that the log brought; 0 = Redis has never had it
	terms     engine.Terms
	settled   bool // no change of it is under way, so Redis has the same terms
}

const selectProducts = `
SELECT p.id, p.partition, p.initial_stock - coalesce(c.amount, 0), p.sold, p.change_taken,
       p.change_number = p.change_taken, p.per_user_limit, p.active, p.starts_at, p.ends_at, p.hold_seconds
  FROM products p
  LEFT JOIN stock_changes c
         ON c.product_id = p.id AND c.number = p.change_number AND p.change_number > p.change_taken AND c.at_once
 WHERE $1::text[] IS NULL OR p.id = ANY ($1)
 ORDER BY p.id`

// products reads products by id, all where only is nil.
func (f *frame) products(ctx context.Context, only []string) ([]ledgerProduct, error) {
	rows, err := f.tx.Query(ctx, selectProducts, only)
	if err != nil {
		return nil, fmt.Errorf("products: %w", err)
	}
	products, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (p ledgerProduct, err error) {
		var starts, ends *time.Time
		err = r.Scan(&p.id, &p.partition, &p.initial, &p.sold, &p.taken, &p.settled, &p.terms.PerUserLimit, &p.terms.Active,
			&starts, &ends, &p.terms.HoldSeconds)
		if starts != nil {
			p.terms.StartsAt = *starts
		}
		if ends != nil {
			p.terms.EndsAt = *ends
		}
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("products: %w", err)
	}
	return products, nil
}

// sums are what the rows of the ledger add up to.
type sums struct {
	units  map[string]units // product -> of its orders
	counts []counts         // partition -> orders by state, dead ones as failed
	orders int64
}

const selectSums = `
SELECT partition, product_id, status, count(*), sum(quantity)::bigint
  FROM orders
 WHERE $1::text[] IS NULL OR product_id = ANY ($1)
 GROUP BY partition, product_id, status`

// sum adds the rows up. It reads the whole table, in the snapshot, for as long as that takes.
func (f *frame) sum(ctx context.Context, only []string) (sums, error) {
	s := sums{units: make(map[string]units), counts: make([]counts, len(f.places))}
	for i := range s.counts {
		s.counts[i] = make(counts)
	}
	rows, err := f.tx.Query(ctx, selectSums, only)
	if err != nil {
		return s, fmt.Errorf("sums of orders: %w", err)
	}
	var partition int
	var o engine.Order
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&partition, &o.Product, &o.Status, &n, &o.Quantity}, func() error {
		s.units[o.Product] = s.units[o.Product].plus(unitsOf(&o))
		if partition < len(s.counts) {
			s.counts[partition][o.Status] += n
		}
		s.orders += n
		return nil
	})
	if err != nil {
		return s, fmt.Errorf("sums of orders: %w", err)
	}
	err = f.countDead(ctx, &s)
	return s, err
}

// countDead counts orders that only have dead letters, and those of which a letter has the last word, as failed.
func (f *frame) countDead(ctx context.Context, s *sums) error {
	const query = `
SELECT partition, count(DISTINCT order_id)
  FROM dead_letters d
 WHERE order_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.id = d.order_id)
 GROUP BY partition`
	rows, err := f.tx.Query(ctx, query)
	if err != nil {
		return fmt.Errorf("dead orders: %w", err)
	}
	var partition int
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&partition, &n}, func() error {
		if partition < len(s.counts) {
			s.counts[partition][engine.StatusFailed] += n
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("dead orders: %w", err)
	}
	for id, l := range f.letters {
		if l.row != nil && l.isDead() && id.Partition() < len(s.counts) {
			s.counts[id.Partition()][l.row.Status]--
			s.counts[id.Partition()][engine.StatusFailed]++
		}
	}
	return nil
}

const selectPairSums = `
SELECT k.n, coalesce(sum(o.quantity) FILTER (WHERE o.status = 'pending'), 0)::bigint,
       coalesce(sum(o.quantity) FILTER (WHERE o.status = 'confirmed'), 0)::bigint
  FROM unnest($1::text[], $2::text[]) WITH ORDINALITY k (product_id, user_id, n)
  JOIN orders o ON o.user_id = k.user_id AND o.product_id = k.product_id
 WHERE o.status IN ('pending', 'confirmed')
 GROUP BY k.n`

// sumPairs adds up the rows of some buyers. Those that have none are not in it.
func (f *frame) sumPairs(ctx context.Context, pairs []pair) (map[pair]units, error) {
	found := make(map[pair]units, len(pairs))
	if len(pairs) == 0 {
		return found, nil
	}
	products, users := make([]string, len(pairs)), make([]string, len(pairs))
	for i, p := range pairs {
		products[i], users[i] = p.product, p.user
	}
	rows, err := f.tx.Query(ctx, selectPairSums, products, users)
	if err != nil {
		return nil, fmt.Errorf("orders of buyers: %w", err)
	}
	var n int64
	var u units
	_, err = pgx.ForEachRow(rows, []any{&n, &u.held, &u.sold}, func() error {
		found[pairs[n-1]] = u
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("orders of buyers: %w", err)
	}
	return found, nil
}
