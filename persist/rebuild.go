package persist

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"flashsale/engine"
)

// rebuild writes what the ledger has into a namespace of its own, and publishes that as the next epoch unless the
// ledger has moved meanwhile. A namespace that is not in force is on the ledger's list of those to be dropped, from
// before its first key until it is gone.
func (l *leader) rebuild(ctx context.Context, at position, replid string) error {
	next := engine.Epoch{Number: at.epoch.Number + 1, Namespace: engine.NewNamespace(at.epoch.Number + 1), Replid: replid}
	keys, err := l.engine.EpochKeys(l.partition, next)
	if err != nil {
		return err
	}
	const list = `UPDATE partitions SET stale = array_append(stale, $2) WHERE partition = $1`
	if _, err := l.exec(ctx, list, l.partition, next.Namespace); err != nil {
		return fmt.Errorf("list the new namespace: %w", err)
	}
	if err := l.fill(ctx, at, keys, next); err != nil {
		return err
	}
	return l.publish(ctx, at, next)
}

func (l *leader) fill(ctx context.Context, at position, keys engine.Keys, next engine.Epoch) error {
	loader := &loader{engine: l.engine, keys: keys, replid: next.Replid, pairs: make(map[string][]string)}
	if err := l.snapshot(ctx, loader); err != nil {
		return err
	}
	if err := l.engine.Seal(ctx, keys, loader.chunks, next.Replid, next.Number, at.orders, 0); err != nil {
		return err
	}
	return l.link.RewriteAOF(ctx)
}

const publishEpoch = `
UPDATE partitions
   SET epoch = $4, namespace = $5, replid = $6, sequence = 0, rebuild_reason = NULL, updated_at = now(),
       stale = array_remove(array_append(array_remove(stale, $5), namespace), '')
 WHERE partition = $1 AND epoch = $2 AND sequence = $3 AND namespace = $7 AND attempt = $8 AND operator_hold IS NULL`

func (l *leader) publish(ctx context.Context, at position, next engine.Epoch) error {
	tag, err := l.exec(ctx, publishEpoch, l.partition, at.epoch.Number, at.sequence, next.Number, next.Namespace,
		next.Replid, at.epoch.Namespace, at.attempt)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if tag.RowsAffected() != 1 {
		return errMoved
	}
	return nil
}

// dropStale removes the namespaces that are not in force from Redis and from the list.
func (l *leader) dropStale(ctx context.Context, at position) error {
	for _, namespace := range at.stale {
		keys, err := l.engine.EpochKeys(l.partition, engine.Epoch{Namespace: namespace})
		if err != nil {
			return err
		}
		if err := l.engine.Drop(ctx, keys); err != nil {
			return err
		}
		const unlist = `UPDATE partitions SET stale = array_remove(stale, $2) WHERE partition = $1 AND namespace <> $2`
		if _, err := l.exec(ctx, unlist, l.partition, namespace); err != nil {
			return fmt.Errorf("unlist a namespace: %w", err)
		}
	}
	return nil
}

// snapshot loads the partition as one instant of the ledger has it.
func (l *leader) snapshot(ctx context.Context, to *loader) error {
	tx, err := l.beginSnapshot(ctx)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	defer tx.Rollback(ctx) //nolint:errcheck // it has read only
	if err := l.loadProducts(ctx, tx, to); err != nil {
		return fmt.Errorf("snapshot of products: %w", err)
	}
	if err := l.loadBuyers(ctx, tx, to); err != nil {
		return fmt.Errorf("snapshot of buyers: %w", err)
	}
	return to.end(ctx)
}

// beginSnapshot begins a transaction without a limit on how long a statement takes, other than ctx: it reads a whole
// partition while Redis takes in what it reads, and one that was broken off each time would never come to its end.
func (l *leader) beginSnapshot(ctx context.Context) (pgx.Tx, error) {
	tx, err := l.conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, `SET LOCAL statement_timeout = 0`); err != nil {
		return nil, errors.Join(err, tx.Rollback(ctx))
	}
	return tx, nil
}

// rebuildProducts has each product as of the last change that the log brought: one under way is handed over again, so
// what it raised at once is left out. Open dead letters count as taken, as far as there is stock for them.
const rebuildProducts = `
SELECT p.id,
       p.initial_stock - coalesce(c.amount, 0),
       least(p.sold + coalesce(d.taken, 0), p.initial_stock - coalesce(c.amount, 0))::bigint,
       p.change_taken, p.per_user_limit, p.active, p.starts_at, p.ends_at
  FROM products p
  LEFT JOIN stock_changes c
         ON c.product_id = p.id AND c.number = p.change_number AND p.change_number > p.change_taken AND c.at_once
  LEFT JOIN (SELECT product_id, sum(quantity) AS taken FROM dead_letters
              WHERE partition = $1 AND resolved_at IS NULL GROUP BY product_id) d ON d.product_id = p.id
 WHERE p.partition = $1 AND p.change_taken > 0`

func (l *leader) loadProducts(ctx context.Context, tx pgx.Tx, to *loader) error {
	rows, err := tx.Query(ctx, rebuildProducts, l.partition)
	if err != nil {
		return err
	}
	var id string
	var s engine.Stock
	var t engine.Terms
	var starts, ends *time.Time
	into := []any{&id, &s.Initial, &s.Sold, &s.Change, &t.PerUserLimit, &t.Active, &starts, &ends}
	_, err = pgx.ForEachRow(rows, into, func() error {
		s.Current = s.Initial - s.Sold
		t.StartsAt, t.EndsAt = orZero(starts), orZero(ends)
		if err := to.add(ctx, to.keys.Stock, id, s.String()); err != nil {
			return err
		}
		return to.add(ctx, to.keys.Terms, id, t.String())
	})
	return err
}

// rebuildBuyers has what each buyer bought of each product, and the order that may still lock them. It reads the whole
// table: an index for it would cost every insert of a sale, for what is read once after a disaster.
const rebuildBuyers = `
SELECT product_id, user_id, coalesce(least(sum(quantity), 1000000000000), 0)::bigint, (array_agg(id ORDER BY created_at DESC, id DESC))[1], max(created_at)
  FROM (SELECT product_id, user_id, quantity, id, created_at
          FROM orders WHERE partition = $1 AND status = 'confirmed'
        UNION ALL
        SELECT product_id, user_id, quantity, order_id, created_at
          FROM dead_letters WHERE partition = $1 AND resolved_at IS NULL AND order_id IS NOT NULL AND user_id IS NOT NULL) o
 GROUP BY product_id, user_id`

func (l *leader) loadBuyers(ctx context.Context, tx pgx.Tx, to *loader) error {
	rows, err := tx.Query(ctx, rebuildBuyers, l.partition)
	if err != nil {
		return err
	}
	var product, user string
	var bought int64
	var last engine.OrderID
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&product, &user, &bought, &last, &at}, func() error {
		lockUntil := at.Add(l.config.LockTTL).UnixMilli()
		value := strconv.FormatInt(bought, 10) + ",0," + strconv.FormatInt(lockUntil, 10) + "," + string(last[:])
		return to.add(ctx, to.keys.Buyers, engine.BuyerField(product, user), value)
	})
	return err
}

// loader writes fields into hashes of a namespace, chunk by chunk.
type loader struct {
	engine *engine.Engine
	keys   engine.Keys
	replid string
	chunks int
	pairs  map[string][]string // target -> field, value, ..
}

// chunkFields is how many fields a chunk brings; Lua's unpack takes 7,900 values.
const chunkFields = 1000

func (o *loader) add(ctx context.Context, target, field, value string) error {
	o.pairs[target] = append(o.pairs[target], field, value)
	if len(o.pairs[target]) < 2*chunkFields {
		return nil
	}
	return o.flush(ctx, target)
}

func (o *loader) flush(ctx context.Context, target string) error {
	o.chunks++
	pairs := o.pairs[target]
	o.pairs[target] = nil // the call may outlive its context, so its strings stay as they are
	return o.engine.Load(ctx, o.keys, target, o.chunks, o.replid, pairs)
}

// end writes what is left, and begins the namespace of an empty partition.
func (o *loader) end(ctx context.Context) error {
	for _, target := range []string{o.keys.Stock, o.keys.Terms, o.keys.Buyers} {
		if len(o.pairs[target]) == 0 && (o.chunks > 0 || target != o.keys.Buyers) {
			continue
		}
		if err := o.flush(ctx, target); err != nil {
			return err
		}
	}
	return nil
}
