package persist

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"flashsale/engine"
)

const (
	// handOverPortion is how many changes a round hands over at the most: an import leaves thousands, and orders that come
	// meanwhile are drained between two portions.
	handOverPortion = 512
	// handOverAtOnce is how many of them are under way together, so that they share round trips and what Redis writes to
	// its disk. They are of different products: of each, one change is under way at a time.
	handOverAtOnce = 16
)

// handOver gives Redis the changes of products that it has not taken, up to a portion: their process may have died in
// between, or left them to us. enough is the sequence up to which the log is to be drained before the next portion, 0 where
// none is left. A change that fails stops none of the others.
func (l *leader) handOver(ctx context.Context) (enough uint64, err error) {
	changes, err := l.changesUnderWay(ctx)
	if err != nil {
		return 0, fmt.Errorf("changes under way: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, ledgerTimeout)
	defer cancel()
	sequences := make([]uint64, len(changes))
	group := errgroup.Group{}
	group.SetLimit(handOverAtOnce)
	for i, c := range changes {
		group.Go(func() error {
			done, err := l.engine.Apply(ctx, c)
			if err != nil {
				return fmt.Errorf("hand over change %d of %s: %w", c.Number, c.Product, err)
			}
			sequences[i] = done.Sequence
			return nil
		})
	}
	err = group.Wait()
	if len(changes) < handOverPortion {
		return 0, err
	}
	return slices.Max(sequences), err
}

func (l *leader) changesUnderWay(ctx context.Context) ([]engine.Change, error) {
	ctx, cancel := l.lasting(ctx, ledgerTimeout)
	defer cancel()
	rows, err := l.conn.Query(ctx, selectPending+` AND p.partition = $1 LIMIT $2`, l.partition, handOverPortion)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (engine.Change, error) { return scanChange(row) })
}
