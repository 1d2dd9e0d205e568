package httpapi

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// What a limiter remembers, all of it in memory taken once: clients are told apart by 64 bits of a seeded hash, and each
// has a place in one small set.
const (
	limiterShardBits = 8
	limiterShards    = 1 << limiterShardBits
	limiterSets      = 512 // of a shard
	limiterWays      = 8   // of a set: two cache lines

	// maxTracked is how many clients a limiter remembers: about a million, in 16 MiB.
	maxTracked = limiterShards * limiterSets * limiterWays
)

// limiter bounds how often each client is let through. It is a token bucket kept as one time a client, that at which the
// bucket will be full again (GCRA): a client that is not remembered is one with a full bucket.
type limiter struct {
	interval int64 // ns in which a client earns one request
	burst    int64 // requests that a full bucket holds
	seed     maphash.Seed
	clock    func() time.Time
	start    time.Time
	shards   []limiterShard
}

type limiterShard struct {
	mu   sync.Mutex
	sets [limiterSets]limiterSet
}

type limiterSet [limiterWays]bucket

// bucket is one client's.
type bucket struct {
	key  uint64
	full int64 // ns after the limiter's start; in the past = full
}

// verdict is what comes of one request.
type verdict struct {
	admitted bool
	left     int64         // requests that would be let through now
	more     time.Duration // until it is one more
}

func newLimiter(limit Limit, clock func() time.Time) *limiter {
	return &limiter{
		interval: int64(limit.interval()), burst: int64(limit.Burst), seed: maphash.MakeSeed(),
		clock: clock, start: clock(), shards: make([]limiterShard, limiterShards),
	}
}

// addressKey tells clients apart by their address, those with IPv6 by their /64.
func (l *limiter) addressKey(client netip.Addr) uint64 {
	bytes := client.As16()
	if client.Is6() {
		return maphash.Bytes(l.seed, bytes[:clientIPv6Bits/8])
	}
	return maphash.Bytes(l.seed, bytes[:])
}

// textKey tells clients apart by a name.
func (l *limiter) textKey(name string) uint64 { return maphash.String(l.seed, name) }

// take counts a request of a client. One that is not admitted costs the client nothing.
func (l *limiter) take(key uint64) verdict {
	now := int64(l.clock().Sub(l.start)) // by the monotonic clock
	shard := &l.shards[key>>(64-limiterShardBits)]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	return l.draw(shard.sets[key%limiterSets].place(key), now)
}

// draw takes one request out of a bucket that has one.
func (l *limiter) draw(b *bucket, now int64) verdict {
	missing := max(b.full-now, 0) // ns until it is full
	admitted := missing+l.interval <= l.burst*l.interval
	if admitted {
		missing += l.interval
		b.full = now + missing
	}
	left := l.burst - (missing+l.interval-1)/l.interval
	return verdict{admitted, left, time.Duration(missing - (l.burst-left-1)*l.interval)}
}

// place returns a client's bucket. A new client takes the place of the one whose bucket is soonest full, which loses the
// least by being forgotten: a crowd of new clients can't wash out one that is far over its limit.
func (s *limiterSet) place(key uint64) *bucket {
	soonest := &s[0]
	for i := range s {
		if s[i].key == key {
			return &s[i]
		}
		if s[i].full < soonest.full {
			soonest = &s[i]
		}
	}
	*soonest = bucket{key: key}
	return soonest
}
