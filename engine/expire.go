package engine

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

const (
	// sweepInterval is how often holds past their time are looked for; one that somebody waits for expires at once.
	sweepInterval = 250 * time.Millisecond
	// sweepHolds is how many one call looks at: it holds Redis up for about two milliseconds.
	sweepHolds = 200
	// sweepPostpone is when a hold whose counters can't be read is looked at again.
	sweepPostpone = time.Minute
)

// swept is what a call of expire.lua did.
type swept struct {
	lookedAt int64
	expired  int64
}

// sweep expires holds of a partition until ctx ends. Every process does so: the script decides who comes first.
func (e *Engine) sweep(ctx context.Context, p *partition) {
	for sleep(ctx, sweepInterval) {
		e.sweepDue(ctx, p)
	}
}

// sweepDue expires the holds that are due now. A partition that is shut, or held by an operator, is left alone: nobody
// may write to a log that the ledger can't follow.
func (e *Engine) sweepDue(ctx context.Context, p *partition) {
	for more := true; more && ctx.Err() == nil; {
		v := p.view.Load()
		if v.guard != GuardOK || v.Held != "" {
			return
		}
		timed, cancel := context.WithTimeout(ctx, e.config.Timeout)
		done, err := e.expire(timed, p, v)
		cancel()
		if err == nil {
			p.succeedQuietly(time.Now())
		} else if ctx.Err() == nil {
			e.metrics.failedCalls.Inc()
			p.failSweep(err)
		}
		more = err == nil && done.lookedAt == sweepHolds
	}
}

// expire gives back what the holds that are longest due have held, up to sweepHolds of them.
func (e *Engine) expire(ctx context.Context, p *partition, v *view) (swept, error) {
	deadline, _ := ctx.Deadline()
	fields, err := expireScript.run(ctx, e.client, v.books, []string{
		v.Replid, formatUint(p.watermarkIn(v.Number)), strconv.FormatInt(p.clock.at(deadline), 10),
		strconv.Itoa(sweepHolds), strconv.FormatInt(sweepPostpone.Milliseconds(), 10),
	})
	if err != nil {
		return swept{}, err
	}
	r := replyReader{fields: fields}
	guard := Guard(r.text())
	p.clock.observe(r.number(), time.Now())
	if r.err == nil && guard != GuardOK {
		p.hearUnlessLate(v, guard)
		return swept{}, nil
	}
	sequence, orders := uint64(r.number()), r.number()
	done := swept{lookedAt: r.number(), expired: r.number()}
	if r.err != nil {
		return swept{}, fmt.Errorf("expire.lua: %w", r.err)
	}
	if done.expired > 0 {
		p.logged(v, sequence, orders, time.Now())
		e.metrics.expired.Add(int(done.expired))
	}
	return done, nil
}
