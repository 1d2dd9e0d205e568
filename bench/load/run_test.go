package load

import (
	"context"
	"encoding/json"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

// visitors counts who ordered.
type visitors struct {
	mu    sync.Mutex
	users map[string]int
}

func (v *visitors) handle(ctx *fasthttp.RequestCtx) {
	var order struct{ UserID string }
	if err := json.Unmarshal(ctx.PostBody(), &order); err != nil {
		ctx.SetStatusCode(400)
		return
	}
	v.mu.Lock()
	v.users[order.UserID]++
	v.mu.Unlock()
	accept(ctx)
}

func TestClosedLoopVisitsEachOnce(t *testing.T) {
	v := &visitors{users: map[string]int{}}
	target := serve(t, v.handle)
	result := run(t, target, Plan{Connections: 4, Visits: 500}, maker(t, &target, Orders{Users: "u-", Buyers: 500, Seed: 7}))
	assert.Len(t, v.users, 500, "every buyer came")
	for user, times := range v.users {
		assert.Equal(t, 1, times, user)
	}
	op := &result.Ops[0]
	assert.EqualValues(t, 500, op.Counts.Accepted)
	assert.EqualValues(t, 500, op.AcceptedUs.TotalCount())
	assert.EqualValues(t, 500, result.Visits)
	assert.EqualValues(t, 500, sumOf(result.Slots).Accepted)
	assert.Zero(t, result.LateUs.TotalCount(), "there is no schedule to be late on")
	assert.Positive(t, result.PerSecond(500))
}

func TestRunEndsWithItsDurationAndCountsItsWarmupApart(t *testing.T) {
	target := serve(t, accept)
	result := run(t, target, Plan{Connections: 2, Warmup: 50 * time.Millisecond, Duration: 100 * time.Millisecond},
		maker(t, &target, Orders{}))
	op := &result.Ops[0]
	everything := op.Everything()
	assert.Positive(t, op.Warmup.Accepted)
	assert.Positive(t, op.Counts.Accepted)
	assert.Equal(t, result.Visits, everything.Accepted, "proofs need those of the warm-up too")
	assert.Equal(t, op.Counts.Accepted, op.AcceptedUs.TotalCount())
	assert.GreaterOrEqual(t, result.Seconds, 0.1)
	assert.InDelta(t, 0.05, result.WarmupSeconds, 1e-9)
}

// TestOpenLoopCountsFromTheIntendedStart stalls the server once: whoever was to come meanwhile has waited too.
func TestOpenLoopCountsFromTheIntendedStart(t *testing.T) {
	const stall = 200 * time.Millisecond
	var arrived atomic.Int64
	target := serve(t, func(ctx *fasthttp.RequestCtx) {
		if arrived.Add(1) == 10 {
			<-time.After(stall)
		}
		accept(ctx)
	})
	result := run(t, target, Plan{Connections: 1, Rate: 500, Visits: 200}, maker(t, &target, Orders{}))
	assert.EqualValues(t, 200, result.Ops[0].Counts.Accepted)
	assert.EqualValues(t, 200, result.LateUs.TotalCount())
	assert.GreaterOrEqual(t, result.Seconds, 199/500.0, "nobody comes before the schedule")
	us := result.Ops[0].AcceptedUs
	assert.Greater(t, us.ValueAtQuantile(75), int64(50_000),
		"about 100 visits were to begin while the server stood still; a closed loop would see one")
	assert.GreaterOrEqual(t, us.Max(), stall.Microseconds()/1000*1000)
	assert.Greater(t, result.LateUs.ValueAtQuantile(75), int64(50_000), "and were begun late")
}

func TestOpenLoopDropsWhatIsTooLate(t *testing.T) {
	release := make(chan struct{})
	var arrived atomic.Int64
	target := serve(t, func(ctx *fasthttp.RequestCtx) {
		if arrived.Add(1) == 1 {
			<-release
		}
		accept(ctx)
	})
	time.AfterFunc(400*time.Millisecond, func() { close(release) })
	result := run(t, target, Plan{Connections: 1, Rate: 1000, Visits: 300, Timeout: 50 * time.Millisecond}, maker(t, &target, Orders{}))
	all := result.Ops[0].Counts.All()
	assert.Equal(t, int64(1), result.Ops[0].Counts.Failed["timeout"])
	assert.Positive(t, result.Dropped)
	assert.EqualValues(t, 300, all+result.Dropped, "every intended visit is accounted for")
	assert.Equal(t, all, result.Visits)
}

func TestRunEndsWithItsContext(t *testing.T) {
	for name, rate := range map[string]float64{"closed": 0, "open": 1} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			target := serve(t, func(c *fasthttp.RequestCtx) {
				cancel()
				accept(c)
			})
			r, err := New(target, Plan{Connections: 2, Rate: rate, Visits: 1_000_000}, maker(t, &target, Orders{}).Script)
			require.NoError(t, err)
			result, err := r.Do(ctx)
			require.ErrorIs(t, err, context.Canceled)
			assert.Positive(t, result.Visits)
			assert.Less(t, result.Visits, int64(1_000_000))
		})
	}
}

// TestOpenLoopEndsWithItsContextThoughManyAreDue cancels when a slow answer has made hundreds of visits wait for a connection.
func TestOpenLoopEndsWithItsContextThoughManyAreDue(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	target := serve(t, func(c *fasthttp.RequestCtx) {
		if ctx.Err() == nil {
			<-time.After(50 * time.Millisecond)
			cancel()
		}
		accept(c)
	})
	r, err := New(target, Plan{Connections: 1, Rate: 100_000, Visits: 1_000_000, Timeout: time.Minute}, maker(t, &target, Orders{}).Script)
	require.NoError(t, err)
	result, err := r.Do(ctx)
	require.ErrorIs(t, err, context.Canceled)
	assert.EqualValues(t, 1, result.Visits, "who was due but had not begun stays away")
	assert.EqualValues(t, 1, result.Ops[0].Counts.Accepted)
	assert.Zero(t, result.Dropped)
}

// TestProgressAskedWhileARunBegins is for the race detector.
func TestProgressAskedWhileARunBegins(t *testing.T) {
	target := serve(t, accept)
	r, err := New(target, Plan{Connections: 2, Visits: 10}, maker(t, &target, Orders{}).Script)
	require.NoError(t, err)
	var asking sync.WaitGroup
	ended := make(chan struct{})
	asking.Go(func() {
		for {
			select {
			case <-ended:
				return
			default:
				_ = r.Progress()
			}
		}
	})
	_, err = r.Do(t.Context())
	close(ended)
	asking.Wait()
	require.NoError(t, err)
}

func TestProgressOfARun(t *testing.T) {
	target := serve(t, accept)
	r, err := New(target, Plan{Connections: 2, Visits: 100}, maker(t, &target, Orders{}).Script)
	require.NoError(t, err)
	assert.Equal(t, Progress{}, r.Progress())
	_, err = r.Do(t.Context())
	require.NoError(t, err)
	p := r.Progress()
	assert.EqualValues(t, 100, p.Answers())
	assert.Positive(t, p.Elapsed)
}

// chain orders, then reads twice.
type chain struct{ steps []int64 }

func (c *chain) Request(b []byte, visit int64, step int) []byte {
	if step == 3 {
		return b
	}
	c.steps = append(c.steps, visit*10+int64(step))
	return append(b, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"...)
}

func (c *chain) Answer(_ int64, step int, _ Answer, _ error) Outcome {
	return Outcome{Op: min(step, 1), Fate: Accepted}
}

func TestVisitOfSeveralRequests(t *testing.T) {
	target := serve(t, accept)
	script := &chain{}
	r, err := New(target, Plan{Connections: 1, Visits: 2, Ops: []string{"order", "read"}}, func(int) Script { return script })
	require.NoError(t, err)
	result, err := r.Do(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []int64{0, 1, 2, 10, 11, 12}, script.steps)
	assert.EqualValues(t, 2, result.Ops[0].Counts.Accepted)
	assert.EqualValues(t, 4, result.Ops[1].Counts.Accepted)
	assert.Equal(t, "read", result.Ops[1].Name)
}

func TestPlansThatCannotBe(t *testing.T) {
	for name, p := range map[string]Plan{
		"no end":               {},
		"too many connections": {Visits: 1, Connections: MaxConnections + 1},
		"no connections":       {Visits: 1, Connections: -1},
		"too fast":             {Visits: 1, Rate: maxRate * 2},
		"too slow":             {Duration: time.Second, Rate: 1e-300},
		"no rate at all":       {Visits: 1, Rate: math.NaN()},
		"too many":             {Visits: math.MaxInt64, Duration: time.Second},
		"no end in a year":     {Visits: 100_000_000, Rate: 1},
		"backwards":            {Visits: 1, Warmup: -time.Second},
		"too long":             {Duration: maxDuration + 1},
		"too many operations":  {Visits: 1, Ops: make([]string, maxOps+1)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(Target{}, p, nil)
			require.ErrorIs(t, err, ErrOptions)
		})
	}
}

func sumOf(slots []Slot) (sum Slot) {
	for _, s := range slots {
		sum.Accepted += s.Accepted
		sum.Refused += s.Refused
		sum.Failed += s.Failed
	}
	return sum
}

func BenchmarkClosedLoop(b *testing.B) {
	target := serve(b, accept)
	r, err := New(target, Plan{Connections: 64, Visits: int64(b.N)}, maker(b, &target, Orders{}).Script)
	require.NoError(b, err)
	b.ReportAllocs()
	b.ResetTimer()
	_, err = r.Do(b.Context())
	require.NoError(b, err)
}
