package histogram

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// maxBounds is how many buckets with an upper bound a [Buckets] may have.
const maxBounds = 21

// Buckets counts durations by upper bounds, as Prometheus has its histograms, from many goroutines at once, without a lock
// and without allocating. It needs a hundredth of the memory of a [Histogram] and tells only what its bounds tell apart.
type Buckets struct {
	bounds  []time.Duration
	stripes []bucketStripe
	next    atomic.Uint32
	mine    sync.Pool // of *bucketStripe: hands each core the stripe that it used last
}

// bucketStripe is the part that one core writes to, mostly: whole cache lines.
type bucketStripe struct {
	counts [maxBounds + 1]atomic.Uint64 // the last is of what is above all bounds
	sum    atomic.Int64                 // ns
	_      [72]byte
}

// NewBuckets returns empty buckets with these upper bounds, inclusive and in ascending order, at most 21.
func NewBuckets(bounds ...time.Duration) *Buckets {
	if len(bounds) > maxBounds || !slices.IsSorted(bounds) {
		panic("histogram: too many bounds, or not in order")
	}
	b := &Buckets{bounds: bounds, stripes: make([]bucketStripe, min(runtime.GOMAXPROCS(0), maxStripes))}
	b.mine.New = func() any { return &b.stripes[b.next.Add(1)%uint32(len(b.stripes))] }
	return b
}

// Record counts one duration; one below 0 counts as 0.
func (b *Buckets) Record(took time.Duration) {
	took = max(0, took)
	bucket := 0
	for bucket < len(b.bounds) && took > b.bounds[bucket] {
		bucket++
	}
	s := b.mine.Get().(*bucketStripe) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	s.counts[bucket].Add(1)
	s.sum.Add(int64(took))
	b.mine.Put(s)
}

// Read returns, for each bound, how many durations did not exceed it, then how many there are, and their sum. What is
// recorded meanwhile may be in them or not.
func (b *Buckets) Read() (atMost []uint64, sum time.Duration) {
	atMost = make([]uint64, len(b.bounds)+1)
	for i := range b.stripes {
		s := &b.stripes[i]
		for k := range atMost {
			atMost[k] += s.counts[k].Load()
		}
		sum += time.Duration(s.sum.Load())
	}
	for k := 1; k < len(atMost); k++ {
		atMost[k] += atMost[k-1]
	}
	return atMost, sum
}

// Bounds returns the upper bounds.
func (b *Buckets) Bounds() []time.Duration { return b.bounds }
