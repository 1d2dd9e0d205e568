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

// commitBatch brings entries that follow a position into the ledger, in one transaction, and returns the position after
// them. It fails with errMoved where the ledger is elsewhere; then nothing was written.
func commitBatch(ctx context.Context, conn *pgx.Conn, partition int, from position, b batch) (position, error) {
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
	careful   bool  // look every order up, and find the rows at fault one by one
	foretold  tally // counted with the position: what becomes of the batch unless an order of it is refused
	products  map[string]ledgerProduct
	old       map[engine.OrderID]oldOrder
	buried    map[engine.OrderID]letter // of orders that were looked up and have dead letters, the last
	atOnce    map[changeKey]bool        // of the changes that the batch brings: in force in the ledger already
}

// commitOnce takes three round trips where all orders are new: what Postgres does for a question is little beside what it
// costs to wake it for one.
func commitOnce(ctx context.Context, conn *pgx.Conn, partition int, from position, b batch, careful bool) (position, error) {
	t := &ledgerTx{partition: partition, from: from, batch: b, careful: careful}
	defer t.abandon(ctx)
	if err := t.begin(ctx, conn); err != nil {
		return from, err
	}
	v, err := t.write(ctx)
	if err != nil {
		return from, err
	}
	return t.commit(ctx, &v)
}

// abandon rolls back what was begun and not committed.
func (t *ledgerTx) abandon(ctx context.Context) {
	if t.Tx != nil && t.Conn().PgConn().TxStatus() != idle {
		_ = t.Rollback(ctx) // where that fails pgx closes the connection, and Postgres rolls back
	}
}

// idle is the status of a connection without a transaction, as the protocol calls it.
const idle = 'I'

// moveSequence is the first statement of every transaction that brings orders: the compare-and-set that lets one
// drainer commit an entry, once.
const moveSequence = `
UPDATE partitions
   SET sequence = $4, orders = orders + $5, logged_at = coalesce($8, logged_at), updated_at = now(),
       pending_orders = pending_orders + $9, confirmed_orders = confirmed_orders + $10
 WHERE partition = $1 AND epoch = $2 AND namespace = $6 AND replid = $7 AND sequence = $3
   AND operator_hold IS NULL`

// lockProducts takes the rows in the order of their ids, so two writers never wait for each other in a circle.
const lockProducts = `
SELECT id, initial_stock, sold, change_taken FROM products WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE`

// lockProduct is for batches of one product: a statement with an array is planned anew each time, which takes Postgres longer
// than to carry it out.
const lockProduct = `SELECT id, initial_stock, sold, change_taken FROM products WHERE id = $1 FOR NO KEY UPDATE`

const lockOrders = `
SELECT id, status, quantity, version, epoch, sequence, idx FROM orders WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE`

// selectBuried has the last dead letter of each order, of those that can be read if there are any.
const selectBuried = `
SELECT DISTINCT ON (order_id) order_id, quantity IS NOT NULL, record LIKE 'c,%', epoch, sequence, idx
  FROM dead_letters
 WHERE order_id = ANY ($1)
 ORDER BY order_id, quantity IS NULL, id DESC`

const selectChanges = `
SELECT product_id, number, at_once
  FROM stock_changes JOIN unnest($1::text[], $2::bigint[]) AS c (product_id, number) USING (product_id, number)`

// begin begins the transaction, moves the position and locks and reads the rows that the batch concerns, in one round trip.
func (t *ledgerTx) begin(ctx context.Context, conn *pgx.Conn) error {
	ids := t.ordersToLock()
	if len(ids) == 0 {
		t.foretold = foretell(t.batch)
	}
	queue := &pgx.Batch{}
	queue.BeginTx(pgx.TxOptions{})
	queue.Queue(moveSequence, t.partition, t.from.epoch.Number, t.batch.first-1, t.batch.last, t.batch.moves(t.from.orders),
		t.from.epoch.Namespace, t.from.epoch.Replid, orNil(t.batch.loggedAt),
		t.foretold[engine.StatusPending], t.foretold[engine.StatusConfirmed]).Exec(func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() != 1 {
			return errMoved
		}
		return nil
	})
	t.products = make(map[string]ledgerProduct)
	if products := t.batch.products(); len(products) == 1 {
		queue.Queue(lockProduct, products[0]).Query(t.readProducts)
	} else {
		queue.Queue(lockProducts, products).Query(t.readProducts)
	}
	t.old, t.buried = make(map[engine.OrderID]oldOrder), make(map[engine.OrderID]letter)
	if len(ids) > 0 {
		queue.Queue(lockOrders, ids).Query(t.readOrders)
		queue.Queue(selectBuried, ids).Query(t.readBuried)
	}
	if products, numbers := t.batch.changeKeys(); len(products) > 0 {
		t.atOnce = make(map[changeKey]bool)
		queue.Queue(selectChanges, products, numbers).Query(t.readChanges)
	}
	begun := conn.SendBatch(ctx, queue)
	t.Tx = begun.Tx()
	if err := begun.Close(); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	return nil
}

// ordersToLock returns the ids of orders that the ledger may have.
func (t *ledgerTx) ordersToLock() []engine.OrderID {
	var ids []engine.OrderID
	for i := range t.batch.orders {
		if o := &t.batch.orders[i].Order; t.careful || o.Version > 1 {
			ids = append(ids, o.ID)
		}
	}
	for i := range t.batch.unreadable {
		if id := t.batch.unreadable[i].Order.ID; id != (engine.OrderID{}) {
			ids = append(ids, id)
		}
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
	_, err := pgx.ForEachRow(rows, []any{&id, &o.status, &o.quantity, &o.version, &o.epoch, &o.sequence, &o.index}, func() error {
		t.old[id] = o
		return nil
	})
	return err
}

func (t *ledgerTx) readBuried(rows pgx.Rows) error {
	var id engine.OrderID
	var l letter
	_, err := pgx.ForEachRow(rows, []any{&id, &l.readable, &l.confirms, &l.epoch, &l.sequence, &l.index}, func() error {
		t.buried[id] = l
		return nil
	})
	return err
}

// write judges the batch and writes the rows that come of it.
func (t *ledgerTx) write(ctx context.Context) (verdict, error) {
	if t.careful {
		return t.writeCarefully(ctx)
	}
	v := judge(t.batch, t.products, t.old)
	v.dead = append(v.dead, t.batch.unreadable...)
	if len(v.rows) == 0 {
		return v, nil
	}
	written, err := t.writeRows(ctx, v.rows)
	if err == nil && written != int64(len(v.rows)) {
		err = errConflict
	}
	return v, err
}
