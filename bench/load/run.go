package load

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"flashsale/internal/pause"
)

const (
	// dialPause is how long a connection waits after one that could not be made.
	dialPause = 10 * time.Millisecond
	// expirySteps is how precisely the timeout is kept: one step of so many.
	expirySteps = 20
	// minExpiry bounds how often requests are looked at for that.
	minExpiry = time.Millisecond
)

// Run is one load on one target.
type Run struct {
	plan  Plan
	tally *tally
	clock clock
	conns []*conn
	do    []Script
	spent func() machineTime // what the machine has spent, for Result.Stolen

	started atomic.Bool  // from when on the clock may be read by others
	begun   atomic.Int64 // visits
	dropped atomic.Int64
	stopped atomic.Bool
}

// New prepares a run; nothing is sent yet. newScript is called once for each connection, numbered from 0. An error wraps
// [ErrOptions].
func New(target Target, plan Plan, newScript func(connection int) Script) (*Run, error) {
	r := &Run{plan: plan.withDefaults(), spent: machineTimeNow}
	if err := r.plan.check(); err != nil {
		return nil, err
	}
	r.tally = newTally(&r.plan)
	for k := range r.plan.Connections {
		r.conns = append(r.conns, newConn(&target, r.plan.Timeout, &r.clock))
		r.do = append(r.do, newScript(k))
	}
	return r, nil
}

// Progress tells how far the run is; it may be asked at any time.
func (r *Run) Progress() Progress {
	p := r.tally.progress()
	if r.started.Load() {
		p.Elapsed = r.clock.now()
	}
	return p
}

// Do makes all connections, then sends. It returns when all that was begun has ended; where ctx ends, no visit is begun
// any more, and the result is of what was done until then, with ctx's error. Other errors are of a connection that could
// not be made before the beginning. Do is called once.
func (r *Run) Do(ctx context.Context) (Result, error) {
	defer r.close()
	if err := connectAll(ctx, r.conns); err != nil {
		return Result{}, err
	}
	r.clock.start = time.Now()
	r.started.Store(true)
	release := context.AfterFunc(ctx, func() { r.stopped.Store(true) })
	defer release()
	watched, begin := r.watchTimeouts(), r.spent()
	r.sendAll(ctx)
	end := r.spent()
	watched()
	result := r.result()
	result.Stolen = end.stolenSince(begin)
	if err := ctx.Err(); err != nil {
		return result, fmt.Errorf("load: %w", err)
	}
	return result, nil
}

func (r *Run) close() {
	for _, c := range r.conns {
		c.close()
	}
}

// watchTimeouts cuts off what takes too long, until the returned function is called.
func (r *Run) watchTimeouts() (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(max(r.plan.Timeout/expirySteps, minExpiry))
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
				for _, c := range r.conns {
					c.expire()
				}
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

// sendAll visits over all connections until the plan is done.
func (r *Run) sendAll(ctx context.Context) {
	next := func(now time.Duration) (int64, time.Duration, bool) { // asks ctx itself: stopped is set a moment later
		if ctx.Err() != nil {
			return 0, 0, false
		}
		return r.nextAtOnce(now)
	}
	stopPacing := func() {}
	if r.plan.Rate > 0 {
		next, stopPacing = r.paced(ctx)
	}
	var all sync.WaitGroup
	for k := range r.conns {
		all.Go(func() {
			v := visitor{run: r, conn: r.conns[k], script: r.do[k], notes: newNotebook(r.tally)}
			v.visitAll(ctx, next)
		})
	}
	all.Wait()
	stopPacing()
}

// nextAtOnce gives out the next visit of a closed loop.
func (r *Run) nextAtOnce(now time.Duration) (visit int64, intended time.Duration, more bool) {
	if r.stopped.Load() || r.plan.Duration > 0 && now >= r.plan.Warmup+r.plan.Duration {
		return 0, 0, false
	}
	visit = r.begun.Add(1) - 1
	return visit, now, r.plan.Visits == 0 || visit < r.plan.Visits
}

// visitor is one connection at work.
type visitor struct {
	run     *Run
	conn    *conn
	script  Script
	notes   *notebook
	request []byte
}

func (v *visitor) visitAll(ctx context.Context, next func(now time.Duration) (int64, time.Duration, bool)) {
	defer v.notes.handOver()
	now := v.run.clock.now()
	for {
		visit, intended, more := next(now)
		if !more {
			return
		}
		now = v.visit(ctx, visit, intended)
	}
}

// visit does one visit and returns when it was over. Its first request counts from the intended start, each other from
// the answer before it.
func (v *visitor) visit(ctx context.Context, visit int64, intended time.Duration) time.Duration {
	for step := 0; ; step++ {
		v.request = v.script.Request(v.request[:0], visit, step)
		if len(v.request) == 0 {
			return v.run.clock.now()
		}
		late := v.run.clock.now() - intended
		answer, err := v.conn.ask(ctx, v.request)
		now := v.run.clock.now()
		outcome := v.script.Answer(visit, step, answer, err)
		v.notes.note(sample{
			Outcome: outcome, at: now, took: now - intended, paced: v.run.plan.Rate > 0 && step == 0, late: late,
		})
		intended = now
		if v.conn.net == nil && err != nil {
			pause.For(ctx, dialPause)
		}
	}
}

// result is called when everything has ended.
func (r *Run) result() Result {
	t := r.tally
	end := t.last
	if r.plan.Duration > 0 && r.plan.Visits == 0 && !r.stopped.Load() {
		end = max(end, r.plan.Warmup+r.plan.Duration)
	}
	visits := r.begun.Load()
	if r.plan.Visits > 0 {
		visits = min(visits, r.plan.Visits)
	}
	return Result{
		Ops: t.ops, Seconds: max(0, end-t.warmup).Seconds(), Visits: visits, Dropped: r.dropped.Load(), LateUs: t.lateUs,
		WarmupSeconds: min(t.warmup, end).Seconds(), SlotSeconds: t.slot.Seconds(), Slots: t.slots,
	}
}
