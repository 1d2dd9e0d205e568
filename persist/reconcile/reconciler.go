package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"flashsale/engine"
)

// Config are the settings of a reconciler. Zero values become the defaults.
type Config struct {
	Products []string      // only these; nil = all; not with Apply
	Apply    bool          // repair what can be repaired
	Actor    string        // who does this, for the audit
	Patience time.Duration // for how long a moment to compare is waited for; default 30 s
	Logger   *slog.Logger  // nil = slog.Default()

	// Progress is told how much is compared, and of how much, about. nil = nobody asks.
	Progress func(done, all int64)
}

func (c Config) withDefaults() Config {
	if c.Patience == 0 {
		c.Patience = defaultPatience
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Progress == nil {
		c.Progress = func(int64, int64) {}
	}
	return c
}

// Reconciler compares one Redis with one ledger. It is for one goroutine.
type Reconciler struct {
	pool   *pgxpool.Pool
	engine *engine.Engine
	config Config
	tails  []*tail
}

// New returns a reconciler on a pool made by persist.Connect and an engine, which need not run.
func New(pool *pgxpool.Pool, e *engine.Engine, config Config) *Reconciler {
	r := &Reconciler{pool: pool, engine: e, config: config.withDefaults()}
	for partition := range e.Partitions() {
		r.tails = append(r.tails, &tail{partition: partition})
	}
	return r
}

// Close gives its connections back.
func (r *Reconciler) Close() {
	for _, t := range r.tails {
		t.close()
	}
}

// ErrApplyPart says that a repair looks at all products: it writes whole partitions of Redis anew, and what was not compared
// might be known to Redis only.
var ErrApplyPart = errors.New("a repair is of all products, for it may write a whole partition anew: compare them all")

// Run compares once, repairs where it is told to, and records what came of it in reconcile_runs. Its error wraps [ErrUnknown]
// where it could not tell; the report says why, too. After a repair the report is of the comparison that follows it, with what
// was repaired listed as well.
func (r *Reconciler) Run(ctx context.Context) (Report, error) {
	report := Report{StartedAt: time.Now().UTC(), Apply: r.config.Apply, Products: r.config.Products, Findings: []Finding{}, Places: []Place{}}
	if r.config.Apply && r.config.Products != nil {
		err := fmt.Errorf("%w: %w", ErrUnknown, ErrApplyPart)
		report.conclude(err)
		return report, err
	}
	id, err := r.beginRun(ctx, report.StartedAt)
	if err == nil {
		report.Run = id
		err = r.check(ctx, &report)
	}
	if err == nil && r.config.Apply && len(report.Findings) > 0 {
		err = r.apply(ctx, &report)
	}
	report.FinishedAt = time.Now().UTC()
	report.Seconds = report.FinishedAt.Sub(report.StartedAt).Seconds()
	report.conclude(err)
	if err != nil && !errors.Is(err, ErrUnknown) {
		err = fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	if recordErr := r.endRun(context.WithoutCancel(ctx), &report); recordErr != nil {
		err = errors.Join(err, fmt.Errorf("%w: the run is not recorded: %w", ErrUnknown, recordErr))
		report.Outcome, report.Reason = engine.ReconciledUnknown, err.Error()
	}
	return report, err
}

// conclude says how the run ended.
func (report *Report) conclude(err error) {
	report.Outcome = engine.ReconciledClean
	if report.More {
		report.Outcome = engine.ReconciledDrift
	}
	for i := range report.Findings {
		if report.Findings[i].Outcome == "" || !report.Findings[i].fix.done {
			report.Outcome = engine.ReconciledDrift
		}
	}
	if err != nil {
		report.Outcome, report.Reason = engine.ReconciledUnknown, err.Error()
	}
}

// check sweeps over everything, looks at what seems wrong once more, and explains what is.
func (r *Reconciler) check(ctx context.Context, report *Report) error {
	s := newSweep(r, report)
	if err := s.run(ctx); err != nil {
		return err
	}
	if err := s.unknownProducts(); err != nil {
		return err
	}
	report.More, report.basis.cut = len(s.suspects.cut) > 0, s.suspects.cut
	if !s.suspects.none() {
		facts, err := r.examine(ctx, s.suspects)
		if err != nil {
			return err
		}
		report.More = report.More || facts.more
		report.basis.places = facts.places
		report.Findings = append(report.Findings, facts.explain()...)
	}
	return r.awaitProgress(ctx, report.basis.arrears)
}
