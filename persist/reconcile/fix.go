package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"flashsale/engine"
)

// fixKind is a way to repair something.
type fixKind int

const (
	fixByHand  fixKind = iota
	fixRebuild         // Redis is written anew from the ledger, behind its log
	fixPutRow          // an order is written into the ledger
	fixFailRow         // an order of the ledger fails
	fixRecount         // counters of the ledger are counted again
	fixLetter          // a dead letter is brought into the ledger
	fixDue             // a hold of the ledger is over when Redis says so
)

func (f *fix) words() string {
	switch f.kind {
	case fixRebuild:
		return "shut the partition, drain its log, write Redis anew from the ledger"
	case fixPutRow:
		return "write the order into the ledger"
	case fixFailRow:
		return "mark the row failed"
	case fixRecount:
		return "count the ledger's rows again"
	case fixLetter:
		return "bring the order into the ledger, if it takes it now"
	case fixDue:
		return "write into the ledger when the hold is over"
	case fixByHand:
	}
	if f.how != "" {
		return "by hand: " + f.how
	}
	return "by hand, see docs/operations.md"
}

// fix is how a finding is repaired.
type fix struct {
	kind   fixKind
	how    string        // by hand: what to do
	order  *engine.Order // for the ledger
	letter int64         // its id
	done   bool

	// blocks says that Redis may have the only trace of a sale: the partition is not written anew.
	blocks bool
	// loose says that rows are missing and that nobody can name them: the ledger's counters may be the last to know how many.
	loose bool
}

// errRefused says why a repair was not made.
var errRefused = errors.New("not repaired")

const putRow = `
INSERT INTO orders (id, partition, product_id, user_id, quantity, status, version, epoch, sequence, idx, created_at, updated_at,
                    expires_at, idempotency_key, idempotency_request)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, nullif($14, ''), nullif($15, ''))
ON CONFLICT (id) DO UPDATE
   SET quantity = excluded.quantity, status = excluded.status, version = excluded.version, epoch = excluded.epoch,
       sequence = excluded.sequence, idx = excluded.idx, updated_at = excluded.updated_at, expires_at = excluded.expires_at,
       reason = NULL, recorded_at = clock_timestamp()
 WHERE orders.version < excluded.version`

// put writes an order as Redis, or the log, had it. One that the ledger has further than that stays as it is.
func (t *repairTx) put(ctx context.Context, o *engine.Order, epoch uint64) error {
	var expires *time.Time
	if o.ExpiresAtMs != 0 {
		at := time.UnixMilli(o.ExpiresAtMs)
		expires = &at
	}
	var known bool
	if err := t.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM products WHERE id = $1)`, o.Product).Scan(&known); err != nil {
		return err
	}
	if !known {
		return fmt.Errorf("%w: the ledger has no product %s", errRefused, o.Product)
	}
	_, err := t.Exec(ctx, putRow, o.ID, t.partition, o.Product, o.User, o.Quantity, o.Status, o.Version, epoch, o.Sequence,
		o.Index, time.UnixMilli(o.CreatedAtMs), time.UnixMilli(o.UpdatedAtMs), expires, o.IdempotencyKey, o.Request)
	return err
}

// due has a hold be over when Redis says.
func (t *repairTx) due(ctx context.Context, o *engine.Order) error {
	const update = `
UPDATE orders SET expires_at = $3, recorded_at = clock_timestamp() WHERE id = $1 AND status = 'pending' AND version = $2`
	tag, err := t.Exec(ctx, update, o.ID, o.Version, time.UnixMilli(o.ExpiresAtMs))
	if err == nil && tag.RowsAffected() == 0 {
		err = errRowChanged
	}
	return err
}

var errRowChanged = fmt.Errorf("%w: the row has changed meanwhile", errRefused)

// failReason is what a row says that a repair has failed.
const failReason = "reconciliation: nothing backs this order"

func (t *repairTx) fail(ctx context.Context, o *engine.Order) error {
	const update = `
UPDATE orders SET status = 'failed', reason = $3, version = version + 1, updated_at = now(), recorded_at = clock_timestamp()
 WHERE id = $1 AND status = $2`
	tag, err := t.Exec(ctx, update, o.ID, o.Status, failReason)
	if err == nil && tag.RowsAffected() == 0 {
		err = errRowChanged
	}
	return err
}

// land brings a dead letter into the ledger. Whatever kept it out may be gone; if not, it still refuses.
func (t *repairTx) land(ctx context.Context, letter int64) error {
	var id engine.OrderID
	var record string
	var place engine.Order
	var epoch uint64
	const query = `
SELECT order_id, record, epoch, sequence, idx, told_failed_at IS NOT NULL FROM dead_letters WHERE id = $1 AND resolved_at IS NULL FOR UPDATE`
	var told bool
	err := t.QueryRow(ctx, query, letter).Scan(&id, &record, &epoch, &place.Sequence, &place.Index, &told)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%w: somebody has dealt with it meanwhile", errRefused)
	}
	if err != nil {
		return err
	}
	o, err := engine.ParseRecord(id, record)
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	if told && unitsOf(&o) != (units{}) {
		return fmt.Errorf("%w: somebody was told meanwhile that it failed", errRefused)
	}
	o.Sequence, o.Index = place.Sequence, place.Index
	if err := t.put(ctx, &o, epoch); err != nil {
		return err
	}
	t.landed[letter] = o.Status
	t.rebuild = t.rebuild || epoch != t.place.epoch.Number // the rebuild since then has taken it for a sale
	_, err = t.Exec(ctx, `UPDATE dead_letters SET resolved_at = now() WHERE order_id = $1 AND id <= $2 AND resolved_at IS NULL`, id, letter)
	return err
}

// recountProduct has a product's counter be what its rows add up to. Postgres refuses more than there is, and this refuses
// less than the counter says: it may be the last to know of a sale.
func (t *repairTx) recountProduct(ctx context.Context, product string) error {
	const query = `
SELECT sold, (SELECT coalesce(sum(quantity), 0)::bigint FROM orders WHERE product_id = $1 AND status = 'confirmed')
  FROM products WHERE id = $1 FOR UPDATE`
	var says, rows int64
	err := t.QueryRow(ctx, query, product).Scan(&says, &rows)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if rows < says {
		return fmt.Errorf("%w: the ledger's counter would go from %d sold down to %d: by hand", errRefused, says, rows)
	}
	const update = `UPDATE products SET sold = $2, updated_at = now() WHERE id = $1 AND sold <> $2`
	_, err = t.Exec(ctx, update, product, rows)
	return err
}

// countOrders has the partition's counters of orders be what they count. Where rows are missing that nobody can name, the
// counters are the last to know how many: then they only move by what was repaired. A row that was written had been counted when
// it was drained; one that failed never had.
func (t *repairTx) countOrders(ctx context.Context, findings []*Finding) error {
	unnamed := slices.ContainsFunc(findings, func(f *Finding) bool {
		return f.fix.loose || f.Class == MissingInLedger && !f.fix.done
	})
	if !unnamed {
		return t.recountOrders(ctx)
	}
	failed, landed := 0, make(counts)
	for _, f := range findings {
		switch {
		case f.fix.done && f.fix.kind == fixFailRow:
			failed++
		case f.fix.done && f.fix.kind == fixLetter:
			failed--
			landed[t.landed[f.fix.letter]]++
		}
	}
	const update = `
UPDATE partitions SET failed_orders = failed_orders + $2, pending_orders = pending_orders + $3, confirmed_orders = confirmed_orders + $4,
       cancelled_orders = cancelled_orders + $5, expired_orders = expired_orders + $6
 WHERE partition = $1`
	_, err := t.Exec(ctx, update, t.partition, failed, landed[engine.StatusPending], landed[engine.StatusConfirmed],
		landed[engine.StatusCancelled], landed[engine.StatusExpired])
	return err
}

// recountOrders has the partition's counters of orders be what they count.
func (t *repairTx) recountOrders(ctx context.Context) error {
	f := &frame{tx: t.Tx, places: t.places}
	if err := f.readLetters(ctx); err != nil {
		return err
	}
	s, err := f.sum(ctx, nil)
	if err != nil {
		return err
	}
	c := s.counts[t.partition]
	const update = `
UPDATE partitions SET pending_orders = $2, confirmed_orders = $3, cancelled_orders = $4, expired_orders = $5, failed_orders = $6
 WHERE partition = $1`
	_, err = t.Exec(ctx, update, t.partition, c[engine.StatusPending], c[engine.StatusConfirmed], c[engine.StatusCancelled],
		c[engine.StatusExpired], c[engine.StatusFailed])
	return err
}

// rowNow returns an order's row as JSON, nil where there is none.
func (t *repairTx) rowNow(ctx context.Context, order string) (text *string, err error) {
	if order == "" {
		return nil, nil
	}
	err = t.QueryRow(ctx, `SELECT to_jsonb(o)::text FROM orders o WHERE id = $1::uuid`, order).Scan(&text)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return text, err
}
