package engine

import (
	"context"
	"fmt"
	"time"
)

// ReserveTogether decides reservations of one partition in one call of reserve.lua, exactly as a lane calls it, but
// without the lane: nothing waits, no gate, no second attempt. It is for measuring what a call costs. ctx needs a deadline.
// An error says that the call failed, or is that of the first reservation which was not accepted.
func (e *Engine) ReserveTogether(ctx context.Context, batch []*Reservation) error {
	p := e.partitions[e.PartitionOf(batch[0].Product)]
	for _, r := range batch {
		r.shelf = e.shelves.find(r.Product, crc16(r.Product), p)
		r.buyer = BuyerField(r.Product, r.User)
	}
	return together(ctx, e, p, newReserveCall(e), batch)
}

// SettleTogether is ReserveTogether for transitions and settle.lua. Extensions are not for it.
func (e *Engine) SettleTogether(ctx context.Context, batch []*Transition) error {
	return together(ctx, e, e.partitions[batch[0].ID.Partition()], &settleCall{engine: e}, batch)
}

func together[R request](ctx context.Context, e *Engine, p *partition, c call[R], batch []R) error {
	v, err := p.openView()
	if err != nil {
		return err
	}
	c.mint(p, batch)
	asked := time.Now()
	head, err := c.run(ctx, e.client, p, v, batch)
	if err != nil {
		return err
	}
	p.clock.observe(head.nowMs, time.Now())
	if head.guard != GuardOK {
		return fmt.Errorf("%w: the script says %s", ErrPartitionClosed, head.guard)
	}
	p.logged(v, head.sequence, head.orders, asked)
	for _, r := range batch {
		if err := r.wait().err; err != nil {
			return err
		}
	}
	return nil
}
