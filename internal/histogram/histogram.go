// Package histogram counts many measurements in little memory and tells their percentiles with a bounded error.
//
// Buckets are log-linear, as those of HDR histograms: every power of two is cut into 64 equal parts, so a bucket is at most
// 1/64 of its values wide and its middle is at most 1/128 (0.8 %) from any of them, whether that is a microsecond or a
// minute. Half as many parts would break the promise of 1 %; twice as many would double the memory for nothing that a
// person reading milliseconds can see.
package histogram

import (
	"math"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
)

const (
	partBits = 6
	parts    = 1 << partBits // of each power of two
	maxBits  = 40            // of the largest value that is told apart: in nanoseconds, 18 minutes
	buckets  = (maxBits - partBits + 1) * parts

	// Max is the largest value; what is larger is counted as Max.
	Max = 1<<maxBits - 1

	// RelativeError bounds how far a percentile may be from the measurement that it stands for.
	RelativeError = 1.0 / (2 * parts)

	// maxStripes bounds the memory on machines with very many cores: 18 KB a stripe.
	maxStripes = 64
)

// bucketOf returns the bucket of a value from 0 to Max. Values below 2*parts have one each.
func bucketOf(value uint64) int {
	shift := max(0, bits.Len64(value)-partBits-1)
	return shift<<partBits + int(value>>shift)
}

// middleOf returns the value that stands for a bucket.
func middleOf(bucket int) int64 {
	shift := max(0, bucket>>partBits-1)
	lowest := int64(bucket-shift<<partBits) << shift
	return lowest + (int64(1)<<shift-1)/2
}

// stripe is the part of a histogram that one core writes to, mostly.
type stripe struct {
	counts [buckets]atomic.Uint64
	sum    atomic.Uint64
	_      [56]byte // the next stripe's counts are on other cache lines
}

// Histogram counts measurements from many goroutines at once, without a lock and without allocating. It only ever grows:
// what happened in a window is the difference of two snapshots.
type Histogram struct {
	stripes []stripe
	next    atomic.Uint32
	mine    sync.Pool // of *stripe: hands each core the stripe that it used last
}

// New returns an empty histogram with a stripe for each core.
func New() *Histogram {
	h := &Histogram{stripes: make([]stripe, min(runtime.GOMAXPROCS(0), maxStripes))}
	h.mine.New = func() any { return &h.stripes[h.next.Add(1)%uint32(len(h.stripes))] }
	return h
}

// Record counts one measurement. What is below 0 counts as 0, what is above Max as Max.
func (h *Histogram) Record(value int64) {
	v := uint64(min(max(value, 0), Max))
	s := h.mine.Get().(*stripe) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	s.counts[bucketOf(v)].Add(1)
	s.sum.Add(v)
	h.mine.Put(s)
}

// Read replaces a snapshot by what has been recorded so far. A measurement recorded meanwhile may be in it or not.
func (h *Histogram) Read(into *Snapshot) {
	*into = Snapshot{}
	for i := range h.stripes {
		s := &h.stripes[i]
		into.sum += s.sum.Load()
		for b := range &s.counts {
			into.counts[b] += s.counts[b].Load()
		}
	}
}

// Snapshot is what a histogram held at one time, or between two.
type Snapshot struct {
	counts [buckets]uint64
	sum    uint64
}

// Merge adds the measurements of another snapshot.
func (s *Snapshot) Merge(other *Snapshot) {
	s.sum += other.sum
	for b, n := range &other.counts {
		s.counts[b] += n
	}
}

// Subtract leaves what was recorded since an earlier snapshot of the same histogram.
func (s *Snapshot) Subtract(earlier *Snapshot) {
	s.sum -= earlier.sum
	for b, n := range &earlier.counts {
		s.counts[b] -= n
	}
}

// Count returns how many measurements there are.
func (s *Snapshot) Count() (n uint64) {
	for _, c := range &s.counts {
		n += c
	}
	return n
}

// Mean returns the average, which the buckets do not blur; 0 where there is no measurement.
func (s *Snapshot) Mean() float64 {
	n := s.Count()
	if n == 0 {
		return 0
	}
	return float64(s.sum) / float64(n)
}

// Quantile returns the smallest measurement that at least the share q (0 to 1) of all do not exceed, within
// RelativeError; 0 where there is no measurement.
func (s *Snapshot) Quantile(q float64) int64 {
	n := s.Count()
	if n == 0 {
		return 0
	}
	rank := max(1, uint64(math.Ceil(q*float64(n))))
	var seen uint64
	for b, c := range &s.counts {
		if seen += c; seen >= rank {
			return middleOf(b)
		}
	}
	return Max // q is above 1
}
