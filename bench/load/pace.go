package load

import (
	"context"
	"runtime"
	"time"
)

// due is a visit whose time has come.
type due struct {
	visit    int64
	intended time.Duration
}

// maxDue is how many visits may wait for a connection before the pacer waits too. The schedule does not move by that.
const maxDue = 1024

// paced gives out the visits of an open loop. One goroutine, on a thread of its own, keeps the schedule: a timer of the Go
// runtime is up to a millisecond late, which is longer than many an answer takes.
func (r *Run) paced(ctx context.Context) (next func(time.Duration) (int64, time.Duration, bool), stop func()) {
	visits := make(chan due, maxDue)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(visits)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		r.keepSchedule(ctx, visits)
	}()
	next = func(time.Duration) (int64, time.Duration, bool) {
		for v := range visits {
			if ctx.Err() != nil { // what is due waits in the channel: it is no longer begun
				return 0, 0, false
			}
			if r.clock.now()-v.intended <= r.plan.Timeout {
				r.begun.Add(1)
				return v.visit, v.intended, true
			}
			if r.clock.now() >= r.plan.Warmup {
				r.dropped.Add(1)
			}
		}
		return 0, 0, false
	}
	return next, func() { <-ended }
}

func (r *Run) keepSchedule(ctx context.Context, visits chan<- due) {
	end := r.plan.Warmup + r.plan.Duration
	for visit := int64(0); r.plan.Visits == 0 || visit < r.plan.Visits; visit++ {
		intended := time.Duration(float64(visit) / r.plan.Rate * float64(time.Second))
		if r.plan.Duration > 0 && intended >= end {
			return
		}
		r.sleepUntil(intended)
		if r.stopped.Load() {
			return
		}
		select {
		case visits <- due{visit, intended}:
		case <-ctx.Done():
			return
		}
	}
}

// longestSleep bounds how long a run goes on after it was told to stop.
const longestSleep = 100 * time.Millisecond

func (r *Run) sleepUntil(at time.Duration) {
	for !r.stopped.Load() {
		left := at - r.clock.now()
		if left <= 0 {
			return
		}
		sleep(min(left, longestSleep))
	}
}
