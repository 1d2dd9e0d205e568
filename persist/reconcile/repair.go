package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"flashsale/engine"
)

// repairPasses bounds how often what can be repaired is repaired in one run: a repair may bring to light what it hid.
const repairPasses = 3

// apply repairs what can be repaired, the ledger first, for Redis is written anew from it, and then compares again, and again
// repairs what only that brought to light. The report lists what was found, with what was done about it, and what the last
// comparison found.
func (r *Reconciler) apply(ctx context.Context, report *Report) error {
	defer func() { report.Repaired = len(report.Findings) - report.Unrepaired() }()
	for range repairPasses {
		if err := r.repairAll(ctx, report); err != nil {
			return err
		}
		again := Report{}
		if err := r.check(ctx, &again); err != nil {
			return fmt.Errorf("compare again: %w", err)
		}
		if !report.merge(&again) {
			break
		}
	}
	return nil
}

func (r *Reconciler) repairAll(ctx context.Context, report *Report) error {
	byPartition := make(map[int][]*Finding)
	for i := range report.Findings {
		if f := &report.Findings[i]; !f.fix.done {
			byPartition[f.Partition] = append(byPartition[f.Partition], f)
		}
	}
	for partition := range r.engine.Partitions() {
		if err := r.repairPartition(ctx, report, partition, byPartition[partition]); err != nil {
			return fmt.Errorf("repair partition %d: %w", partition, err)
		}
	}
	return nil
}

// merge takes in what a comparison found after the repairs: a drift that it found again is not repaired, whatever was done. It
// tells whether repairing once more may help: something is new, or back again.
func (report *Report) merge(again *Report) (more bool) {
	for i := range again.Findings {
		f := again.Findings[i]
		at := slices.IndexFunc(report.Findings, func(g Finding) bool { return g.same(&f) })
		if at < 0 {
			report.Findings = append(report.Findings, f)
			more = more || f.fix.kind != fixByHand
			continue
		}
		if f.Outcome = report.Findings[at].Outcome; report.Findings[at].fix.done {
			f.Outcome = "still there after: " + f.Outcome
			more = more || f.fix.kind == fixRecount // what was counted may have been repaired since
		}
		report.Findings[at] = f
	}
	report.More, report.basis = report.More || again.More, again.basis
	return more
}

func (f *Finding) same(g *Finding) bool {
	return f.Class == g.Class && f.Partition == g.Partition && f.Product == g.Product && f.User == g.User && f.Order == g.Order
}

const outcomeTooMany = "not repaired: too many to repair by machine: by hand"

func (r *Reconciler) repairPartition(ctx context.Context, report *Report, partition int, findings []*Finding) error {
	if len(findings) == 0 {
		return nil
	}
	if report.basis.cut[partition] {
		for _, f := range findings {
			f.Outcome = outcomeTooMany
		}
		return nil
	}
	rebuild, err := r.repairLedger(ctx, report, partition, findings)
	if err != nil {
		return err
	}
	lost := false // something is in Redis only, and would be gone with it
	for _, f := range findings {
		rebuild = rebuild || f.fix.kind == fixRebuild
		lost = lost || f.fix.blocks || f.Class == MissingInLedger && !f.fix.done
	}
	switch {
	case !rebuild:
		return nil
	case lost:
		for _, f := range findings {
			if f.fix.kind == fixRebuild {
				f.Outcome = "not repaired: orders that only Redis knows are to be put right first"
			}
		}
		return nil
	}
	return r.repairRedis(ctx, report, partition, findings)
}

// repairTx is a transaction that repairs the ledger of one partition. It holds the partition's row: nothing is drained
// meanwhile.
type repairTx struct {
	pgx.Tx
	run       int64
	partition int
	compared  engine.Epoch // on which the findings were found
	place     *place
	places    []place
	rebuild   bool // Redis is to be written anew for what was done

	landed map[int64]engine.Status // the letters that were brought in, and as what
}

// repairTimeout bounds one of them.
const repairTimeout = 2 * time.Minute

// repairLedger repairs what is wrong in the ledger, product by product; what Postgres refuses of one leaves the others.
func (r *Reconciler) repairLedger(ctx context.Context, report *Report, partition int, findings []*Finding) (rebuild bool, err error) {
	defer func() {
		for _, f := range findings { // all of it, or nothing
			f.fix.done = f.fix.done && err == nil
		}
	}()
	byProduct := make(map[string][]*Finding)
	for _, f := range findings {
		if f.fix.kind != fixRebuild && f.fix.kind != fixByHand {
			byProduct[f.Product] = append(byProduct[f.Product], f)
		}
	}
	if len(byProduct) == 0 {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, repairTimeout)
	defer cancel()
	tx, err := r.pool.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer tx.Rollback(ctx) //nolint:errcheck // after a commit there is nothing to roll back
	t := &repairTx{
		Tx: tx, run: report.Run, partition: partition, compared: report.basis.places[partition].epoch, landed: make(map[int64]engine.Status),
	}
	if err := t.begin(ctx); err != nil {
		return false, err
	}
	for product, some := range byProduct {
		if err := t.repairProduct(ctx, product, some); err != nil {
			return false, err
		}
	}
	if err := t.countOrders(ctx, findings); err != nil {
		return false, err
	}
	return t.rebuild, tx.Commit(ctx)
}

// stop has no rebuild publish that began before: what it has read of the ledger may be older than what is repaired.
const stop = `UPDATE partitions SET attempt = attempt + 1 WHERE partition = $1`

// begin takes the partition's row, so that no drainer commits before this does. What was found of another epoch, or of another
// history of Redis, is not to be repaired: a rebuild has changed what Redis has.
func (t *repairTx) begin(ctx context.Context) (err error) {
	if err := unlimited(ctx, t.Tx); err != nil {
		return err
	}
	if _, err := t.Exec(ctx, `SELECT 1 FROM partitions WHERE partition = $1 FOR UPDATE`, t.partition); err != nil {
		return err
	}
	if t.places, err = readPlaces(ctx, t.Tx); err != nil {
		return err
	}
	t.place = &t.places[t.partition]
	if t.place.epoch.Held != "" {
		return fmt.Errorf("%w: it is held for an operator: %s", ErrUnknown, t.place.epoch.Held)
	}
	if t.place.rebuild != "" {
		return fmt.Errorf("%w: it is about to be rebuilt: %s", errRestless, t.place.rebuild)
	}
	if t.place.epoch != t.compared {
		return errRebuiltMeanwhile
	}
	_, err = t.Exec(ctx, stop, t.partition)
	return err
}

var errRebuiltMeanwhile = fmt.Errorf("%w: it was brought in line or rebuilt after it was compared: run again", errRestless)

// repairProduct repairs all of a product or, where Postgres refuses that, nothing of it. The empty product stands for
// the partition's own counters, which are counted in any case.
func (t *repairTx) repairProduct(ctx context.Context, product string, findings []*Finding) error {
	savepoint, err := t.Begin(ctx)
	if err != nil {
		return err
	}
	inner := *t
	inner.Tx = savepoint
	for _, f := range findings {
		if err = inner.repair(ctx, f); err != nil {
			break
		}
	}
	if err == nil && product != "" {
		err = inner.recountProduct(ctx, product)
	}
	if err == nil {
		t.rebuild = inner.rebuild
		return savepoint.Commit(ctx)
	}
	if rollback := savepoint.Rollback(ctx); rollback != nil {
		return errors.Join(err, rollback)
	}
	var pgErr *pgconn.PgError
	if !errors.Is(err, errRefused) && !errors.As(err, &pgErr) {
		return err
	}
	for _, f := range findings {
		f.fix.done, f.Outcome = false, "not repaired: "+err.Error()
	}
	return nil
}

// repair does what is to be done about one finding and writes it down.
func (t *repairTx) repair(ctx context.Context, f *Finding) error {
	before, err := t.rowNow(ctx, f.Order)
	if err != nil {
		return err
	}
	switch f.fix.kind {
	case fixPutRow:
		err = t.put(ctx, f.fix.order, t.place.epoch.Number)
	case fixFailRow:
		err = t.fail(ctx, f.fix.order)
	case fixDue:
		err = t.due(ctx, f.fix.order)
	case fixLetter:
		err = t.land(ctx, f.fix.letter)
	case fixRecount, fixRebuild, fixByHand: // the first is done for all, the others not here
	}
	if err != nil {
		return err
	}
	after, err := t.rowNow(ctx, f.Order)
	if err != nil {
		return err
	}
	f.fix.done, f.Outcome = true, "repaired"
	return audit(ctx, t.Tx, t.run, f, before, after)
}

const insertRepair = `
INSERT INTO reconcile_repairs (run_id, partition, class, product_id, user_id, order_id, redis, ledger, repair, before, after)
VALUES ($1, $2, $3, nullif($4, ''), nullif($5, ''), nullif($6, '')::uuid, $7, $8, $9, $10::jsonb, $11::jsonb)`

func audit(ctx context.Context, tx pgx.Tx, run int64, f *Finding, before, after *string) error {
	_, err := tx.Exec(ctx, insertRepair, run, f.Partition, f.Class, f.Product, f.User, f.Order, f.Redis, f.Ledger, f.Repair, before, after)
	return err
}

// askRebuild has whoever leads the partition shut it, drain its log and write Redis anew from the ledger.
const askRebuild = `
UPDATE partitions SET rebuild_reason = coalesce(rebuild_reason, $2), attempt = attempt + 1
 WHERE partition = $1 AND epoch = $3 AND namespace = $4 AND replid = $5 AND operator_hold IS NULL`

// repairRedis has Redis written anew, and waits until it is.
func (r *Reconciler) repairRedis(ctx context.Context, report *Report, partition int, findings []*Finding) error {
	tx, err := r.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx) //nolint:errcheck // after a commit there is nothing to roll back
	before := report.basis.places[partition].epoch
	reason := fmt.Sprintf("reconciliation %d", report.Run)
	tag, err := tx.Exec(ctx, askRebuild, partition, reason, before.Number, before.Namespace, before.Replid)
	if err == nil && tag.RowsAffected() == 0 {
		err = fmt.Errorf("it is held, or: %w", errRebuiltMeanwhile)
	}
	if err != nil {
		return err
	}
	for _, f := range findings {
		if f.fix.kind == fixRebuild {
			if err := audit(ctx, tx, report.Run, f, nil, nil); err != nil {
				return err
			}
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	if _, err := r.awaitEpoch(ctx, partition, before.Number+1); err != nil {
		return err
	}
	for _, f := range findings {
		if f.fix.kind == fixRebuild {
			f.fix.done, f.Outcome = true, "repaired: Redis was written anew from the ledger"
		}
	}
	return nil
}
