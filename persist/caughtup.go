package persist

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"flashsale/engine"
)

const (
	// catchUpTimeout bounds how long a read waits for the ledger to have what Redis has; it never takes more than half of
	// what is left of its deadline.
	catchUpTimeout = time.Second
	// lagTimeout bounds how long is asked how far behind the ledger is.
	lagTimeout = 200 * time.Millisecond
)

// place is a partition as the ledger has it, for reads.
type place struct {
	epoch     engine.Epoch
	watermark engine.Watermark
	idleMs    int64 // since the last log entry that the ledger has was logged, by the clocks of Redis and Postgres
}

const selectPlaces = `
SELECT epoch, namespace, replid, sequence, orders, refused,
       greatest(1, extract(epoch FROM clock_timestamp() - logged_at) * 1000)::bigint
  FROM partitions
 ORDER BY partition`

// places reads all partitions. The epochs in force are asked of the ledger: an order may have been answered in one that
// this process has not heard of yet.
func (s *Store) places(ctx context.Context) ([]place, error) {
	rows, err := s.pool.Query(ctx, selectPlaces)
	if err != nil {
		return nil, ledgerError("partitions", err)
	}
	places, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p place, err error) {
		err = row.Scan(&p.epoch.Number, &p.epoch.Namespace, &p.epoch.Replid, &p.watermark.Sequence, &p.watermark.Orders,
			&p.watermark.Refused, &p.idleMs)
		p.watermark.Epoch, p.watermark.Replid = p.epoch.Number, p.epoch.Replid
		return p, err
	})
	if err != nil {
		return nil, ledgerError("partitions", err)
	}
	if len(places) != s.engine.Partitions() {
		return nil, fmt.Errorf("the ledger has %d partitions, not %d", len(places), s.engine.Partitions())
	}
	return places, nil
}

// catchUp waits, for a bounded time, until the ledger has everything that Redis had logged when it was called. It returns
// how far behind the ledger is where it had to give up; 0 = it did not.
func (s *Store) catchUp(ctx context.Context) (lagMs int64, err error) {
	before, err := s.places(ctx)
	if err != nil {
		return 0, err
	}
	if s.awaitLogs(ctx, before) == nil {
		return 0, nil
	}
	return s.lag(ctx)
}

// awaitLogs blocks until the ledger has what every partition's log ends with now.
func (s *Store) awaitLogs(ctx context.Context, places []place) error {
	timeout := catchUpTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	epochs := make([]engine.Epoch, len(places))
	for i := range places {
		epochs[i] = places[i].epoch
	}
	ends, err := s.engine.LogEnds(ctx, epochs)
	if err != nil {
		return err
	}
	for partition, end := range ends {
		s.engine.Advance(partition, places[partition].watermark)
		if _, err := s.engine.WaitDurable(ctx, partition, epochs[partition].Number, end); err != nil {
			return err
		}
	}
	return nil
}

// lag returns how far behind Redis the ledger is now, in ms: the age of the oldest log entry that it lacks. Where Redis
// does not say, it is the time since the last entry that it has: whatever it lacks was logged later.
func (s *Store) lag(ctx context.Context) (ms int64, err error) {
	now, err := s.places(ctx)
	if err != nil {
		return 0, err
	}
	timed, cancel := context.WithTimeout(ctx, lagTimeout)
	defer cancel()
	for partition := range now {
		p := &now[partition]
		if p.epoch.Namespace == "" {
			continue
		}
		behind, err := s.engine.LogLag(timed, partition, p.epoch, p.watermark.Sequence)
		if err != nil {
			behind = p.idleMs
		}
		ms = max(ms, behind)
	}
	return ms, nil
}
