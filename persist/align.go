package persist

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"flashsale/engine"
)

// alignTimeout bounds one attempt to bring a partition in line.
const alignTimeout = 10 * time.Minute

const (
	// operatorRebuild is the rebuild_reason by which an operator says that the ledger is to be the truth although the log
	// has a gap, or the ledger itself went back. See docs/operations.md.
	operatorRebuild = "operator"
	// operatorLeap is by how much such a rebuild raises the epoch: by more than any ledger has had since its last backup. So
	// whatever a process remembers of the ledger before it went back is of an earlier epoch, and it takes up the new one.
	operatorLeap = 1_000_000
)

// align brings Redis and the ledger in line: close, drain, then adopt what is there or rebuild it from the ledger.
// Every step is a compare-and-set, so a process that was paused in the middle does no harm when it wakes up.
func (l *leader) align(ctx context.Context, at position, guard engine.Guard) error {
	ctx, cancel := context.WithTimeout(ctx, alignTimeout)
	defer cancel()
	began := time.Now()
	replid, err := l.link.Replid(ctx)
	if err != nil {
		return err
	}
	if at.attempt, err = l.beginAttempt(ctx, at); err != nil {
		return err
	}
	reason := alignReason(at, l.suspect, guard)
	because := cmp.Or(at.rebuildReason, l.suspect, string(guard))
	l.suspect = ""
	at, whole, err := l.drainShut(ctx, at)
	why, err := l.unbridgeable(ctx, at, whole, err)
	if err != nil {
		return err
	}
	if why != "" {
		return l.hold(ctx, at, why)
	}
	missing := l.engine.State(l.partition).Backlog
	how := howAdopted
	if whole && at.rebuildReason == "" {
		err = l.adopt(ctx, at, replid)
	} else {
		how = howRebuilt
		err = l.rebuild(ctx, at, replid)
	}
	if err != nil {
		return fmt.Errorf("bring in line: %w", err)
	}
	l.mourn(missing)
	l.metrics.aligned[alignment{how, reason}].Inc()
	l.log.Info("partition in line", "how", how, "because", because, "sequence", at.sequence, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// unbridgeable says why no machine can tell what was sold, once the log was drained as far as it goes; "" = one can, or an
// operator has decided.
func (l *leader) unbridgeable(ctx context.Context, at position, whole bool, drained error) (string, error) {
	gap := errors.Is(drained, errGap)
	switch {
	case drained != nil && !gap:
		return "", drained
	case at.rebuildReason == operatorRebuild:
		return "", nil
	case gap:
		return "Redis has trimmed or lost log entries that the ledger does not have", nil
	case whole || at.epoch.Namespace == "":
		return "", nil
	}
	later, err := l.engine.LaterEpoch(ctx, l.partition, at.epoch)
	if err != nil || later == 0 {
		return "", err
	}
	return fmt.Sprintf("Redis has sold in epoch %d, of which the ledger, at epoch %d, knows nothing: it has gone back", later, at.epoch.Number), nil
}

// mourn says how many orders Redis had logged, as far as this process knows, that are gone: neither drained nor to be brought
// back by a rebuild. An adopted server may have lost the end of its log too.
func (l *leader) mourn(orders int64) {
	if orders == 0 {
		return
	}
	l.metrics.lost.AddInt64(orders)
	l.log.Error("orders that were answered are lost: Redis forgot them before they were in the ledger", "orders", orders)
}

const countAttempt = `
UPDATE partitions SET attempt = attempt + 1
 WHERE partition = $1 AND epoch = $2 AND namespace = $3 AND operator_hold IS NULL
RETURNING attempt`

// beginAttempt takes the number of this attempt: whoever began earlier can publish and open no more.
func (l *leader) beginAttempt(ctx context.Context, at position) (attempt uint64, err error) {
	ctx, cancel := l.lasting(ctx, ledgerTimeout)
	defer cancel()
	err = l.conn.QueryRow(ctx, countAttempt, l.partition, at.epoch.Number, at.epoch.Namespace).Scan(&attempt)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, errMoved
	}
	if err != nil {
		return 0, fmt.Errorf("begin to bring in line: %w", err)
	}
	return attempt, nil
}

// drainShut shuts the namespace and drains its log to the end. whole tells whether ledger and Redis then agree on the
// sequence, so that equal sequence means equal state.
func (l *leader) drainShut(ctx context.Context, at position) (to position, whole bool, err error) {
	if at.epoch.Namespace == "" {
		return at, false, nil
	}
	keys, err := l.engine.EpochKeys(l.partition, at.epoch)
	if err != nil {
		return at, false, err
	}
	sequence, found, err := l.engine.Shut(ctx, keys, at.attempt)
	if err != nil || !found {
		return at, false, err
	}
	for done := false; !done; {
		if at, done, err = l.step(ctx, keys, at, reading{shut: true}); err != nil {
			return at, false, err
		}
	}
	if sequence > at.sequence {
		return at, false, errGap
	}
	return at, sequence == at.sequence, nil
}

const publishReplid = `
UPDATE partitions SET replid = $4, updated_at = now()
 WHERE partition = $1 AND epoch = $2 AND sequence = $3 AND namespace = $5 AND attempt = $6 AND operator_hold IS NULL`

// adopt lets sales go on where they stopped, on the server's present history.
func (l *leader) adopt(ctx context.Context, at position, replid string) error {
	keys, err := l.engine.EpochKeys(l.partition, at.epoch)
	if err != nil {
		return err
	}
	if err := l.link.EnsureRewrite(ctx); err != nil {
		return err
	}
	tag, err := l.exec(ctx, publishReplid, l.partition, at.epoch.Number, at.sequence, replid,
		at.epoch.Namespace, at.attempt)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if tag.RowsAffected() != 1 {
		return errMoved
	}
	return l.engine.Open(ctx, keys, at.sequence, replid, at.attempt)
}

// hold gives a partition to an operator: no machine can close this gap.
func (l *leader) hold(ctx context.Context, at position, why string) error {
	ctx, cancel := l.lasting(ctx, ledgerTimeout)
	defer cancel()
	return l.handToOperator(ctx, l.conn, at, why)
}

// handToOperator gives a partition to an operator, unless it is in another epoch by now.
func (f *follower) handToOperator(ctx context.Context, db querier, at position, why string) error {
	const update = `UPDATE partitions SET operator_hold = $2, updated_at = now() WHERE partition = $1 AND epoch = $3`
	if _, err := db.Exec(ctx, update, f.partition, why, at.epoch.Number); err != nil {
		return fmt.Errorf("hold: %w", err)
	}
	f.metrics.holds.Inc()
	f.log.Error("partition is held for an operator; docs/operations.md says what to do", "because", why)
	return nil
}
