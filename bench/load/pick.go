package load

import (
	"fmt"
	"math"
	"math/bits"
	"sort"
)

// mix returns a well-spread number for each pair; the same pair gives the same number (Vigna's splitmix64).
func mix(seed, n uint64) uint64 {
	z := seed + (n+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Shuffle puts the numbers below its length into an order that the seed decides, without keeping them anywhere.
type Shuffle struct {
	seed   uint64
	length uint64
	half   int // bits of each half of the Feistel network
}

// shuffleRounds are enough to look random; nobody is to be kept from guessing.
const shuffleRounds = 4

// NewShuffle shuffles the numbers from 0 to length−1, at least one.
func NewShuffle(length int64, seed uint64) Shuffle {
	width := bits.Len64(uint64(max(length, 1) - 1))
	return Shuffle{seed: seed, length: uint64(max(length, 1)), half: max(1, (width+1)/2)}
}

// At returns what stands at a place; it begins anew behind the end.
func (s *Shuffle) At(place int64) int64 {
	n := uint64(place) % s.length
	for {
		n = s.network(n)
		if n < s.length {
			return int64(n)
		}
	}
}

func (s *Shuffle) network(n uint64) uint64 {
	mask := uint64(1)<<s.half - 1
	left, right := n>>s.half, n&mask
	for round := range uint64(shuffleRounds) {
		left, right = right, left^mix(s.seed+round, right)&mask
	}
	return left<<s.half | right
}

// maxPicks bounds the choices of a [Picker]; each takes 8 bytes.
const maxPicks = 1_000_000

// maxExponent is far beyond any shop's: nearly all want the first.
const maxExponent = 10

// Picker chooses one of several for every number, by chance that the seed decides.
type Picker struct {
	seed       uint64
	cumulative []float64 // shares up to and with each; nil = all alike
	length     int
}

// NewPicker chooses among length, which are 1 to a million. The k-th, from 1, comes up in proportion to 1/k^exponent
// (Zipf): 0 = all alike, about 1 = as articles of a shop are wanted.
func NewPicker(length int, exponent float64, seed uint64) (Picker, error) {
	p := Picker{seed: seed, length: length}
	if length < 1 || length > maxPicks {
		return p, fmt.Errorf("%w: choose among 1 to %d", ErrOptions, maxPicks)
	}
	if exponent < 0 || exponent > maxExponent || math.IsNaN(exponent) {
		return p, fmt.Errorf("%w: --zipf %g: from 0 to %d", ErrOptions, exponent, maxExponent)
	}
	if exponent == 0 {
		return p, nil
	}
	sum := 0.0
	p.cumulative = make([]float64, length)
	for k := range length {
		sum += math.Pow(float64(k+1), -exponent)
		p.cumulative[k] = sum
	}
	for k := range p.cumulative {
		p.cumulative[k] /= sum
	}
	return p, nil
}

// At returns the choice for a number.
func (p *Picker) At(n int64) int {
	random := mix(p.seed, uint64(n))
	if p.cumulative == nil {
		high, _ := bits.Mul64(random, uint64(p.length))
		return int(high)
	}
	share := float64(random>>11) / (1 << 53)
	return min(sort.SearchFloat64s(p.cumulative, share), p.length-1)
}
