package cost

import (
	"context"
	"errors"
)

const (
	memoryFactor = 10 // as many orders more, so that what does not grow with them does not count
	memoryBatch  = 64
)

// memory measures what orders by distinct buyers take, on a partition that begins empty: logged, and once forgotten.
func (m *measurement) memory(ctx context.Context) (*Memory, error) {
	m.say("memory")
	p, err := m.engine.Open(ctx, Shape{Products: 1})
	if err != nil {
		return nil, err
	}
	b := &buyers{measurement: m, partition: p}
	found, err := m.memoryOf(ctx, b)
	return found, errors.Join(err, closeAll(ctx, []*buyers{b}))
}

func (m *measurement) memoryOf(ctx context.Context, b *buyers) (*Memory, error) {
	who := b.take(memoryFactor*m.Orders, memoryBatch)
	found := &Memory{Orders: who.n, Batch: memoryBatch}
	before, err := m.server.memoryUsed(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.decide(ctx, Sale, memoryBatch, who); err != nil {
		return nil, err
	}
	if found.Undrained, err = m.parts(ctx, b.partition.Keys(), before, who.n); err != nil {
		return nil, err
	}
	if err := b.partition.Forget(ctx); err != nil {
		return nil, err
	}
	found.Drained, err = m.parts(ctx, b.partition.Keys(), before, who.n)
	return found, err
}

// parts returns what an order, of n, takes where.
func (m *measurement) parts(ctx context.Context, keys Keys, before float64, n int) (Parts, error) {
	var parts Parts
	used, err := m.server.memoryUsed(ctx)
	if err != nil {
		return parts, err
	}
	parts.Server = (used - before) / float64(n)
	for key, into := range map[string]*float64{keys.Log: &parts.Log, keys.Meta: &parts.Record, keys.Orders: &parts.Record, keys.Buyers: &parts.Buyer} {
		bytes, err := m.server.keyBytes(ctx, key)
		if err != nil {
			return parts, err
		}
		*into += bytes / float64(n)
	}
	return parts, nil
}
