package engine

import (
	"runtime"
	"slices"
	"sync"
	"time"
)

// lane is the queue of one partition in one process for one kind of requests. While its workers wait for Redis the next
// batch gathers; a lane whose calls have had one request or two sends the next one at once. Redis runs one call at a time, so
// a small call behind another one waits there: it may as well grow here. And where calls have been large, one that begins with
// what is there so far costs Redis as much by itself as one that waits for the others, who are on their way.
type lane[R request] struct {
	engine    *Engine
	partition *partition
	newCall   func() call[R]
	fenced    bool          // each worker waits for the replicas
	slow      time.Duration // how long a call may be under way and still be waited for
	gather    time.Duration // how long a request may wait for others while no call is under way

	mu     sync.Mutex
	wake   sync.Cond
	queue  []R
	calls  []time.Time // under way, when each began, the oldest first
	orders int         // in these calls
	usual  float64     // how many requests a call has had of late
	closed bool
	look   *time.Timer // looks again after gather, as long as orders are queued
	armed  bool        // look is to fire
}

func newLane[R request](e *Engine, p *partition, newCall func() call[R]) *lane[R] {
	l := &lane[R]{engine: e, partition: p, newCall: newCall, slow: slowCall, gather: gatherFor}
	l.wake.L = &l.mu
	return l
}

// ask queues a request and returns its outcome.
func (l *lane[R]) ask(r R) error {
	if !l.push(r) {
		l.engine.metrics.queueFull.Inc()
		return ErrQueueFull
	}
	w := r.wait()
	<-w.done
	return w.err
}

// push queues a request; false means that the queue is full or shut.
func (l *lane[R]) push(r R) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.queue) >= l.engine.config.QueueLength {
		return false
	}
	l.queue = append(l.queue, r)
	if len(l.queue) >= l.enough(r.wait().deadline.Add(-l.engine.config.Timeout)) { // about now
		l.wake.Signal()
	} else if !l.armed {
		l.arm()
	}
	return true
}

// arm looks again after a while: the call under way may turn out slow by then, or those who are waited for may not come, and
// nobody else may come to say so. The caller holds the lock.
func (l *lane[R]) arm() {
	l.armed = true
	if l.look == nil {
		l.look = time.AfterFunc(l.gather, l.lookAgain)
		return
	}
	l.look.Reset(l.gather)
}

func (l *lane[R]) lookAgain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = false
	if len(l.queue) == 0 {
		return
	}
	if len(l.queue) >= l.enough(time.Now()) {
		l.wake.Signal()
	}
	l.arm()
}

func (l *lane[R]) length() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}

const (
	// slowCall is well above what a call takes that waits for a disk.
	slowCall = 50 * time.Millisecond
	// gatherFor is about what an order takes at the peak, so whoever is to come has come by then.
	gatherFor = time.Millisecond

	// usualPart of what calls have had of late is waited for: with all of it, whoever stays away would hold the others up.
	usualPart = 0.75
	// usualOver is over how many calls that is taken.
	usualOver = 8
)

// enough is how many requests are worth a call: most of what calls have had of late, and half of what a call under way has.
// One is where a call takes so long that its connection may be to blame, not the server; or where none is under way, and
// somebody has waited long enough for those who have not come.
func (l *lane[R]) enough(now time.Time) int {
	usual := max(1, int(l.usual*usualPart))
	if len(l.calls) == 0 {
		if len(l.queue) > 0 && l.waited(l.queue[0], now) >= l.gather {
			return 1
		}
		return usual
	}
	if now.Sub(l.calls[0]) > l.slow {
		return 1
	}
	return max(usual, l.orders/len(l.calls)/2)
}

// waited is for how long a request has been here.
func (l *lane[R]) waited(r R, now time.Time) time.Duration {
	return l.engine.config.Timeout - r.wait().deadline.Sub(now)
}

// take waits for enough requests and moves up to a batch of them into batch; an empty result means that the lane is shut
// and nothing is left.
func (l *lane[R]) take(batch []R) (taken []R, began time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) < l.enough(time.Now()) && !l.closed {
		// More may be enough now than when they were queued, and then nobody has seen to it that they are looked at again.
		if len(l.queue) > 0 && !l.armed {
			l.arm()
		}
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
	if n > 0 {
		began = time.Now()
		l.calls, l.orders = append(l.calls, began), l.orders+n
		l.usual += (float64(n) - l.usual) / usualOver
	}
	return batch, began
}

// done notes that a call of so many requests is no longer under way. What waits for its end may go now.
func (l *lane[R]) done(taken int, began time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := slices.Index(l.calls, began); at >= 0 {
		l.calls = slices.Delete(l.calls, at, at+1)
	}
	l.orders -= taken
	l.wake.Signal()
}

// close lets the workers finish what is queued and refuses what comes.
func (l *lane[R]) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.wake.Broadcast()
}

// work sends batches until the lane is shut and empty.
func (l *lane[R]) work() {
	s := newSender(l.engine, l.partition, l.newCall())
	defer s.own.drop()
	if l.fenced {
		s.fence = &fence{ownConn: s.own, partition: l.partition}
	}
	for {
		var now time.Time
		s.batch, now = l.take(s.batch)
		if len(s.batch) == 0 {
			return
		}
		l.engine.metrics.queued(l.waited(s.batch[0], now))
		taken := len(s.batch)
		s.batch = dropLate(s.batch, now)
		l.engine.metrics.tooLate.Add(taken - len(s.batch))
		if len(s.batch) > 0 {
			s.send()
		}
		l.done(taken, now)
	}
}

// dropLate finishes the requests whose deadline has passed while they were queued: they were never sent.
func dropLate[R request](batch []R, now time.Time) []R {
	kept := batch[:0]
	for _, r := range batch {
		if now.Before(r.wait().deadline) {
			kept = append(kept, r)
		} else {
			r.wait().finish(ErrTooLate)
		}
	}
	return kept
}
