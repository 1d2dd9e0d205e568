package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"flashsale/internal/devstack/devtest"
)

// serverClock is a server whose clock is ahead of this process's monotonic one.
type serverClock struct{ ahead time.Duration }

func (s serverClock) nowMs(at time.Time) int64 {
	return (at.Sub(processStart) + s.ahead).Milliseconds()
}

// Promise 17. Whatever the answers took to travel, the estimate is never ahead of the server, and behind it by no more
// than the fastest of the last answers took, and what both clocks round off.
func TestClockIsNeverAhead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		server := serverClock{ahead: time.Duration(rapid.Int64Range(-1e12, 1e18).Draw(t, "ahead ns"))}
		var clock redisClock
		now := processStart.Add(time.Hour)
		fastest := time.Duration(1 << 62)
		for range rapid.IntRange(1, 30).Draw(t, "answers") {
			asked := now.Add(time.Duration(rapid.Int64Range(0, 100_000_000).Draw(t, "pause ns")))
			travel := time.Duration(rapid.Int64Range(0, 20_000_000).Draw(t, "travel ns"))
			fastest = min(fastest, travel)
			now = asked.Add(travel)
			clock.observe(server.nowMs(asked), now)
			later := now.Add(time.Duration(rapid.Int64Range(0, 3_000_000_000).Draw(t, "later ns")))
			estimate, truth := clock.at(later), server.nowMs(later)
			require.LessOrEqual(t, estimate, truth, "the estimate must not be ahead of the server")
			require.GreaterOrEqual(t, estimate, truth-fastest.Milliseconds()-2, "nor further behind than the fastest answer")
		}
	})
}

func TestClockSetBackIsFollowed(t *testing.T) {
	var clock redisClock
	start := processStart.Add(time.Minute)
	clock.observe(1_000_000, start)
	back := start.Add(time.Second)
	clock.observe(400_000, back)
	require.Equal(t, int64(1_001_000), clock.at(back), "within the window the best estimate stands")
	later := start.Add(clockWindow + time.Millisecond)
	clock.observe(410_000, later)
	require.Equal(t, int64(410_000), clock.at(later), "past the window the newest answer counts")
	require.Equal(t, int64(411_500), clock.at(later.Add(1500*time.Millisecond)))
}

func TestClockSetForwardIsFollowedAtOnce(t *testing.T) {
	var clock redisClock
	start := processStart.Add(time.Minute)
	clock.observe(1_000_000, start)
	clock.observe(9_000_000, start.Add(time.Second))
	require.Equal(t, int64(9_000_500), clock.at(start.Add(1500*time.Millisecond)))
}

func TestClockOfAnotherServer(t *testing.T) {
	var clock redisClock
	start := processStart.Add(time.Minute)
	clock.observe(1_000_000, start)
	clock.reset()
	clock.observe(500_000, start.Add(time.Second))
	require.Equal(t, int64(500_000), clock.at(start.Add(time.Second)), "the old server's clock must be forgotten")
}

// A process whose clock is wrong tells buyers the time by which they are served.
func TestTheTimeOfAProductIsThatOfItsRedis(t *testing.T) {
	e, err := New(connectTo(t, devtest.SharedRedis(t)), Config{Prefix: "time-of"})
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), e.TimeOf("a"), time.Minute, "its own where nobody has told it")
	there := time.Now().Add(-10 * time.Minute)
	e.partitions[e.PartitionOf("a")].clock.observe(there.UnixMilli(), time.Now())
	require.WithinDuration(t, there, e.TimeOf("a"), time.Minute)
}
