package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/redis/rueidis"
)

// TimeMs returns the server's time, in ms since 1970.
func (l *Link) TimeMs(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, l.reply)
	defer cancel()
	parts, err := l.client.Do(ctx, l.client.B().Time().Build()).AsIntSlice()
	if err != nil {
		return 0, fmt.Errorf("time of partition %d: %w", l.partition, err)
	}
	if len(parts) != 2 {
		return 0, fmt.Errorf("time of partition %d: %d fields", l.partition, len(parts))
	}
	return parts[0]*1000 + parts[1]/1000, nil
}

// LogEnds asks Redis for the sequence of the last log entry of every partition, each in the epoch that the ledger names.
// Where Redis does not hold that epoch (any more) it is the last that there can be: only a later epoch is past it.
func (e *Engine) LogEnds(ctx context.Context, epochs []Epoch) ([]uint64, error) {
	ends := make([]uint64, len(epochs))
	var asked []int
	var commands []rueidis.Completed
	for partition, epoch := range epochs {
		if epoch.Namespace == "" {
			continue // nothing was ever logged
		}
		keys, err := e.EpochKeys(partition, epoch)
		if err != nil {
			return nil, err
		}
		asked = append(asked, partition)
		commands = append(commands, e.client.B().Hget().Key(keys.Meta).Field("sequence").Build())
	}
	replies, err := doMultiWithin(ctx, e.client, commands)
	if err != nil {
		return nil, fmt.Errorf("ends of the logs: %w", err)
	}
	for i, reply := range replies {
		end, err := reply.AsUint64()
		if rueidis.IsRedisNil(err) {
			end, err = math.MaxUint64, nil
		}
		if err != nil {
			return nil, fmt.Errorf("end of the log of partition %d: %w", asked[i], err)
		}
		ends[asked[i]] = end
	}
	return ends, nil
}

// doMultiWithin is doWithin for commands that belong together.
func doMultiWithin(ctx context.Context, client rueidis.Client, commands []rueidis.Completed) ([]rueidis.RedisResult, error) {
	if len(commands) == 0 {
		return nil, nil
	}
	answer := make(chan []rueidis.RedisResult, 1)
	go func() { answer <- client.DoMulti(ctx, commands...) }()
	select {
	case replies := <-answer:
		return replies, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

var errNoEpoch = errors.New("redis does not hold the epoch in force")

// LogLag returns how long ago, by the clock of Redis, the first log entry after a sequence was logged; 0 = there is none.
func (e *Engine) LogLag(ctx context.Context, partition int, epoch Epoch, after uint64) (ms int64, err error) {
	keys, err := e.EpochKeys(partition, epoch)
	if err != nil {
		return 0, err
	}
	replies, err := doMultiWithin(ctx, e.client, []rueidis.Completed{
		e.client.B().Exists().Key(keys.Meta).Build(),
		e.client.B().Xrange().Key(keys.Log).Start(formatUint(after+1) + "-0").End("+").Count(1).Build(),
	})
	if err != nil {
		return 0, fmt.Errorf("lag of partition %d: %w", partition, err)
	}
	held, err := replies[0].AsBool()
	if err == nil && !held {
		err = errNoEpoch
	}
	if err != nil {
		return 0, fmt.Errorf("lag of partition %d: %w", partition, err)
	}
	messages, err := replies[1].ToArray()
	if err != nil || len(messages) == 0 {
		return 0, err
	}
	entry, err := parseEntry(&messages[0])
	if err != nil {
		return 0, fmt.Errorf("lag of partition %d: %w", partition, err)
	}
	return max(1, e.partitions[partition].clock.now()-entry.TimeMs), nil
}

// now returns the server's time as far as it is known, else that of this process.
func (c *redisClock) now() int64 {
	c.mu.Lock()
	unknown := c.taken.IsZero()
	c.mu.Unlock()
	if unknown {
		return time.Now().UnixMilli()
	}
	return c.at(time.Now())
}

// RedisNow returns the time of a partition's server, as far as it is known, in ms since 1970.
func (e *Engine) RedisNow(partition int) int64 { return e.partitions[partition].clock.now() }

// scanProducts is how many products one call of a scan looks at, about: it holds Redis up for less than a millisecond.
const scanProducts = 500

// StockTotals sums up the live counters of all products. They are read in portions, so they are not of one instant.
func (e *Engine) StockTotals(ctx context.Context) (StockTotals, error) {
	var totals StockTotals
	err := e.eachStock(ctx, func(_ string, stock Stock) { totals.add(stock) })
	if err != nil {
		return StockTotals{}, err
	}
	return totals, nil
}

// TopProducts returns the live counters of the n products of which most units are sold or held, in that order and where
// they are equal by id.
func (e *Engine) TopProducts(ctx context.Context, n int) ([]ProductStock, error) {
	var top []ProductStock
	keep := func() {
		slices.SortFunc(top, func(a, b ProductStock) int {
			return cmp.Or(cmp.Compare(b.Sold+b.Held, a.Sold+a.Held), cmp.Compare(a.Product, b.Product))
		})
		top = top[:min(n, len(top))]
	}
	err := e.eachStock(ctx, func(product string, stock Stock) {
		if top = append(top, ProductStock{product, stock}); len(top) >= n+scanProducts {
			keep()
		}
	})
	if err != nil {
		return nil, err
	}
	keep()
	return top, nil
}

// eachStock reads the live counters of all products.
func (e *Engine) eachStock(ctx context.Context, take func(product string, stock Stock)) error {
	for _, p := range e.partitions {
		if err := e.stocksIn(ctx, p, take); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) stocksIn(ctx context.Context, p *partition, take func(product string, stock Stock)) error {
	v := p.view.Load()
	if v.Namespace == "" || v.guard == GuardMissing {
		return ErrPartitionClosed // what Redis does not hold can't be counted
	}
	seen := make(map[string]bool) // a scan may name a product twice
	for cursor := uint64(0); ; {
		scan := e.client.B().Hscan().Key(v.keys.Stock).Cursor(cursor).Count(scanProducts).Build()
		page, err := doWithin(ctx, e.client, scan).AsScanEntry()
		if err != nil {
			return fmt.Errorf("stocks of partition %d: %w", p.id, err)
		}
		for i := 0; i+1 < len(page.Elements); i += 2 {
			product := page.Elements[i]
			if seen[product] {
				continue
			}
			seen[product] = true
			stock, err := ParseStock(page.Elements[i+1])
			if err != nil {
				return fmt.Errorf("stock of %s: %w", product, err)
			}
			take(product, stock)
		}
		if cursor = page.Cursor; cursor == 0 {
			return nil
		}
	}
}

// ActiveHolds returns how many holds each partition has that are not over. Of one that Redis does not hold it is an error.
func (e *Engine) ActiveHolds(ctx context.Context) ([]int64, error) {
	holds := make([]int64, len(e.partitions))
	for id, p := range e.partitions {
		v := p.view.Load()
		if v.Namespace == "" || v.guard == GuardMissing {
			return nil, ErrPartitionClosed
		}
		count := e.client.B().Zcard().Key(v.keys.Expiry).Build()
		var err error
		if holds[id], err = doWithin(ctx, e.client, count).AsInt64(); err != nil {
			return nil, fmt.Errorf("holds of partition %d: %w", id, err)
		}
	}
	return holds, nil
}
