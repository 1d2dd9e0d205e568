package httpapi

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// stoppedClock moves only when it is told to.
type stoppedClock struct{ at time.Time }

func (c *stoppedClock) now() time.Time           { return c.at }
func (c *stoppedClock) advance(by time.Duration) { c.at = c.at.Add(by) }

func stoppedLimiter(limit Limit) (*limiter, *stoppedClock) {
	clock := &stoppedClock{at: time.Now()}
	return newLimiter(limit, clock.now), clock
}

func TestLimiterSpendsAndEarns(t *testing.T) {
	l, clock := stoppedLimiter(Limit{Requests: 10, Per: time.Second, Burst: 3})
	const ms = time.Millisecond
	for _, step := range []struct {
		wait time.Duration
		want verdict
	}{
		{0, verdict{true, 2, 100 * ms}},
		{0, verdict{true, 1, 100 * ms}},
		{0, verdict{true, 0, 100 * ms}},
		{0, verdict{false, 0, 100 * ms}},
		{60 * ms, verdict{false, 0, 40 * ms}},
		{40*ms - 1, verdict{false, 0, 1}},
		{1, verdict{true, 0, 100 * ms}},
		{250 * ms, verdict{true, 1, 50 * ms}},
		{time.Hour, verdict{true, 2, 100 * ms}},
	} {
		clock.advance(step.wait)
		require.Equal(t, step.want, l.take(7))
	}
	require.Equal(t, verdict{true, 2, 100 * ms}, l.take(8), "another client has a bucket of its own")
}

// Whatever the pattern, no client gets more than its burst and what it earned meanwhile, and one that keeps to the rate
// gets everything.
func TestLimiterNeverGivesMoreThanItsRate(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		limit := Limit{Requests: 1 + random.IntN(50), Per: time.Second, Burst: 1 + random.IntN(20)}
		l, clock := stoppedLimiter(limit)
		admitted, passed := 0, time.Duration(0)
		for range 300 {
			wait := time.Duration(random.Int64N(int64(2 * limit.interval())))
			clock.advance(wait)
			passed += wait
			v := l.take(1)
			require.Positive(t, v.more, "seed %d", seed)
			require.LessOrEqual(t, v.more, limit.interval(), "seed %d", seed)
			require.True(t, v.left >= 0 && v.left < int64(limit.Burst), "seed %d", seed)
			if !v.admitted {
				require.Zero(t, v.left, "seed %d", seed)
				continue
			}
			admitted++
			require.LessOrEqual(t, admitted, limit.Burst+int(passed/limit.interval()), "seed %d: %+v", seed, limit)
		}
		for range 100 {
			clock.advance(limit.interval())
			require.True(t, l.take(2).admitted, "seed %d: %+v", seed, limit)
		}
	}
}

func TestLimiterAtItsBounds(t *testing.T) {
	slowest := Limit{Requests: 1, Per: time.Hour, Burst: maxLimit}
	l, clock := stoppedLimiter(slowest)
	for range maxLimit {
		require.True(t, l.take(1).admitted)
	}
	clock.advance(50 * 365 * 24 * time.Hour)
	v := l.take(1)
	require.True(t, v.admitted, "fifty years earn four hundred thousand requests")
	require.EqualValues(t, 50*365*24-1, v.left)
	require.EqualValues(t, 3600*maxLimit, slowest.window())

	l, clock = stoppedLimiter(Limit{Requests: maxLimit, Per: time.Second, Burst: 1})
	require.True(t, l.take(1).admitted)
	require.False(t, l.take(1).admitted)
	clock.advance(time.Microsecond)
	require.True(t, l.take(1).admitted)
}

func TestLimiterIsBounded(t *testing.T) {
	require.Equal(t, 1<<20, maxTracked)
	require.LessOrEqual(t, unsafe.Sizeof(limiterShard{})*limiterShards, uintptr(17<<20), "16 MiB and the locks")
	l, _ := stoppedLimiter(Limit{Requests: 1, Per: time.Hour, Burst: 1})
	key := uint64(0)
	require.Zero(t, testing.AllocsPerRun(10_000, func() { l.take(spread(&key)) }), "new clients take no memory")
	require.Zero(t, testing.AllocsPerRun(1000, func() { l.take(l.textKey("ann")) }))
	require.Zero(t, testing.AllocsPerRun(1000, func() { l.take(l.addressKey(netip.MustParseAddr("192.0.2.7"))) }))
}

func TestLimiterRemembersManyClients(t *testing.T) {
	l, _ := stoppedLimiter(Limit{Requests: 1, Per: time.Hour, Burst: 1})
	for _, admitted := range []bool{true, false} {
		key := uint64(0)
		for range maxTracked / 16 {
			require.Equal(t, admitted, l.take(spread(&key)).admitted)
		}
	}
}

// In a full set, all whose keys lie in one place, whoever is furthest over the limit is remembered.
func TestAFullTableForgetsWhoLosesLeastByIt(t *testing.T) {
	l, _ := stoppedLimiter(Limit{Requests: 1, Per: time.Minute, Burst: 5})
	greedy, modest := uint64(1), uint64(2)
	sameSet := func(n int) uint64 { return uint64(n) * limiterSets }
	for range 5 {
		require.True(t, l.take(sameSet(int(greedy))).admitted)
	}
	require.EqualValues(t, 4, l.take(sameSet(int(modest))).left)
	for n := range 10 * limiterWays {
		require.EqualValues(t, 4, l.take(sameSet(10+n)).left, "a new client has a full bucket")
	}
	require.False(t, l.take(sameSet(int(greedy))).admitted, "it was not washed out")
	require.EqualValues(t, 4, l.take(sameSet(int(modest))).left, "it was")
}

func TestLimiterUnderConcurrency(t *testing.T) {
	l, _ := stoppedLimiter(Limit{Requests: 1, Per: time.Hour, Burst: 100})
	var admitted atomic.Int64
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 100 {
				if l.take(3).admitted {
					admitted.Add(1)
				}
			}
		})
	}
	clients.Wait()
	require.EqualValues(t, 100, admitted.Load())
}

func TestAddressesOfOneClient(t *testing.T) {
	l, _ := stoppedLimiter(Limit{Requests: 1, Per: time.Hour, Burst: 1})
	key := func(address string) uint64 { return l.addressKey(netip.MustParseAddr(address).Unmap()) }
	for name, c := range map[string]struct {
		a, b string
		same bool
	}{
		"one IPv4 address":          {"192.0.2.7", "192.0.2.7", true},
		"neighbours":                {"192.0.2.7", "192.0.2.8", false},
		"mapped":                    {"192.0.2.7", "::ffff:192.0.2.7", true},
		"one /64":                   {"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true},
		"neighbouring /64":          {"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		"IPv4 and the unspecified":  {"0.0.0.0", "::", false},
		"one link, two of its zone": {"fe80::1%eth0", "fe80::2%eth1", true},
	} {
		require.Equal(t, c.same, key(c.a) == key(c.b), name)
	}
	require.NotEqual(t, l.textKey("ann"), l.textKey("bob"))
}

func TestParseLimit(t *testing.T) {
	for text, want := range map[string]Limit{
		"":                  {},
		"50/s":              {50, time.Second, 50},
		"50/s:100":          {50, time.Second, 100},
		"600/m:20":          {600, time.Minute, 20},
		"1/h":               {1, time.Hour, 1},
		"1000000/s:1000000": {maxLimit, time.Second, maxLimit},
	} {
		got, err := ParseLimit(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{
		"50", "/s", "50/", "50/d", "50/S", "0/s", "-1/s", "+1/s", "1.5/s", "50/s:", "50/s:0", "50/s:-1", "50/s:1:2", "50/s/s", " 50/s",
		"1000001/s", "1/s:1000001", "99999999999999999999/s", "many/s", ":", "50:100",
	} {
		_, err := ParseLimit(text)
		require.ErrorContains(t, err, "50/s", "%q: it shows what is right", text)
	}
}

func TestUnlimitedPathsAreRoutes(t *testing.T) {
	for _, path := range unlimitedPaths {
		require.True(t, slices.ContainsFunc(routes, func(rt route) bool { return rt.path == path && (rt.scope == scopePublic || rt.scope == scopeMonitor) }), path)
	}
}

func TestLimitsShortcuts(t *testing.T) {
	require.Equal(t, Limit{5, time.Second, 5}, Limit{Requests: 5}.withDefaults())
	for text, window := range map[string]int64{"50/s": 1, "50/s:100": 2, "50/s:101": 3, "50/s:10": 1, "600/m": 60, "1/h": 3600} {
		limit, err := ParseLimit(text)
		require.NoError(t, err)
		require.Equal(t, window, limit.window(), text)
	}
}
