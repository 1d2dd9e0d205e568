package histogram

import (
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestBucketsCountWhatDoesNotExceedTheirBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		duration := rapid.Map(rapid.Int64Range(-5, 100), func(n int64) time.Duration { return time.Duration(n) })
		bounds := rapid.SliceOfNDistinct(duration, 1, maxBounds, rapid.ID).Draw(t, "bounds")
		slices.Sort(bounds)
		took := rapid.SliceOf(duration).Draw(t, "took")
		b := NewBuckets(bounds...)
		sum := time.Duration(0)
		for _, d := range took {
			b.Record(d)
			sum += max(0, d)
		}
		atMost, total := b.Read()
		require.Equal(t, sum, total)
		require.EqualValues(t, len(took), atMost[len(bounds)])
		for i, bound := range bounds {
			n := 0
			for _, d := range took {
				if max(0, d) <= bound {
					n++
				}
			}
			require.EqualValues(t, n, atMost[i], "bound %d", bound)
		}
	})
}

func TestBucketsUsedByMany(t *testing.T) {
	const writers, each = 4, 20_000
	b := NewBuckets(time.Millisecond, time.Second)
	b.stripes = b.stripes[:1] // so that they meet
	var writing sync.WaitGroup
	for range writers {
		writing.Go(func() {
			for range each {
				b.Record(2 * time.Millisecond)
			}
		})
	}
	writing.Wait()
	atMost, sum := b.Read()
	require.Equal(t, []uint64{0, writers * each, writers * each}, atMost)
	require.Equal(t, writers*each*2*time.Millisecond, sum)
}

func TestBucketsOutOfOrderAreRefused(t *testing.T) {
	require.Panics(t, func() { NewBuckets(2, 1) })
	require.Panics(t, func() { NewBuckets(make([]time.Duration, maxBounds+1)...) })
	require.Zero(t, unsafe.Sizeof(bucketStripe{})%64, "stripes share no cache line")
}

func BenchmarkBucketsRecord(b *testing.B) {
	buckets := NewBuckets(time.Millisecond, 2*time.Millisecond, 5*time.Millisecond, 10*time.Millisecond)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			buckets.Record(3 * time.Millisecond)
		}
	})
}
