package load

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestShuffleHasEachOnce(t *testing.T) {
	for _, length := range []int64{1, 2, 3, 10, 1000, 4097} {
		s := NewShuffle(length, 3)
		seen := map[int64]bool{}
		for place := range length {
			n := s.At(place)
			require.True(t, n >= 0 && n < length, n)
			seen[n] = true
		}
		assert.Len(t, seen, int(length))
		assert.Equal(t, s.At(0), s.At(length), "it begins anew")
	}
}

func TestShuffleFollowsItsSeed(t *testing.T) {
	a, again, b := NewShuffle(1000, 1), NewShuffle(1000, 1), NewShuffle(1000, 2)
	same, inPlace := 0, 0
	for place := range int64(1000) {
		assert.Equal(t, a.At(place), again.At(place))
		if a.At(place) == b.At(place) {
			same++
		}
		if a.At(place) == place {
			inPlace++
		}
	}
	assert.Less(t, same, 20)
	assert.Less(t, inPlace, 20)
}

func TestPicksAlike(t *testing.T) {
	p, err := NewPicker(10, 0, 1)
	require.NoError(t, err)
	for k, n := range picks(&p, 100_000) {
		assert.InDelta(t, 10_000, n, 500, "choice %d", k)
	}
}

func TestPicksByZipf(t *testing.T) {
	p, err := NewPicker(100, 1, 1)
	require.NoError(t, err)
	got := picks(&p, 100_000)
	const harmonic = 5.187377 // sum of 1/k to 100
	for _, k := range []int{1, 2, 10, 100} {
		assert.InEpsilon(t, 100_000/harmonic/float64(k), got[k-1], 0.15, "choice %d", k)
	}
}

func picks(p *Picker, n int64) []int {
	times := make([]int, p.length)
	for i := range n {
		times[p.At(i)]++
	}
	return times
}

func TestPicksThatCannotBe(t *testing.T) {
	for _, length := range []int{0, maxPicks + 1} {
		_, err := NewPicker(length, 1, 0)
		require.ErrorIs(t, err, ErrOptions)
	}
	_, err := NewPicker(1, -1, 0)
	require.ErrorIs(t, err, ErrOptions)
}
