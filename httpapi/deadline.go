package httpapi

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// deadline is that of one direction of a connection. fasthttp asks for three with every request, and each would set a timer
// of the runtime; here it is set when somebody is about to wait, and only if it is noticeably later than the one in force.
// So a deadline may come early, by less than slack.
type deadline struct {
	apply func(time.Time) error
	slack time.Duration

	wanted  atomic.Int64 // since deadlinesBegan, in ns
	waiting atomic.Int32 // reads, or writes, under way

	mu      sync.Mutex
	inForce int64
}

// deadlinesBegan is what deadlines are kept relative to, so that they go by the monotonic clock.
var deadlinesBegan = time.Now()

const noDeadline = math.MaxInt64

func newDeadline(apply func(time.Time) error, slack time.Duration) *deadline {
	d := &deadline{apply: apply, slack: slack, inForce: noDeadline}
	d.wanted.Store(noDeadline)
	return d
}

// set asks for a deadline, as net.Conn does: the zero time is none. Whoever waits already is held to it.
func (d *deadline) set(t time.Time) error {
	at := int64(noDeadline)
	if !t.IsZero() {
		at = int64(t.Sub(deadlinesBegan))
	}
	d.wanted.Store(at)
	if d.waiting.Load() > 0 {
		return d.enforce()
	}
	return nil
}

// begin is called before a read or a write, end after it. Of a set at the same time either this or set sees the other.
func (d *deadline) begin() error {
	d.waiting.Add(1)
	return d.enforce()
}

func (d *deadline) end() { d.waiting.Add(-1) }

func (d *deadline) enforce() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := d.wanted.Load()
	if at == d.inForce || d.near(at) {
		return nil
	}
	d.inForce = at
	if at == noDeadline {
		return d.apply(time.Time{})
	}
	return d.apply(deadlinesBegan.Add(time.Duration(at)))
}

// near tells whether the deadline in force is as good: one that is about to end, or has, is not.
func (d *deadline) near(at int64) bool {
	return at != noDeadline && d.inForce != noDeadline && at > d.inForce && at-d.inForce < int64(d.slack) &&
		d.inForce-int64(time.Since(deadlinesBegan)) >= int64(d.slack)
}
