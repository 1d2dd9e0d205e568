package persist

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"flashsale/engine"
)

// position is a partition as the ledger has it: the epoch in force and how far its log has been drained.
type position struct {
	epoch         engine.Epoch
	sequence      uint64
	orders        int64
	refused       int64
	rebuildReason string // "" = none
	attempt       uint64 // to bring in line, the latest
	stale         []string

	oversold, buried int64 // orders that were refused, and dead letters, since the position was read
}

func (p *position) watermark() engine.Watermark {
	return engine.Watermark{Epoch: p.epoch.Number, Replid: p.epoch.Replid, Sequence: p.sequence, Orders: p.orders, Refused: p.refused}
}

// wentBack tells whether the ledger is not as far as it is known to have been: it was restored, or failed over to an older
// state. One that an operator has said to be the truth is.
func wentBack(at position, known engine.Watermark) bool {
	behind := known.Epoch > at.epoch.Number || known.Epoch == at.epoch.Number && known.Sequence > at.sequence
	return behind && at.rebuildReason != operatorRebuild
}

func howFarBack(at position, known engine.Watermark) string {
	return fmt.Sprintf("the ledger is at epoch %d, sequence %d, but was at epoch %d, sequence %d",
		at.epoch.Number, at.sequence, known.Epoch, known.Sequence)
}

// querier is what a pool, a connection and a transaction have in common.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

const selectPosition = `
SELECT epoch, namespace, replid, sequence, orders, refused, coalesce(rebuild_reason, ''), coalesce(operator_hold, ''),
       attempt, stale
  FROM partitions
 WHERE partition = $1`

func readPosition(ctx context.Context, db querier, partition int) (position, error) {
	var p position
	err := db.QueryRow(ctx, selectPosition, partition).Scan(&p.epoch.Number, &p.epoch.Namespace, &p.epoch.Replid,
		&p.sequence, &p.orders, &p.refused, &p.rebuildReason, &p.epoch.Held, &p.attempt, &p.stale)
	if err != nil {
		return position{}, fmt.Errorf("position of partition %d: %w", partition, err)
	}
	return p, nil
}

// EnsurePartitions gives a new ledger its partitions and refuses one that was first used with another number.
func EnsurePartitions(ctx context.Context, db interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}, partitions int,
) error {
	tx, err := db.Begin(ctx)
	if err != nil {
		return fmt.Errorf("partitions: %w", err)
	}
	defer tx.Rollback(ctx) //nolint:errcheck // after a commit there is nothing to roll back
	have, err := countPartitions(ctx, tx)
	if err == nil && have == 0 { // where there are some the lock would wait for a commit that waits for a standby
		have, err = lockPartitions(ctx, tx)
	}
	if err != nil {
		return err
	}
	if have != 0 && have != partitions {
		return fmt.Errorf("this ledger was first used with %d partitions, the setting says %d: use %d, or a ledger of its own",
			have, partitions, have)
	}
	if have == 0 {
		const insert = `INSERT INTO partitions (partition) SELECT generate_series(0, $1::int - 1)`
		if _, err := tx.Exec(ctx, insert, partitions); err != nil {
			return fmt.Errorf("partitions: %w", err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("partitions: %w", err)
	}
	return nil
}

func countPartitions(ctx context.Context, db querier) (have int, err error) {
	if err := db.QueryRow(ctx, `SELECT count(*) FROM partitions`).Scan(&have); err != nil {
		return 0, fmt.Errorf("partitions: %w", err)
	}
	return have, nil
}

// lockPartitions keeps others from writing the table, and counts again.
func lockPartitions(ctx context.Context, db querier) (have int, err error) {
	if _, err := db.Exec(ctx, `LOCK TABLE partitions IN SHARE ROW EXCLUSIVE MODE`); err != nil {
		return 0, fmt.Errorf("partitions: %w", err)
	}
	return countPartitions(ctx, db)
}

// watermarkChannel is where every commit of a drainer tells all processes how far it has come. Postgres delivers it
// after the commit and only if there was one.
const watermarkChannel = "flashsale_watermark"

// announcement is the payload on watermarkChannel.
func announcement(partition int, w engine.Watermark) string {
	return fmt.Sprintf("%d %d %d %d %d %s", partition, w.Epoch, w.Sequence, w.Orders, w.Refused, w.Replid)
}

var errAnnouncement = errors.New("announcement of a watermark is not five numbers and a replid")

func parseAnnouncement(payload string) (partition int, w engine.Watermark, err error) {
	f := strings.Split(payload, " ")
	if len(f) != 6 {
		return 0, w, errAnnouncement
	}
	var n [5]int64
	for i := range n {
		if n[i], err = strconv.ParseInt(f[i], 10, 64); err != nil || n[i] < 0 {
			return 0, w, errAnnouncement
		}
	}
	w = engine.Watermark{Epoch: uint64(n[1]), Sequence: uint64(n[2]), Orders: n[3], Refused: n[4], Replid: f[5]}
	return int(n[0]), w, nil
}
