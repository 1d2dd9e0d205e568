package reconcile

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"flashsale/engine"
)

// refusal is an order that Redis granted and the ledger refused, of which its buyer may have been told yes.
type refusal struct {
	order         engine.OrderID
	partition     int
	product, user string
	quantity      int64
	reason        string
	since         string
}

// openRefusals are those that nobody has dealt with. One that was cancelled since is none.
const openRefusals = `
  FROM refusals f
 WHERE f.resolved_at IS NULL AND f.answered_no_at IS NULL AND ($1::text[] IS NULL OR f.product_id = ANY ($1))
   AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.id = f.order_id AND o.status <> 'failed')`

const selectOpenRefusals = `
SELECT f.order_id, f.partition, f.product_id, f.user_id, f.quantity, f.reason, to_char(f.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')` +
	openRefusals + `
 ORDER BY f.created_at, f.order_id
 LIMIT $2`

// seeRefusals notes whether there are any.
func (s *sweep) seeRefusals(ctx context.Context, f *frame) error {
	return f.tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1`+openRefusals+`)`, s.config.Products).Scan(&s.suspects.refusals)
}

func (x *facts) gatherRefusals(ctx context.Context, f *frame, only []string) error {
	rows, err := f.tx.Query(ctx, selectOpenRefusals, only, maxFindings+1)
	if err != nil {
		return fmt.Errorf("refusals: %w", err)
	}
	x.refusals, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r refusal, err error) {
		err = row.Scan(&r.order, &r.partition, &r.product, &r.user, &r.quantity, &r.reason, &r.since)
		return r, err
	})
	if err != nil {
		return fmt.Errorf("refusals: %w", err)
	}
	if len(x.refusals) > maxFindings {
		x.more, x.refusals = true, x.refusals[:maxFindings]
	}
	return nil
}

func (r *refusal) finding() Finding {
	return Finding{
		Class: BrokenPromise, Partition: r.partition, Product: r.product, User: r.user, Order: r.order.String(),
		Redis:  "granted " + unitsText(r.quantity) + "; the buyer may have been told yes",
		Ledger: r.reason + ", at " + r.since, Meaning: meaningBroken,
		fix: fix{how: howBroken},
	}
}
