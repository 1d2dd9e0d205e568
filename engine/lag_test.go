package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"flashsale/internal/devstack/devtest"
)

func TestLagIsTheAgeOfTheOldestWaitingOrder(t *testing.T) {
	start := time.Now()
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	var l lagMarks
	require.Zero(t, l.since(0, 0, at(0)), "nothing is known")

	l.note(1, 10, 0, at(0))
	l.note(1, 20, 0, at(1))
	l.note(1, 15, 0, at(1.5)) // an answer that was overtaken
	l.note(1, 30, 0, at(2))
	for _, c := range []struct {
		drained int64
		want    time.Duration
	}{
		{0, 5 * time.Second},
		{9, 5 * time.Second},
		{10, 4 * time.Second},
		{29, 3 * time.Second},
		{30, 0},
	} {
		require.Equal(t, c.want, l.since(1, c.drained, at(5)), "with %d drained", c.drained)
	}
	l.note(1, 30, 30, at(6))
	require.Zero(t, l.since(1, 30, at(7)), "an answer without a new order is no mark")
	l.note(1, 31, 30, at(8))
	require.Equal(t, time.Second, l.since(1, 30, at(9)))
}

// A rebuilt partition may count on from fewer orders than Redis had logged.
func TestLagBeginsAnewWithAnEpoch(t *testing.T) {
	start := time.Now()
	var l lagMarks
	l.note(1, 1000, 900, start)
	require.Zero(t, l.since(2, 900, start.Add(time.Minute)), "of the new epoch nothing is known yet")
	l.note(2, 950, 900, start.Add(time.Minute))
	l.note(1, 1001, 900, start.Add(time.Minute)) // a late answer from the old one
	require.Equal(t, time.Second, l.since(2, 900, start.Add(61*time.Second)))
	require.Zero(t, l.since(2, 950, start.Add(61*time.Second)))
}

// However the batches come and whatever is drained, the lag is never below the age of the oldest order, nor more than
// one spacing above it, in bounded memory.
func TestLagIsWithinOneSpacing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l lagMarks
		now, orders, drained := time.Now(), int64(0), int64(0)
		var logged []time.Time // of each order
		for range rapid.IntRange(1, 3*maxLagMarks).Draw(t, "batches") {
			now = now.Add(time.Duration(rapid.Int64Range(0, 1<<rapid.IntRange(0, 36).Draw(t, "bits")).Draw(t, "pause")))
			for range rapid.IntRange(1, 3).Draw(t, "orders") {
				logged, orders = append(logged, now), orders+1
			}
			drained += rapid.Int64Range(0, min(2, orders-drained-1)).Draw(t, "drained")
			l.note(1, orders, drained, now)
			want, got := now.Sub(logged[drained]), l.since(1, drained, now)
			require.GreaterOrEqual(t, got, want)
			require.LessOrEqual(t, got, want+l.spacing)
			require.LessOrEqual(t, len(l.marks), maxLagMarks)
		}
		require.Zero(t, l.since(1, orders, now))
		require.Equal(t, lagResolution, l.spacing, "what was long ago does not blur what comes")
	})
}

func TestLagWithManyMarksIsFine(t *testing.T) {
	start := time.Now()
	var l lagMarks
	var span time.Duration
	for i := range int64(100_000) { // ten batches a second for nearly three hours
		span = time.Duration(i) * 100 * time.Millisecond
		l.note(1, i+1, 0, start.Add(span))
		if len(l.marks) > maxLagMarks || l.spacing > max(lagResolution, span/64) {
			require.FailNow(t, "too much or too coarse", "after %s: %d marks, %s apart", span, len(l.marks), l.spacing)
		}
	}
	require.Equal(t, span, l.since(1, 0, start.Add(span)))
}

// What Redis answered to an order, or to another process that only looks, is what the lag is told by.
func TestLagOfARealPartition(t *testing.T) {
	client := connectTo(t, devtest.SharedRedis(t))
	n := startNode(t, client, Config{Prefix: "lag"})
	n.product(t, "a", 10, onSale)
	require.Zero(t, n.State(0).Lag, "no order waits")
	before := time.Now()
	_, err := n.buy("a", "ann", 1)
	require.NoError(t, err)
	require.EqualValues(t, 1, n.State(0).Backlog)
	lag := n.State(0).Lag
	require.Positive(t, lag)
	require.LessOrEqual(t, lag, time.Since(before))

	config := n.config
	config.Metrics = nil // a set takes one engine
	other, err := New(client, config)
	require.NoError(t, err)
	require.NoError(t, other.Install(0, n.State(0).Epoch))
	require.Zero(t, other.State(0).Lag, "it has not looked yet")
	_, err = other.Check(t.Context(), 0)
	require.NoError(t, err)
	require.Positive(t, other.State(0).Lag)

	require.Greater(t, n.State(0).Lag, lag, "the order grows older")
	n.Advance(0, Watermark{Epoch: 1, Sequence: 2, Orders: 1})
	require.Zero(t, n.State(0).Lag)
}

func BenchmarkLagMark(b *testing.B) {
	var l lagMarks
	now := time.Now()
	b.ReportAllocs()
	for orders := int64(0); b.Loop(); orders++ {
		now = now.Add(time.Millisecond)
		l.note(1, orders, orders-50_000, now)
	}
}

// A server that lost the end of its log is adopted in the same epoch: nobody waits for those orders any more, or mode ledger
// would be refused for good.
func TestLagEndsWithTheServerThatLoggedIt(t *testing.T) {
	n := startNode(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "replaced"})
	p, v := n.partitions[0], n.partitions[0].view.Load()
	p.logged(v, 5, 50, time.Now().Add(-time.Minute))
	require.Greater(t, n.State(0).Lag, time.Second)
	adopted := v.Epoch
	adopted.Replid = strings.Repeat("b", 40)
	require.NoError(t, n.Install(0, adopted))
	require.Zero(t, n.State(0).Lag)
	p.logged(v, 6, 60, time.Now())
	require.Zero(t, n.State(0).Lag, "an answer of the server before says nothing any more")
}

// Two workers may read their answers in another order than Redis gave them. What the later call logged is not forgotten.
func TestAnAnswerThatWasOvertakenTakesNothingBack(t *testing.T) {
	n := startNode(t, connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "overtaken"})
	p := n.partitions[0]
	v := p.view.Load()
	p.logged(v, 2, 200, time.Now())
	p.logged(v, 1, 100, time.Now())
	require.Equal(t, int64(200), n.State(0).Backlog)
	require.Equal(t, int64(2), n.State(0).Entries)
}

// The epoch may change between the look at what is in force and what is made of an answer.
func TestAnAnswerOfAnEpochThatIsOverTakesNothingBack(t *testing.T) {
	p := newPartition(0)
	now := logEnd{epoch: 2, replid: "r", sequence: 3, orders: 7}
	p.end.Store(&now)
	before := &view{Epoch: Epoch{Number: 1, Replid: "r"}}
	p.view.Store(before)
	p.logged(before, 9, 50, time.Now())
	require.Equal(t, now, p.logEnd())
}
