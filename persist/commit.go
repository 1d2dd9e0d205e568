package persist

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"flashsale/engine"
)

var (
	// errMoved says that the ledger is not where this drainer thought: somebody else drains, or brought in line.
	errMoved = errors.New("the partition's position in the ledger has moved")
	// errConflict says that an order that should be new has a row, so the batch is to be written with care.
	errConflict = errors.New("a new order has a row already")

	errNoLedgerProduct = errors.New(reasonNoProduct)
	errQuantity        = errors.New("a quantity that no order can have")
)

// commitRetries bounds how often a batch is tried again after a deadlock or a serialization failure.
const commitRetries = 5

// commit brings entries that follow a position into the ledger, in one transaction, and returns the position after
// them. It fails with errMoved where the ledger is elsewhere; then nothing was written.
func commit(ctx context.Context, conn *pgx.Conn, partition int, from position, entries []engine.Entry) (position, error) {
	b := fold(entries)
	careful := false
	for attempt := 0; ; attempt++ {
		to, err := commitWithin(ctx, conn, partition, from, b, careful)
		switch {
		case err == nil || attempt == commitRetries:
			return to, err
		case errors.Is(err, errConflict) || isDataError(err):
			if careful {
				return to, err
			}
			careful = true
		case !isTransient(err):
			return to, err
		}
	}
}

const (
	// commitTimeout bounds one try of a transaction: a Postgres that says nothing is not waited for.
	commitTimeout = 10 * time.Second
	// carefulTimeout bounds one that looks for the rows at fault, several round trips for each, and all tries together.
	carefulTimeout = time.Minute
)

func commitWithin(ctx context.Context, conn *pgx.Conn, partition int, from position, b batch, careful bool) (position, error) {
	timeout := commitTimeout
	if careful {
		timeout = carefulTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return commitOnce(ctx, conn, partition, from, b, careful)
}

// isDataError tells whether an error is about what is in a row (class 22, data exception; class 23, constraint).
func isDataError(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) &&
		(pgerrcode.IsDataException(pgErr.Code) || pgerrcode.IsIntegrityConstraintViolation(pgErr.Code))
}

func isTransient(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) &&
		(pgErr.Code == pgerrcode.DeadlockDetected || pgErr.Code == pgerrcode.SerializationFailure)
}

// ledgerTx is one transaction that brings a batch.
type ledgerTx struct {
	pgx.Tx
	partition int
	from      position
	batch     batch
	careful   bool // look every order up, and find the rows at fault one by one
	products  map[string]ledgerProduct
	old       map[engine.OrderID]oldOrder
	atOnce    map[changeKey]bool // of the changes that the batch brings: in force in the ledger already
}

func commitOnce(ctx context.Context, conn *pgx.Conn, partition int, from position, b batch, careful bool) (position, error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return from, fmt.Errorf("commit: %w", err)
	}
	defer tx.Rollback(ctx) //nolint:errcheck // after a commit there is nothing to roll back
	t := &ledgerTx{Tx: tx, partition: partition, from: from, batch: b, careful: careful}
	if err := t.lock(ctx); err != nil {
		return from, err
	}
	v := judge(b, t.products, t.old)
	v.dead = append(v.dead, b.unreadable...)
	if err := t.writeOrders(ctx, &v); err != nil {
		return from, err
	}
	to, err := t.finish(ctx, &v)
	if err != nil {
		return from, err
	}
	if err := tx.Commit(ctx); err != nil {
		return from, fmt.Errorf("commit: %w", err)
	}
	return to, nil
}

// moveSequence is the first statement of every transaction that brings orders: the compare-and-set that lets one
// drainer commit an entry, once.
const moveSequence = `
UPDATE partitions
   SET sequence = $4, orders = orders + $5, updated_at = now()
 WHERE partition = $1 AND epoch = $2 AND namespace = $6 AND replid = $7 AND sequence = $3
   AND operator_hold IS NULL`

// lockProducts takes the rows in the order of their ids, so two writers never wait for each other in a circle.
const lockProducts = `
SELECT id, initial_stock, sold, change_taken FROM products WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE`

const lockOrders = `
SELECT id, status, quantity, version FROM orders WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE`

const selectChanges = `
SELECT product_id, number, at_once
  FROM stock_changes JOIN unnest($1::text[], $2::bigint[]) AS c (product_id, number) USING (product_id, number)`

// lock moves the position and locks and reads the rows that the batch concerns, in one round trip.
func (t *ledgerTx) lock(ctx context.Context) error {
	queue := &pgx.Batch{}
	queue.Queue(moveSequence, t.partition, t.from.epoch.Number, t.batch.first-1, t.batch.last, t.batch.logged,
		t.from.epoch.Namespace, t.from.epoch.Replid).Exec(func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() != 1 {
			return errMoved
		}
		return nil
	})
	t.products = make(map[string]ledgerProduct)
	queue.Queue(lockProducts, t.batch.products()).Query(t.readProducts)
	t.old = make(map[engine.OrderID]oldOrder)
	if ids := t.ordersToLock(); len(ids) > 0 {
		queue.Queue(lockOrders, ids).Query(t.readOrders)
	}
	if products, numbers := t.batch.changeKeys(); len(products) > 0 {
		t.atOnce = make(map[changeKey]bool)
		queue.Queue(selectChanges, products, numbers).Query(t.readChanges)
	}
	if err := t.SendBatch(ctx, queue).Close(); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	return nil
}

func (t *ledgerTx) ordersToLock() []engine.OrderID {
	if !t.careful {
		return t.batch.changedOrders()
	}
	ids := make([]engine.OrderID, len(t.batch.orders))
	for i := range ids {
		ids[i] = t.batch.orders[i].Order.ID
	}
	return ids
}

func (t *ledgerTx) readProducts(rows pgx.Rows) error {
	var id string
	var p ledgerProduct
	_, err := pgx.ForEachRow(rows, []any{&id, &p.initial, &p.sold, &p.taken}, func() error {
		t.products[id] = p
		return nil
	})
	return err
}

func (t *ledgerTx) readChanges(rows pgx.Rows) error {
	var key changeKey
	var atOnce bool
	_, err := pgx.ForEachRow(rows, []any{&key.product, &key.number, &atOnce}, func() error {
		t.atOnce[key] = atOnce
		return nil
	})
	return err
}

func (t *ledgerTx) readOrders(rows pgx.Rows) error {
	var id engine.OrderID
	var o oldOrder
	_, err := pgx.ForEachRow(rows, []any{&id, &o.status, &o.quantity, &o.version}, func() error {
		t.old[id] = o
		return nil
	})
	return err
}

// writeOrders inserts or updates the rows of a verdict. In a careful transaction the rows that Postgres refuses become
// dead letters.
func (t *ledgerTx) writeOrders(ctx context.Context, v *verdict) error {
	if len(v.rows) == 0 {
		return nil
	}
	if t.careful {
		return t.writeAround(ctx, v, v.rows)
	}
	written, err := t.write(ctx, v.rows)
	if err != nil {
		return err
	}
	if written != int64(len(v.rows)) {
		return errConflict
	}
	return nil
}

// writeAround halves the rows until those at fault stand alone.
func (t *ledgerTx) writeAround(ctx context.Context, v *verdict, rows []engine.Order) error {
	savepoint, err := t.Begin(ctx)
	if err != nil {
		return fmt.Errorf("savepoint: %w", err)
	}
	_, err = t.insert(ctx, savepoint, rows)
	if err == nil {
		return savepoint.Commit(ctx)
	}
	if rollback := savepoint.Rollback(ctx); rollback != nil {
		return fmt.Errorf("savepoint: %w", errors.Join(rollback, err))
	}
	if !isDataError(err) {
		return err
	}
	if len(rows) == 1 {
		v.bury(rows[0], t.record(rows[0].ID), err, t.old)
		return nil
	}
	half := len(rows) / 2
	return errors.Join(t.writeAround(ctx, v, rows[:half]), t.writeAround(ctx, v, rows[half:]))
}

// record returns the log's own words for an order.
func (t *ledgerTx) record(id engine.OrderID) string {
	for i := range t.batch.orders {
		if t.batch.orders[i].Order.ID == id {
			return t.batch.orders[i].Record
		}
	}
	return ""
}

// bury turns a row that Postgres refuses into a dead letter: it moves no counter.
func (v *verdict) bury(o engine.Order, record string, err error, old map[engine.OrderID]oldOrder) {
	v.deltas[o.Product] -= sold(o.Status, o.Quantity) - soldBefore(old, o.ID)
	v.dead = append(v.dead, engine.LoggedOrder{Order: o, Record: record, Err: err})
}

// insertOrders adds new orders and brings the rows of changed ones along, never backwards.
const insertOrders = `
INSERT INTO orders (id, partition, product_id, user_id, quantity, status, version, epoch, sequence, idx, created_at,
                    updated_at, expires_at, reason)
SELECT id, $1, product_id, user_id, quantity, status, version, $2, sequence, idx, created_at, updated_at, expires_at,
       nullif(reason, '')
  FROM unnest($3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::bigint[], $9::bigint[], $10::int[],
              $11::timestamptz[], $12::timestamptz[], $13::timestamptz[], $14::text[])
       AS o (id, product_id, user_id, quantity, status, version, sequence, idx, created_at, updated_at, expires_at, reason)
ON CONFLICT (id) DO UPDATE
   SET quantity = excluded.quantity, status = excluded.status, version = excluded.version, epoch = excluded.epoch,
       sequence = excluded.sequence, idx = excluded.idx, updated_at = excluded.updated_at,
       expires_at = excluded.expires_at, reason = excluded.reason
 WHERE orders.version < excluded.version`

// insert writes rows and returns how many it wrote.
func (t *ledgerTx) insert(ctx context.Context, tx pgx.Tx, rows []engine.Order) (int64, error) {
	c := newColumns(len(rows))
	for i := range rows {
		c.add(&rows[i])
	}
	tag, err := tx.Exec(ctx, insertOrders, t.partition, t.from.epoch.Number, c.ids, c.products, c.users, c.quantities,
		c.statuses, c.versions, c.sequences, c.indexes, c.created, c.updated, c.expires, c.reasons)
	if err != nil {
		return 0, fmt.Errorf("insert orders: %w", err)
	}
	return tag.RowsAffected(), nil
}

// columns are rows turned sideways, as unnest takes them.
type columns struct {
	ids                             []engine.OrderID
	products, users, statuses       []string
	quantities, versions, sequences []int64
	indexes                         []int32
	created, updated                []time.Time
	expires                         []*time.Time
	reasons                         []string
}

func newColumns(n int) *columns {
	return &columns{
		ids: make([]engine.OrderID, 0, n), products: make([]string, 0, n), users: make([]string, 0, n),
		statuses: make([]string, 0, n), quantities: make([]int64, 0, n), versions: make([]int64, 0, n),
		sequences: make([]int64, 0, n), indexes: make([]int32, 0, n), created: make([]time.Time, 0, n),
		updated: make([]time.Time, 0, n), expires: make([]*time.Time, 0, n), reasons: make([]string, 0, n),
	}
}

func (c *columns) add(o *engine.Order) {
	c.ids = append(c.ids, o.ID)
	c.products = append(c.products, o.Product)
	c.users = append(c.users, o.User)
	c.statuses = append(c.statuses, string(o.Status))
	c.quantities = append(c.quantities, o.Quantity)
	c.versions = append(c.versions, o.Version)
	c.sequences = append(c.sequences, int64(o.Sequence))
	c.indexes = append(c.indexes, int32(o.Index))
	c.created = append(c.created, time.UnixMilli(o.CreatedAtMs))
	c.updated = append(c.updated, time.UnixMilli(o.UpdatedAtMs))
	c.reasons = append(c.reasons, o.Reason)
	var expires *time.Time
	if o.ExpiresAtMs != 0 {
		t := time.UnixMilli(o.ExpiresAtMs)
		expires = &t
	}
	c.expires = append(c.expires, expires)
}
