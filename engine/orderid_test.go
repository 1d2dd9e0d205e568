package engine

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestOrderIDCarriesItsPartitionAndTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partition := rapid.IntRange(0, MaxPartitions-1).Draw(t, "partition")
		ms := rapid.Int64Range(0, 1<<48-1).Draw(t, "unix ms")
		id := NewOrderID(partition, time.UnixMilli(ms))
		require.Equal(t, partition, id.Partition(), "partition of %s", id)
		require.Equal(t, byte(7), id[6]>>4, "version of %s", id)
		require.Equal(t, byte(2), id[8]>>6, "variant of %s", id)
		var back int64
		for _, b := range id[:6] {
			back = back<<8 | int64(b)
		}
		require.Equal(t, ms, back, "time of %s", id)
		parsed, ok := ParseOrderID(id.String())
		require.True(t, ok, "%s is not read back", id)
		require.Equal(t, id, parsed)
	})
}

func TestOrderIDsAreSortedByTime(t *testing.T) {
	start := time.UnixMilli(1_700_000_000_000)
	var ids []OrderID
	var texts []string
	for ms := range 2000 {
		id := NewOrderID(ms*7%MaxPartitions, start.Add(time.Duration(ms)*time.Millisecond))
		ids, texts = append(ids, id), append(texts, id.String())
	}
	require.True(t, slices.IsSortedFunc(ids, func(a, b OrderID) int { return bytes.Compare(a[:], b[:]) }),
		"ids of rising milliseconds must rise")
	require.True(t, slices.IsSorted(texts), "and so must their texts")
}

// Ids of one instant and one partition differ by their random bits alone. Two that share 8 random bytes would mean that
// goroutines were handed the same entropy.
func TestOrderIDsShareNoRandomBytes(t *testing.T) {
	const minters, each = 8, 25_000
	now := time.Now()
	minted := make([][]OrderID, minters)
	var group sync.WaitGroup
	for m := range minters {
		group.Go(func() {
			ids := make([]OrderID, each)
			for i := range ids {
				ids[i] = NewOrderID(3, now)
			}
			minted[m] = ids
		})
	}
	group.Wait()
	seen := make(map[[8]byte]bool, minters*each)
	for _, id := range slices.Concat(minted...) {
		random := [8]byte(id[8:])
		require.False(t, seen[random], "the random bytes of %s were used twice", id)
		seen[random] = true
	}
	require.Len(t, seen, minters*each)
}

func TestRandomBitsAreSpread(t *testing.T) {
	const ids = 4000
	var ones [64]int
	for range ids {
		id := NewOrderID(0, time.Now())
		for bit := range 64 {
			ones[bit] += int(id[8+bit/8] >> (7 - bit%8) & 1)
		}
	}
	require.Equal(t, ids, ones[0], "the variant's first bit is 1")
	require.Zero(t, ones[1], "the variant's second bit is 0")
	for bit, n := range ones[2:] { // 4000 throws of a coin stay within 8 standard deviations
		require.InDelta(t, ids/2, n, 253, "bit %d of the random part is set in %d of %d ids", bit+2, n, ids)
	}
}

func TestParseOrderIDRefuses(t *testing.T) {
	good := NewOrderID(5, time.Now()).String()
	replace := func(at int, with byte) string { return good[:at] + string(with) + good[at+1:] }
	for name, text := range map[string]string{
		"empty":           "",
		"short":           good[:35],
		"long":            good + "0",
		"trailing space":  good[:35] + " ",
		"no dashes":       strings.ReplaceAll(good, "-", "") + "0000",
		"dash moved":      good[:8] + "0-" + good[10:],
		"no 2nd dash":     replace(13, '0'),
		"no 3rd dash":     replace(18, '0'),
		"no 4th dash":     replace(23, '0'),
		"not hex":         replace(0, 'g'),
		"version 4":       replace(14, '4'),
		"version 8":       replace(14, '8'),
		"Microsoft's":     replace(19, 'c'),
		"NCS variant":     replace(19, '7'),
		"braces":          "{" + good[:34] + "}",
		"NUL":             replace(35, 0),
		"fullwidth digit": good[:33] + "\uff10",
	} {
		t.Run(name, func(t *testing.T) {
			id, ok := ParseOrderID(text)
			require.False(t, ok, "%q must be refused", text)
			require.Zero(t, id)
		})
	}
}

// RFC 9562 has digits of either case read and lower case written: the same order whoever shouts its id.
func TestParseOrderIDReadsEitherCase(t *testing.T) {
	id := NewOrderID(0xabc, time.Now())
	upper, ok := ParseOrderID(strings.ToUpper(id.String()))
	require.True(t, ok, "upper case must be read")
	require.Equal(t, id, upper)
	require.Equal(t, strings.ToLower(id.String()), id.String(), "lower case must be written")
}

func FuzzParseOrderID(f *testing.F) {
	f.Add(NewOrderID(1, time.Now()).String())
	f.Add(strings.ToUpper(NewOrderID(4095, time.Now()).String()))
	f.Add("00000000-0000-7000-8000-000000000000")
	f.Add("ffffffff-ffff-ffff-ffff-ffffffffffff")
	f.Fuzz(func(t *testing.T, text string) {
		id, ok := ParseOrderID(text)
		if !ok {
			require.Zero(t, id, "what %q is refused with", text)
			return
		}
		require.Equal(t, strings.ToLower(text), id.String(), "an id must be written as it was read, in lower case")
		require.Less(t, id.Partition(), MaxPartitions)
	})
}

func BenchmarkNewOrderID(b *testing.B) {
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		NewOrderID(1, now)
	}
}
