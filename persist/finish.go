package persist

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"flashsale/engine"
)

const moveSold = `
UPDATE products p
   SET sold = p.sold + d.delta, updated_at = now()
  FROM unnest($1::text[], $2::bigint[]) AS d (id, delta)
 WHERE p.id = d.id`

// moveSoldOne is for batches of one product, see [lockProduct].
const moveSoldOne = `UPDATE products SET sold = sold + $2, updated_at = now() WHERE id = $1`

const buryLetter = `
INSERT INTO dead_letters (partition, epoch, sequence, idx, order_id, product_id, user_id, quantity, record, reason)
VALUES ($1, $2, $3, $4, nullif($5, '00000000-0000-0000-0000-000000000000'::uuid), nullif($6, ''), nullif($7, ''), nullif($8::bigint, 0), $9, $10)`

// writeRefusal of an order that was refused, cancelled and refused again begins anew.
const writeRefusal = `
INSERT INTO refusals (order_id, partition, product_id, user_id, quantity, reason)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (order_id) DO UPDATE
   SET quantity = excluded.quantity, reason = excluded.reason, created_at = now(), answered_no_at = NULL, resolved_at = NULL`

// countOrders is for what was not foretold.
const countOrders = `
UPDATE partitions
   SET pending_orders = pending_orders + $2, confirmed_orders = confirmed_orders + $3,
       cancelled_orders = cancelled_orders + $4, expired_orders = expired_orders + $5, failed_orders = failed_orders + $6,
       refused = refused + $7, rebuild_reason = coalesce(rebuild_reason, nullif($8, ''))
 WHERE partition = $1`

const announce = `SELECT pg_notify($1, $2)`

// commit moves the counters, records what became of changes and dead letters, announces the position after the batch, which
// it returns, and commits, in one round trip.
func (t *ledgerTx) commit(ctx context.Context, v *verdict) (position, error) {
	to := t.from
	to.sequence = t.batch.last
	to.orders += t.batch.moves(t.from.orders)
	queue := &pgx.Batch{}
	switch products, deltas := v.moved(); len(products) {
	case 0:
	case 1:
		queue.Queue(moveSoldOne, products[0], deltas[0])
	default:
		queue.Queue(moveSold, products, deltas)
	}
	v.judgeChanges(t.batch.changes, t.products, t.atOnce)
	for i := range v.changes {
		queueChange(queue, &v.changes[i])
	}
	for i := range v.dead {
		t.queueDead(queue, &v.dead[i])
	}
	for _, o := range v.refused {
		queue.Queue(writeRefusal, o.ID, t.partition, o.Product, o.User, o.Quantity, o.Reason)
	}
	to.oversold, to.buried = to.oversold+int64(len(v.refused)), to.buried+int64(len(v.dead))
	n, reason := int64(len(v.refused)+len(v.dead)), v.rebuildReason()
	to.refused += n
	to.rebuildReason = cmp.Or(to.rebuildReason, reason)
	if moved := t.tally(v).without(t.foretold); n > 0 || reason != "" || !moved.still() {
		queue.Queue(countOrders, t.partition, moved[engine.StatusPending], moved[engine.StatusConfirmed],
			moved[engine.StatusCancelled], moved[engine.StatusExpired], moved[engine.StatusFailed], n, reason)
	}
	queue.Queue(announce, watermarkChannel, announcement(t.partition, to.watermark()))
	queue.Queue(`COMMIT`) // after a statement that fails Postgres skips the rest, and this with it
	if err := uncancelled(t.Conn(), func() error { return t.SendBatch(ctx, queue).Close() }); err != nil {
		return t.from, fmt.Errorf("commit: %w", err)
	}
	return to, nil
}

// moved lists the products whose counter moves, sorted.
func (v *verdict) moved() (products []string, deltas []int64) {
	for product, delta := range v.deltas {
		if delta != 0 {
			products = append(products, product)
		}
	}
	slices.Sort(products)
	for _, product := range products {
		deltas = append(deltas, v.deltas[product])
	}
	return products, deltas
}

const takeChange = `
UPDATE stock_changes SET outcome = $3, applied = $4, taken_at = now() WHERE product_id = $1 AND number = $2`

// countChange brings a product to a change that Redis has taken: what was not in force at once is now.
const countChange = `
UPDATE products p
   SET change_taken = $2, updated_at = now(),
       initial_stock  = p.initial_stock + CASE WHEN c.at_once THEN 0 ELSE $3::bigint END,
       name           = CASE WHEN c.at_once OR $4 THEN p.name ELSE c.name END,
       price_cents    = CASE WHEN c.at_once OR $4 THEN p.price_cents ELSE c.price_cents END,
       per_user_limit = CASE WHEN c.at_once OR $4 THEN p.per_user_limit ELSE c.per_user_limit END,
       active         = CASE WHEN c.at_once OR $4 THEN p.active ELSE c.active END,
       starts_at      = CASE WHEN c.at_once OR $4 THEN p.starts_at ELSE c.starts_at END,
       ends_at        = CASE WHEN c.at_once OR $4 THEN p.ends_at ELSE c.ends_at END,
       hold_seconds   = CASE WHEN c.at_once OR $4 THEN p.hold_seconds ELSE c.hold_seconds END,
       version        = p.version + CASE WHEN c.at_once OR $4 THEN 0 ELSE 1 END
  FROM stock_changes c
 WHERE p.id = $1 AND c.product_id = p.id AND c.number = $2 AND p.change_taken = $2 - 1`

// maxDeadText bounds each text of a dead letter, in bytes.
const maxDeadText = 4096

// deadText makes text that Postgres takes of what may be anything: what is no text, or too long, is quoted.
func deadText(text string) string {
	if utf8.ValidString(text) && !strings.ContainsRune(text, 0) && len(text) <= maxDeadText {
		return text
	}
	quoted := strconv.QuoteToASCII(text[:min(len(text), maxDeadText)])
	return quoted[:min(len(quoted), maxDeadText)]
}

func (t *ledgerTx) queueDead(queue *pgx.Batch, dead *engine.LoggedOrder) {
	o := &dead.Order
	queue.Queue(buryLetter, t.partition, t.from.epoch.Number, o.Sequence, o.Index, o.ID, deadText(o.Product), deadText(o.User),
		o.Quantity, deadText(dead.Record), deadText(dead.Err.Error()))
}

func queueChange(queue *pgx.Batch, c *engine.TakenChange) {
	outcome := "applied"
	if c.Refused {
		outcome = "refused"
	}
	queue.Queue(takeChange, c.Product, c.Number, outcome, c.Applied)
	queue.Queue(countChange, c.Product, c.Number, c.Applied, c.Refused)
}
