package rival

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/rueidis"

	"flashsale/internal/pause"
)

// How what was sold comes out of the stream: so many orders a statement, which wait for each other for a moment while they keep
// coming, as those of the engine do.
const (
	drainCount = 2000
	drainPause = 25 * time.Millisecond // the engine's defaultGatherPause (persist/gather.go)
	drainBlock = 2 * time.Second       // for which the first order is waited for
	drainFull  = drainCount / 2        // from which on there is a backlog, and nothing to wait for
)

// keepDrained writes a batch down once, whoever sends it again.
const keepDrained = `
INSERT INTO rival.drained (id, product_id, user_id, quantity, created_at)
SELECT id, $1, user_id, quantity, created_at FROM unnest($2::uuid[], $3::text[], $4::bigint[], $5::timestamptz[]) AS o (id, user_id, quantity, created_at)
ON CONFLICT (id) DO NOTHING`

// Drained sells by one EVALSHA an order and brings what was sold into Postgres meanwhile, which is what the engine does too.
type Drained struct {
	*Script
	pool   *pgxpool.Pool
	ctx    context.Context //nolint:containedctx // of the drains, which Close ends
	cancel context.CancelFunc
	drains sync.WaitGroup

	mu     sync.Mutex
	failed error // why a drain has ended
}

// NewDrained keeps its keys behind a prefix and its rows in the tables of p. Close ends the drains.
func NewDrained(client rueidis.Client, prefix string, p *Postgres) *Drained {
	d := &Drained{Script: NewScript(client, prefix), pool: p.pool}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// Name says how it sells.
func (d *Drained) Name() string { return "one EVALSHA, drained to Postgres" }

// Stock puts a product on sale and begins to drain what is sold of it.
func (d *Drained) Stock(ctx context.Context, product string, units int64) error {
	if err := d.Script.Stock(ctx, product, units); err != nil {
		return err
	}
	d.drains.Go(func() {
		if err := d.run(d.ctx, product); d.ctx.Err() == nil {
			d.mu.Lock()
			d.failed = errors.Join(d.failed, err)
			d.mu.Unlock()
		}
	})
	return nil
}

// run drains a product's stream until ctx ends or something fails.
func (d *Drained) run(ctx context.Context, product string) error {
	for last := "0"; ; {
		n, err := d.step(ctx, product, &last)
		if err != nil {
			return err
		}
		if 0 < n && n < drainFull && !pause.For(ctx, drainPause) {
			return ctx.Err()
		}
	}
}

// step brings what is there, up to a statement's worth, from the stream into the table.
func (d *Drained) step(ctx context.Context, product string, last *string) (n int, err error) {
	log := keysOf(d.prefix, product).log
	read := d.client.B().Xread().Count(drainCount).Block(drainBlock.Milliseconds()).Streams().Key(log).Id(*last).Build()
	streams, err := d.client.Do(ctx, read).AsXRead()
	if rueidis.IsRedisNil(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read what was sold: %w", err)
	}
	entries := streams[log]
	if err := d.keep(ctx, product, entries); err != nil {
		return 0, err
	}
	*last = entries[len(entries)-1].ID
	trim := d.client.B().Xtrim().Key(log).Minid().Threshold(after(*last)).Build()
	if err := d.client.Do(ctx, trim).Error(); err != nil {
		return 0, fmt.Errorf("forget what was kept: %w", err)
	}
	return len(entries), nil
}

// keep writes what was sold down in one statement.
func (d *Drained) keep(ctx context.Context, product string, entries []rueidis.XRangeEntry) error {
	n := len(entries)
	ids, users := make([]string, n), make([]string, n)
	quantities, times := make([]int64, n), make([]time.Time, n)
	for i, e := range entries {
		ids[i], users[i] = e.FieldValues["id"], e.FieldValues["user"]
		quantity, errQuantity := strconv.ParseInt(e.FieldValues["quantity"], 10, 64)
		ms, errTime := msOf(e.ID)
		if err := errors.Join(errQuantity, errTime); err != nil {
			return fmt.Errorf("entry %s: %w", e.ID, err)
		}
		quantities[i], times[i] = quantity, time.UnixMilli(ms)
	}
	if _, err := d.pool.Exec(ctx, keepDrained, product, ids, users, quantities, times); err != nil {
		return fmt.Errorf("keep what was sold: %w", err)
	}
	return nil
}

// msOf reads when an entry was written from its id, ms-n.
func msOf(id string) (int64, error) {
	ms, _, _ := strings.Cut(id, "-")
	return strconv.ParseInt(ms, 10, 64)
}

// after is the first id behind one.
func after(id string) string {
	ms, n, _ := strings.Cut(id, "-")
	next, _ := strconv.ParseUint(n, 10, 64) // Redis wrote it
	return ms + "-" + strconv.FormatUint(next+1, 10)
}

// Books waits until everything is drained: the rows are the orders.
func (d *Drained) Books(ctx context.Context, product string) (books Books, err error) {
	k := keysOf(d.prefix, product)
	if err := d.await(ctx, k.log); err != nil {
		return books, fmt.Errorf("wait for what was sold to be drained: %w", err)
	}
	if books, err = booksOf(ctx, d.client, &k); err != nil {
		return books, err
	}
	err = d.pool.QueryRow(ctx, "SELECT count(*) FROM rival.drained WHERE product_id = $1", product).Scan(&books.Orders)
	if err != nil {
		return books, fmt.Errorf("count the rows: %w", err)
	}
	return books, nil
}

// await returns when nothing is left in a stream.
func (d *Drained) await(ctx context.Context, log string) error {
	for {
		left, err := d.client.Do(ctx, d.client.B().Xlen().Key(log).Build()).AsInt64()
		if err != nil || left == 0 {
			return err
		}
		d.mu.Lock()
		err = d.failed
		d.mu.Unlock()
		if err != nil {
			return err
		}
		if !pause.For(ctx, drainPause) {
			return ctx.Err()
		}
	}
}

// Close ends the drains.
func (d *Drained) Close() {
	d.cancel()
	d.drains.Wait()
}
