package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// connect opens every connection, so that the sale does not measure how fast the kernel does that.
func (r *rush) connect() error {
	failures := make([]error, len(r.conns))
	var all sync.WaitGroup
	for k, c := range r.conns {
		all.Go(func() {
			if _, err := c.get("/inventory/" + r.Product); err != nil {
				failures[k] = fmt.Errorf("connection %d of %d: %w", k+1, len(r.conns), err)
			}
		})
	}
	all.Wait()
	return errors.Join(failures...)
}

// sell lets all buyers in and returns what became of them, and how long that took from the first request to the last
// answer. If ctx ends, buyers who have not sent their order yet stay away.
func (r *rush) sell(ctx context.Context) (*tally, time.Duration) {
	tallies := make([]*tally, len(r.conns))
	for k := range tallies {
		tallies[k] = newTally(r.Timeout)
	}
	shown := showProgress(r.Out, "selling", r.Buyers)
	begin := time.Now()
	r.inTurn(ctx, r.Buyers, func(k, buyer int) {
		sent := time.Now()
		end := outcomeOf(r.order(r.conns[k], buyer))
		tallies[k].note(end, time.Since(sent))
		shown.add(1)
	})
	elapsed := time.Since(begin)
	shown.stop()
	sum := newTally(r.Timeout)
	for _, t := range tallies {
		sum.add(t)
	}
	return sum, elapsed
}

// order sends the order of one buyer. The user id is the product's with a number: whoever finds it in the ledger knows
// which run it is from.
func (r *rush) order(c *conn, buyer int) (reply, error) {
	body := c.body[:0]
	body = append(body, `{"productId":"`...)
	body = append(body, r.Product...)
	body = append(body, `","userId":"`...)
	body = append(body, r.Product...)
	body = append(body, '-')
	body = strconv.AppendInt(body, int64(buyer), 10)
	body = append(body, `","quantity":1}`...)
	c.body = body
	return c.post("/orders", c.body, "")
}

// inTurn does n tasks over all connections, each connection one at a time, and returns when all are done or, with those
// that have begun, when ctx ends.
func (r *rush) inTurn(ctx context.Context, n int, do func(k, task int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for k := range r.conns {
		all.Go(func() {
			for ctx.Err() == nil {
				task := int(next.Add(1) - 1)
				if task >= n {
					return
				}
				do(k, task)
			}
		})
	}
	all.Wait()
}
