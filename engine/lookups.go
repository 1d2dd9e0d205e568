package engine

import (
	"context"
	"fmt"

	"github.com/redis/rueidis"
)

// Stock reads a product's counters; found is false where Redis does not know it.
func (e *Engine) Stock(ctx context.Context, product string) (stock Stock, found bool, err error) {
	v := e.partitions[e.PartitionOf(product)].view.Load()
	if v.Namespace == "" {
		return Stock{}, false, ErrPartitionClosed
	}
	value, err := e.client.Do(ctx, e.client.B().Hget().Key(v.keys.Stock).Field(product).Build()).ToString()
	if rueidis.IsRedisNil(err) {
		return Stock{}, false, nil
	}
	if err != nil {
		return Stock{}, false, fmt.Errorf("stock of %s: %w", product, err)
	}
	stock, err = ParseStock(value)
	return stock, err == nil, err
}

// Stocks reads the counters of many products, one call a partition. A nil stands for a product that Redis does not know.
func (e *Engine) Stocks(ctx context.Context, products []Product) ([]*Stock, error) {
	stocks := make([]*Stock, len(products))
	places := make(map[int][]int)
	for i := range products {
		id := e.PartitionOf(products[i].ID)
		places[id] = append(places[id], i)
	}
	for id, indexes := range places {
		if err := e.stocksOf(ctx, e.partitions[id], products, indexes, stocks); err != nil {
			return nil, err
		}
	}
	return stocks, nil
}

func (e *Engine) stocksOf(ctx context.Context, p *partition, products []Product, indexes []int, into []*Stock) error {
	v := p.view.Load()
	if v.Namespace == "" {
		return ErrPartitionClosed
	}
	fields := make([]string, len(indexes))
	for k, i := range indexes {
		fields[k] = products[i].ID
	}
	values, err := e.client.Do(ctx, e.client.B().Hmget().Key(v.keys.Stock).Field(fields...).Build()).ToArray()
	if err != nil {
		return fmt.Errorf("stocks of partition %d: %w", p.id, err)
	}
	for k := range values {
		value, err := values[k].ToString()
		if rueidis.IsRedisNil(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("stock of %s: %w", fields[k], err)
		}
		stock, err := ParseStock(value)
		if err != nil {
			return fmt.Errorf("stock of %s: %w", fields[k], err)
		}
		into[indexes[k]] = &stock
	}
	return nil
}

// Find reads an order's record; found is false where Redis has none (any more).
func (e *Engine) Find(ctx context.Context, id OrderID) (order Order, found bool, err error) {
	if id.Partition() >= len(e.partitions) {
		return Order{}, false, nil
	}
	v := e.partitions[id.Partition()].view.Load()
	if v.Namespace == "" {
		return Order{}, false, ErrPartitionClosed
	}
	token := string(id[:tokenSize])
	asked := e.client.DoMulti(ctx,
		e.client.B().Hmget().Key(v.keys.Orders).Field(string(id[:]), token).Build(), // a token there is of the version before
		e.client.B().Hmget().Key(v.keys.Meta).Field(token).Build())
	var kept []rueidis.RedisMessage
	for i := range asked {
		values, err := asked[i].ToArray()
		if err != nil {
			return Order{}, false, fmt.Errorf("order %s: %w", id, err)
		}
		kept = append(kept, values...)
	}
	for i := range kept { // what is under its own id goes first
		if kept[i].IsNil() {
			continue
		}
		text, err := kept[i].ToString()
		if err != nil {
			return Order{}, false, fmt.Errorf("order %s: %w", id, err)
		}
		if sequence, ok := entryOf(text); ok {
			return e.findLogged(ctx, v, id, sequence, i > 0)
		}
		order, err = ParseRecord(id, text)
		return order, err == nil, err
	}
	return Order{}, false, nil
}

// Durable tells whether an order found in Redis is in the ledger as it is.
func (e *Engine) Durable(o *Order) bool {
	p := e.partitions[o.ID.Partition()]
	return p.watermark.get().covers(p.view.Load().Number, o.Sequence)
}
