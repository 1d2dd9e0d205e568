package persist

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"flashsale/engine"
)

// Job returns how far an order is on its way to the ledger. It fails with the code not_found where nobody has the order.
func (s *Store) Job(ctx context.Context, id engine.OrderID) (engine.Job, error) {
	view, err := s.Order(ctx, id)
	if err == nil && !view.Durable && s.engine.Durable(&view.Order) {
		view, err = s.Order(ctx, id) // it was drained while it was looked up
	}
	if err != nil {
		return engine.Job{}, err
	}
	job := engine.Job{OrderView: view}
	if view.Durable {
		return s.finished(ctx, job)
	}
	if s.engine.Durable(&view.Order) {
		return job, errLedgerAway // it has the order and does not say what became of it
	}
	partition := id.Partition()
	job.State = engine.JobWaiting
	if s.hands.hold(partition, s.engine.State(partition).Epoch.Number, view.Sequence) {
		job.State = engine.JobActive
	}
	job.Position = max(1, view.Number-s.engine.Watermark(partition).Orders)
	return job, nil
}

// finished completes the job of an order that is in the ledger. An order without a row was buried when it was updated.
func (s *Store) finished(ctx context.Context, job engine.Job) (engine.Job, error) {
	job.State = engine.JobCompleted
	if job.Status == engine.StatusFailed {
		job.State = engine.JobFailed
	}
	var recorded time.Time
	err := s.pool.QueryRow(ctx, `SELECT recorded_at FROM orders WHERE id = $1`, job.ID).Scan(&recorded)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		job.RecordedAtMs = job.UpdatedAtMs
	case err != nil:
		return job, ledgerError("job "+job.ID.String(), err)
	default:
		job.RecordedAtMs = recorded.UnixMilli()
	}
	return job, nil
}

// OrderCounts returns the orders by state, exact as of the ledger, and how many changes are on their way there.
func (s *Store) OrderCounts(ctx context.Context) (engine.OrderCounts, error) {
	const query = `
SELECT sum(pending_orders)::bigint, sum(confirmed_orders)::bigint, sum(cancelled_orders)::bigint,
       sum(expired_orders)::bigint, sum(failed_orders)::bigint
  FROM partitions`
	var c engine.OrderCounts
	err := s.pool.QueryRow(ctx, query).Scan(&c.Pending, &c.Confirmed, &c.Cancelled, &c.Expired, &c.Failed)
	if err != nil {
		return c, ledgerError("counts of orders", err)
	}
	var backlog int64
	for partition := range s.engine.Partitions() {
		backlog += s.engine.State(partition).Backlog
	}
	c.Active = s.hands.orders()
	c.Waiting = max(0, backlog-c.Active)
	return c, nil
}

// StockTotals sums up the counters that Redis has now of all products.
func (s *Store) StockTotals(ctx context.Context) (engine.StockTotals, error) {
	totals, err := s.engine.StockTotals(ctx)
	return totals, redisError(err)
}
