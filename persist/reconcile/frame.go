package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"flashsale/engine"
)

// frame is one consistent look at both sides: a snapshot of the ledger, and what Redis had at one or more instants right
// after it, with the log in between.
type frame struct {
	tx      pgx.Tx
	places  []place
	letters map[engine.OrderID]*letter
	tails   []*tail
	looks   []*look
}

// look is what Redis has of some things of one partition at one instant.
type look struct {
	partition int
	query     engine.AuditQuery
	pairs     []pair // the buyers of the query
	audit     engine.Audit
}

// want adds what is to be looked at, in portions of what one instant can take.
func (f *frame) want(partition int, q engine.AuditQuery, pairs []pair) {
	for _, p := range pairs {
		q.Buyers = append(q.Buyers, p.field())
	}
	for q.Len() > 0 {
		var part engine.AuditQuery
		room := engine.MaxAudit
		part.Products, q.Products, room = portion(q.Products, room)
		part.Orders, q.Orders, room = portion(q.Orders, room)
		part.Buyers, q.Buyers, _ = portion(q.Buyers, room)
		f.looks = append(f.looks, &look{partition: partition, query: part, pairs: pairs[:len(part.Buyers)]})
		pairs = pairs[len(part.Buyers):]
	}
}

func portion[T any](list []T, room int) (part, rest []T, left int) {
	n := min(len(list), room)
	return list[:n], list[n:], room - n
}

// judgement is what is made of a frame; choosing comes first and says what to look at.
type judgement struct {
	choose func(ctx context.Context, f *frame) error
	judge  func(ctx context.Context, f *frame) error
}

const (
	// restPause is how long to wait before a look is taken again.
	restPause = 50 * time.Millisecond
	// defaultPatience is for how long.
	defaultPatience = 30 * time.Second
)

// compare takes a frame and judges it, again and again while there is no moment for it, or a store does not answer.
func (r *Reconciler) compare(ctx context.Context, j judgement) error {
	deadline := time.Now().Add(r.config.Patience)
	for {
		err := r.compareOnce(ctx, j)
		if err == nil || ctx.Err() != nil || errors.Is(err, ErrUnknown) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w after %s: %w", ErrUnknown, r.config.Patience, err)
		}
		rest(ctx)
	}
}

// rest pauses before a look is taken again.
func rest(ctx context.Context) {
	timer := time.NewTimer(restPause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (r *Reconciler) compareOnce(ctx context.Context, j judgement) error {
	tx, err := r.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return fmt.Errorf("snapshot of the ledger: %w", err)
	}
	defer tx.Rollback(ctx) //nolint:errcheck // it has read only
	f := &frame{tx: tx, tails: r.tails}
	if err := f.begin(ctx, r.engine.Partitions()); err != nil {
		return err
	}
	if err := j.choose(ctx, f); err != nil {
		return err
	}
	if err := r.lookAtRedis(ctx, f); err != nil {
		return err
	}
	return j.judge(ctx, f)
}

// begin fixes the snapshot and reads the partitions and the dead letters. A statement may take as long as ctx allows.
func (f *frame) begin(ctx context.Context, partitions int) (err error) {
	if err := unlimited(ctx, f.tx); err != nil {
		return err
	}
	if f.places, err = readPlaces(ctx, f.tx); err != nil {
		return err
	}
	if len(f.places) != partitions {
		return fmt.Errorf("%w: the ledger has %d partitions, the setting says %d", ErrUnknown, len(f.places), partitions)
	}
	for i := range f.places {
		p := &f.places[i]
		switch {
		case p.epoch.Held != "":
			return fmt.Errorf("%w: partition %d is held for an operator: %s", ErrUnknown, i, p.epoch.Held)
		case p.rebuild != "":
			return fmt.Errorf("%w: partition %d is about to be rebuilt: %s", errRestless, i, p.rebuild)
		case p.epoch.Namespace == "":
			return fmt.Errorf("%w: Redis has never held partition %d: no server has run yet", errRestless, i)
		}
	}
	return f.readLetters(ctx)
}

// lookAtRedis asks Redis, right after the snapshot and before anything that takes long: the log in between is kept for a
// short while only.
func (r *Reconciler) lookAtRedis(ctx context.Context, f *frame) error {
	for _, l := range f.looks {
		place := &f.places[l.partition]
		timed, cancel := context.WithTimeout(ctx, askTimeout)
		audit, err := r.engine.Audit(timed, l.partition, place.epoch, place.sequence, &l.query)
		cancel()
		if err != nil {
			return fmt.Errorf("partition %d: %w", l.partition, err)
		}
		if audit.Guard != engine.GuardOK {
			return fmt.Errorf("%w: partition %d: Redis says %s", errRestless, l.partition, audit.Guard)
		}
		l.audit = audit
		if err := f.tails[l.partition].reach(ctx, r.engine, place.epoch, place.sequence, audit.Sequence); err != nil {
			return fmt.Errorf("partition %d: %w", l.partition, err)
		}
	}
	return nil
}

// askTimeout bounds every question to Redis.
const askTimeout = 5 * time.Second

// unlimited lets the statements of a transaction take as long as ctx allows.
func unlimited(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `SET LOCAL statement_timeout = 0`); err != nil {
		return fmt.Errorf("begin in the ledger: %w", err)
	}
	return nil
}
