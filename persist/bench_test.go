package persist

import (
	"testing"

	"flashsale/engine"
)

// BenchmarkFoldAndJudge is what the drainer does with a batch between reading and writing it.
func BenchmarkFoldAndJudge(b *testing.B) {
	var entries []engine.Entry
	for i := range 40 {
		entries = append(entries, entryOf(uint64(i+1), 50))
	}
	products := map[string]ledgerProduct{"lamp": {initial: 1 << 40}}
	b.ReportAllocs()
	for b.Loop() {
		judge(fold(entries), products, nil)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*40*50), "ns/order")
}
