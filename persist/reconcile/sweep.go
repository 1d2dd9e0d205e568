package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"flashsale/engine"
)

// suspects are what a sweep found amiss. They are looked at once more, at a later watermark, before anything is said.
type suspects struct {
	products   map[string]bool
	pairs      map[pair]bool
	orders     map[engine.OrderID]bool
	partitions map[int]bool // whose counters of orders are not what they count
	letters    bool         // there are open dead letters
	refusals   bool         // there are broken promises
	cut        map[int]bool // partitions of which there are more than are kept
}

func newSuspects() *suspects {
	return &suspects{
		products: make(map[string]bool), pairs: make(map[pair]bool), orders: make(map[engine.OrderID]bool),
		partitions: make(map[int]bool), cut: make(map[int]bool),
	}
}

func (s *suspects) none() bool {
	return len(s.products)+len(s.pairs)+len(s.orders)+len(s.partitions) == 0 && !s.letters && !s.refusals
}

// suspect keeps a thing of a partition, or notes that there is no room for it.
func suspect[K comparable](s *suspects, set map[K]bool, key K, partition int) {
	if len(set) >= maxFindings && !set[key] {
		s.cut[partition] = true
		return
	}
	set[key] = true
}

// sweep goes over everything once, in portions.
type sweep struct {
	*Reconciler
	report   *Report
	suspects *suspects
	only     map[string]bool // products; nil = all
	seen     map[string]bool // of these, those that either side knows
	known    *filter         // the buyers whom the ledger has, as fields of Redis
	done     int64
	shown    int64
	all      int64
}

func newSweep(r *Reconciler, report *Report) *sweep {
	s := &sweep{Reconciler: r, report: report, suspects: newSuspects(), known: newFilter()}
	if r.config.Products != nil {
		s.only, s.seen = make(map[string]bool), make(map[string]bool)
		for _, id := range r.config.Products {
			s.only[id] = true
		}
	}
	return s
}

// progressStep is after how many things progress is told.
const progressStep = 1000

// unknownProducts fails with [ErrUnknown] where a product was asked for that neither side knows.
func (s *sweep) unknownProducts() error {
	var none []string
	for _, id := range s.config.Products {
		if !s.seen[id] {
			none = append(none, id)
		}
	}
	if len(none) > 0 {
		return fmt.Errorf("%w: there is no product %s, neither in the ledger nor in Redis", ErrUnknown, strings.Join(none, ", "))
	}
	return nil
}

func (s *sweep) concerns(product string) bool { return s.only == nil || s.only[product] }

func (s *sweep) advance(n int) {
	s.done += int64(n)
	if s.done-s.shown >= progressStep {
		s.shown = s.done
		s.config.Progress(s.done, max(s.all, s.done))
	}
}

func (s *sweep) run(ctx context.Context) error {
	if err := s.sweepProducts(ctx); err != nil {
		return fmt.Errorf("products: %w", err)
	}
	if err := s.sweepLedgerBuyers(ctx); err != nil {
		return fmt.Errorf("buyers: %w", err)
	}
	if err := s.sweepPending(ctx); err != nil {
		return fmt.Errorf("holds in the ledger: %w", err)
	}
	for partition := range s.engine.Partitions() {
		if err := s.sweepPartition(ctx, partition); err != nil {
			return err
		}
	}
	s.config.Progress(s.done, s.done)
	return nil
}

func (s *sweep) sweepPartition(ctx context.Context, partition int) error {
	if err := s.sweepRedisBuyers(ctx, partition); err != nil {
		return fmt.Errorf("buyers in Redis: %w", err)
	}
	if err := s.sweepRecords(ctx, partition); err != nil {
		return fmt.Errorf("orders in Redis: %w", err)
	}
	if err := s.sweepExpiry(ctx, partition); err != nil {
		return fmt.Errorf("holds in Redis: %w", err)
	}
	if err := s.sweepTail(ctx, partition); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	return nil
}

// scanCount is how many elements a page of a scan brings, about: it holds Redis up for less than a millisecond.
const scanCount = 1000

// scan goes through a key of the epoch in force. Where the epoch changes meanwhile it begins again.
func (s *sweep) scan(ctx context.Context, partition int, target func(engine.Keys) string, use func(elements []string) error) error {
	keys, err := s.keysInForce(ctx, partition)
	if err != nil {
		return err
	}
	for cursor := uint64(0); ; {
		timed, cancel := context.WithTimeout(ctx, askTimeout)
		page, err := s.engine.Scan(timed, keys, target(keys), cursor, scanCount)
		cancel()
		if err != nil {
			return err
		}
		if err := use(page.Elements); err != nil {
			return err
		}
		if cursor = page.Next; cursor == 0 {
			break
		}
	}
	now, err := s.keysInForce(ctx, partition)
	if err != nil || now == keys {
		return err
	}
	return s.scan(ctx, partition, target, use)
}

// keysInForce names the keys of the epoch in force.
func (s *sweep) keysInForce(ctx context.Context, partition int) (engine.Keys, error) {
	const query = `SELECT epoch, namespace FROM partitions WHERE partition = $1`
	var epoch engine.Epoch
	err := s.pool.QueryRow(ctx, query, partition).Scan(&epoch.Number, &epoch.Namespace)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return engine.Keys{}, fmt.Errorf("%w: the ledger has no partition %d: no server has run yet, or PARTITIONS is another", ErrUnknown, partition)
	case err != nil:
		return engine.Keys{}, fmt.Errorf("epoch of partition %d: %w", partition, err)
	case epoch.Namespace == "":
		return engine.Keys{}, fmt.Errorf("%w: Redis has never held partition %d: no server has run yet", ErrUnknown, partition)
	}
	return s.engine.EpochKeys(partition, epoch)
}
