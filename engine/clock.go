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
	offset int64 // ms to add to this process's monotonic clock
	taken  time.Time
}

// processStart anchors the monotonic clock.
var processStart = time.Now()

func monotonicMs(t time.Time) int64 { return t.Sub(processStart).Milliseconds() }

// observe takes the time nowMs that a server gave in an answer received at.
func (c *redisClock) observe(nowMs int64, at time.Time) {
	offset := nowMs - monotonicMs(at)
	c.mu.Lock()
	if offset >= c.offset || at.Sub(c.taken) > clockWindow {
		c.offset, c.taken = offset, at
	}
	c.mu.Unlock()
}

// at returns the server's time at an instant of this process, in ms.
func (c *redisClock) at(t time.Time) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset + monotonicMs(t)
}
