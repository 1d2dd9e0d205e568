package engine

import (
	"sync"
	"time"
)

// clockWindow is how long the best estimate of a server's clock is kept before a newer one replaces it even if it is
// worse, so that a clock that was set back is followed.
const clockWindow = 10 * time.Second

// redisClock estimates a server's time between its answers. An answer says what time it was there before it was sent,
// so the estimate is never ahead; the answer that travelled fastest gives the best one.
type redisClock struct {
	mu     sync.Mutex
	offset time.Duration // to add to this process's monotonic clock; finer than ms, for rounding may not put it ahead
	taken  time.Time
}

// processStart anchors the monotonic clock.
var processStart = time.Now()

func monotonic(t time.Time) time.Duration { return t.Sub(processStart) }

// observe takes the time nowMs that a server gave in an answer received at.
func (c *redisClock) observe(nowMs int64, at time.Time) {
	offset := time.Duration(nowMs)*time.Millisecond - monotonic(at)
	c.mu.Lock()
	if offset >= c.offset || at.Sub(c.taken) > clockWindow {
		c.offset, c.taken = offset, at
	}
	c.mu.Unlock()
}

// reset forgets a server: the next answer comes from another one.
func (c *redisClock) reset() {
	c.mu.Lock()
	c.taken = time.Time{}
	c.mu.Unlock()
}

// at returns the server's time at an instant of this process, in ms.
func (c *redisClock) at(t time.Time) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return (c.offset + monotonic(t)).Milliseconds()
}

// known tells whether any server has told its time yet.
func (c *redisClock) known() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset != 0
}

// TimeOf returns the time by which a product's window of sale is decided, which is that of its Redis; until that has
// answered, this process's.
func (e *Engine) TimeOf(product string) time.Time {
	clock := &e.partitions[e.PartitionOf(product)].clock
	if !clock.known() {
		return time.Now()
	}
	return time.UnixMilli(clock.now())
}
