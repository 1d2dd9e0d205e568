package engine

import (
	"sync"
	"sync/atomic"
	"time"
)

// shelf is what a process remembers of one product: its name, made once, and what Redis last said is left of it.
type shelf struct {
	product   string
	partition *partition
	gate      atomic.Pointer[gateSign]
	kept      atomic.Bool // among the shelves
}

// gateSign says that at most left units can be had until an instant of the monotonic clock.
type gateSign struct {
	left    int64
	untilNs int64
}

// refuses tells whether Redis said within the last gateTTL that fewer than quantity units are left. It can only refuse.
func (s *shelf) refuses(quantity int64, now time.Time) bool {
	sign := s.gate.Load()
	return sign != nil && quantity > sign.left && now.Sub(processStart).Nanoseconds() < sign.untilNs
}

// hang takes in what Redis said is left, in an answer asked for at.
func (s *shelf) hang(left int64, asked time.Time, ttl time.Duration) {
	if left >= gateHeight {
		if s.gate.Load() != nil {
			s.gate.Store(nil)
		}
		return
	}
	s.gate.Store(&gateSign{left: left, untilNs: asked.Add(ttl).Sub(processStart).Nanoseconds()})
}

// gateHeight is from how many units left no sign is hung: few orders ask for as many.
const gateHeight = 100

// shelves are the products that Redis has told this process of, so they are as many as there are products. Sharded so
// that readers on many cores do not meet on one lock.
type shelves struct {
	shards [shelfShards]struct {
		mu sync.RWMutex
		m  map[string]*shelf
	}
}

const shelfShards = 64

// find returns the product's shelf, or one that is not kept yet: keep is called once Redis has said that it exists.
func (s *shelves) find(product string, sum uint16, p *partition) *shelf {
	shard := &s.shards[sum%shelfShards]
	shard.mu.RLock()
	found := shard.m[product]
	shard.mu.RUnlock()
	if found != nil {
		return found
	}
	return &shelf{product: product, partition: p}
}

// keep remembers a shelf whose product exists.
func (s *shelves) keep(sh *shelf) {
	if sh.kept.Swap(true) {
		return
	}
	shard := &s.shards[crc16(sh.product)%shelfShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if shard.m == nil {
		shard.m = make(map[string]*shelf)
	}
	if shard.m[sh.product] == nil {
		shard.m[sh.product] = sh
	}
}

// forget takes a product's sign down: its stock was changed.
func (s *shelves) forget(product string) {
	shard := &s.shards[crc16(product)%shelfShards]
	shard.mu.RLock()
	defer shard.mu.RUnlock()
	if sh := shard.m[product]; sh != nil {
		sh.gate.Store(nil)
	}
}
