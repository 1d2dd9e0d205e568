package engine

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// lane is the queue of one partition in one process. While its workers wait for Redis the next batch gathers; an idle
// lane sends a batch of one at once.
type lane struct {
	engine    *Engine
	partition *partition

	mu     sync.Mutex
	wake   sync.Cond
	queue  []*Reservation
	closed bool
}

func newLane(e *Engine, p *partition) *lane {
	l := &lane{engine: e, partition: p}
	l.wake.L = &l.mu
	return l
}

// push queues a reservation; false means that the queue is full or shut.
func (l *lane) push(r *Reservation) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.queue) >= l.engine.config.QueueLength {
		return false
	}
	l.queue = append(l.queue, r)
	l.wake.Signal()
	return true
}

func (l *lane) length() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}

// take waits for reservations and moves up to a batch of them into batch; an empty result means that the lane is shut
// and nothing is left.
func (l *lane) take(batch []*Reservation) []*Reservation {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) == 0 && !l.closed {
		l.wake.Wait()
		// Whoever can run now may have an order too: let them queue first. On an idle machine this costs nothing; under
		// load most batches were of one order without it.
		l.mu.Unlock()
		runtime.Gosched()
		l.mu.Lock()
	}
	n := min(len(l.queue), l.engine.config.BatchSize)
	batch = append(batch[:0], l.queue[:n]...)
	rest := copy(l.queue, l.queue[n:])
	clear(l.queue[rest:])
	l.queue = l.queue[:rest]
	return batch
}

// close lets the workers finish what is queued and refuses what comes.
func (l *lane) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.wake.Broadcast()
}

// work sends batches until the lane is shut and empty.
func (l *lane) work() {
	c := &reserveCall{places: make(map[string]int)}
	for {
		c.orders = l.take(c.orders)
		if len(c.orders) == 0 {
			return
		}
		l.send(c)
	}
}

// retryPause bounds the pauses between the attempts of a batch; they double from the first to the last.
const (
	firstRetryPause = 2 * time.Millisecond
	lastRetryPause  = 100 * time.Millisecond

	// shortestAttempt is how much time an attempt needs: one that its deadline breaks off turns a definite no into an
	// unknown outcome.
	shortestAttempt = 10 * time.Millisecond
)

// send brings a batch to its outcome: it repeats an attempt whose reply was lost, for the script recognises the ids it
// has seen, until the earliest deadline of the batch. It never repeats into another epoch, nor what was refused for good.
func (l *lane) send(c *reserveCall) {
	c.orders = dropLate(c.orders, time.Now())
	if len(c.orders) == 0 {
		return
	}
	ctx, cancel := context.WithDeadline(context.Background(), c.orders[0].deadline)
	defer cancel()
	began := l.partition.view.Load()
	unknown := false
	for pause := firstRetryPause; ; pause = min(2*pause, lastRetryPause) {
		v := l.partition.view.Load()
		if v.guard != GuardOK || v.Number != began.Number || v.Namespace != began.Namespace {
			l.finishAll(c, definite(ErrPartitionClosed, unknown))
			return
		}
		err := l.attempt(ctx, c, v, unknown)
		if err == nil {
			return
		}
		l.engine.metrics.failedCalls.Inc()
		l.partition.fail(err)
		unknown = unknown || maybeExecuted(err)
		if !unknown { // a definite no: whoever asks again gets a fresh answer
			l.finishAll(c, ErrUnavailable)
			return
		}
		if time.Until(c.orders[0].deadline) < pause+shortestAttempt || !sleep(ctx, pause) {
			l.finishAll(c, ErrOutcomeUnknown)
			return
		}
	}
}

// attempt runs the batch once and finishes its orders, unless it returns an error.
func (l *lane) attempt(ctx context.Context, c *reserveCall, v *view, unknown bool) error {
	p, e := l.partition, l.engine
	deadline, _ := ctx.Deadline()
	c.build(v.Replid, p.watermarkIn(v.Number), p.clock.at(deadline), &e.config)
	asked := time.Now()
	reply, err := c.call(ctx, e, v)
	if err != nil {
		return err
	}
	answered := time.Now()
	p.succeed()
	e.metrics.batch(len(c.orders), answered.Sub(asked))
	p.clock.observe(reply.nowMs, answered)
	switch reply.guard {
	case GuardOK:
	case GuardLate:
		l.finishAll(c, definite(ErrTooLate, unknown))
		return nil
	default:
		p.hear(v, reply.guard)
		l.finishAll(c, definite(ErrPartitionClosed, unknown))
		return nil
	}
	p.appended.Store(reply.orders)
	e.learn(c, asked)
	drained := p.watermark.get().Orders
	for _, r := range c.orders {
		r.Ahead = max(0, r.Ahead-drained)
		r.finish(definite(r.err, unknown))
	}
	return nil
}

// learn hangs the gate's sign for each product of a batch that was answered.
func (e *Engine) learn(c *reserveCall, asked time.Time) {
	for i, s := range c.shelves {
		if c.left[i] >= 0 {
			s.hang(c.left[i], asked, e.config.GateTTL)
			e.shelves.keep(s)
		}
	}
}

// definite returns an outcome, or ErrOutcomeUnknown where it is a refusal and an earlier attempt may yet have happened.
func definite(outcome error, unknown bool) error {
	if outcome != nil && unknown {
		return ErrOutcomeUnknown
	}
	return outcome
}

func (l *lane) finishAll(c *reserveCall, outcome error) {
	for _, r := range c.orders {
		r.finish(outcome)
	}
}

// dropLate finishes the orders whose deadline has passed while they were queued: they were never sent.
func dropLate(orders []*Reservation, now time.Time) []*Reservation {
	kept := orders[:0]
	for _, r := range orders {
		if now.Before(r.deadline) {
			kept = append(kept, r)
		} else {
			r.finish(ErrTooLate)
		}
	}
	return kept
}

// sleep pauses for d; false means that the context ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
