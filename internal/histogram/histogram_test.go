package histogram

import (
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// measurements draws values of every size, not just large ones.
func measurements(t *rapid.T, name string) []int64 {
	bitsOf := rapid.IntRange(0, maxBits)
	value := rapid.Custom(func(t *rapid.T) int64 {
		return rapid.Int64Range(0, 1<<bitsOf.Draw(t, "bits")-1).Draw(t, "value")
	})
	return rapid.SliceOfN(value, 1, 300).Draw(t, name)
}

func recorded(values []int64) *Snapshot {
	h := New()
	for _, v := range values {
		h.Record(v)
	}
	var s Snapshot
	h.Read(&s)
	return &s
}

// requireLike compares a snapshot with what a sorted list of the same measurements says.
func requireLike(t require.TestingT, values []int64, s *Snapshot, q float64) {
	sorted := slices.Sorted(slices.Values(values))
	sum := 0.0
	for _, v := range values {
		sum += float64(v)
	}
	require.EqualValues(t, len(values), s.Count())
	require.InEpsilon(t, 1+sum/float64(len(values)), 1+s.Mean(), 1e-9)
	rank := max(1, int(math.Ceil(q*float64(len(values)))))
	want := float64(sorted[rank-1])
	require.LessOrEqual(t, math.Abs(float64(s.Quantile(q))-want), want*RelativeError, "quantile %v of %v", q, sorted)
}

func TestQuantilesAreThoseOfTheSortedMeasurements(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := measurements(t, "values")
		requireLike(t, values, recorded(values), rapid.Float64Range(0, 1).Draw(t, "q"))
	})
}

func TestMergeIsRecordingBoth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first, second := measurements(t, "first"), measurements(t, "second")
		merged := recorded(first)
		merged.Merge(recorded(second))
		requireLike(t, slices.Concat(first, second), merged, rapid.Float64Range(0, 1).Draw(t, "q"))
	})
}

func TestSubtractLeavesWhatCameSince(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, since := measurements(t, "before"), measurements(t, "since")
		left := recorded(slices.Concat(before, since))
		left.Subtract(recorded(before))
		requireLike(t, since, left, rapid.Float64Range(0, 1).Draw(t, "q"))
	})
}

func TestBucketsFollowEachOther(t *testing.T) {
	last := -1
	for shift := range maxBits {
		for _, v := range []uint64{1 << shift, 1<<shift + 1<<shift/2, 1<<(shift+1) - 1} {
			b := bucketOf(v)
			require.GreaterOrEqual(t, b, last, v)
			require.Less(t, b, buckets, v)
			last = b
		}
	}
	require.Equal(t, buckets-1, bucketOf(Max), "no bucket is without use")
	for b := range buckets {
		require.Equal(t, b, bucketOf(uint64(middleOf(b))), "the middle lies within")
	}
}

func TestBoundsOfMeasurements(t *testing.T) {
	empty := recorded(nil)
	require.Zero(t, empty.Count())
	require.Zero(t, empty.Mean())
	require.Zero(t, empty.Quantile(0.99))

	s := recorded([]int64{math.MinInt64, -1, math.MaxInt64})
	require.EqualValues(t, 3, s.Count())
	require.Zero(t, s.Quantile(0.5), "below 0 counts as 0")
	require.InEpsilon(t, float64(Max), float64(s.Quantile(1)), RelativeError, "above Max counts as Max")
	require.InEpsilon(t, float64(Max)/3, s.Mean(), 1e-9)
}

// Many write while one reads: nothing is lost, and no snapshot is ahead of a later one.
func TestConcurrentUse(t *testing.T) {
	const writers, each = 4, 200_000
	h := New()
	h.stripes = h.stripes[:1] // so that they meet
	var writing sync.WaitGroup
	begin := make(chan struct{})
	for range writers {
		writing.Go(func() {
			<-begin
			for i := range int64(each) {
				h.Record(i % 100)
			}
		})
	}
	close(begin)
	var now Snapshot
	for range 10 {
		before := now.Count()
		h.Read(&now)
		require.GreaterOrEqual(t, now.Count(), before)
	}
	writing.Wait()
	h.Read(&now)
	require.EqualValues(t, writers*each, now.Count())
	require.InEpsilon(t, 49.5, now.Mean(), 1e-9)
	require.EqualValues(t, 49, now.Quantile(0.5))
}

func TestRecordAllocatesNothing(t *testing.T) {
	h := New()
	h.Record(1)
	require.Less(t, testing.AllocsPerRun(1000, func() { h.Record(123_456) }), 1.0)
}

func BenchmarkRecord(b *testing.B) {
	h := New()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for v := int64(100_000); pb.Next(); v += 997 {
			h.Record(v)
		}
	})
}
