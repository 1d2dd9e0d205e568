package httpapi

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

func TestWhichRoutesAreOrderRequests(t *testing.T) {
	for name, c := range map[string]struct {
		route route
		want  bool
	}{
		"placing":          {route{method: "POST", path: "/orders"}, true},
		"a change of one":  {route{method: "POST", path: "/orders/{id}/confirm"}, true},
		"looking one up":   {route{method: "GET", path: "/orders/{id}"}, false},
		"another resource": {route{method: "POST", path: "/inventory"}, false},
		"a longer name":    {route{method: "POST", path: "/ordersx"}, false},
	} {
		require.Equal(t, c.want, isOrderRequest(c.route), name)
	}
}

// Nothing is lost or counted twice while somebody looks on and seconds go by.
func TestTrafficOfManyAtOnce(t *testing.T) {
	const senders, each = 8, 500
	s := New(Deps{Reserver: fixedRate(1)}, Config{})
	var sending sync.WaitGroup
	for range senders {
		sending.Go(func() {
			for range each {
				var ctx fasthttp.RequestCtx
				ctx.Request.Header.SetMethod("POST")
				ctx.Request.SetRequestURI("/orders")
				ctx.Request.SetBodyString(benchOrder)
				s.handle(&ctx)
			}
		})
	}
	for seen := uint64(0); seen < senders*each; {
		s.traffic.turn(s.traffic.second.Load() + 1)
		f := s.traffic.whole()
		require.GreaterOrEqual(t, f.requests, seen)
		require.LessOrEqual(t, s.traffic.live().requests, uint64(senders*each))
		seen = f.requests
	}
	sending.Wait()
	f := s.traffic.whole()
	require.EqualValues(t, senders*each, f.requests)
	require.EqualValues(t, senders*each, f.placed)
	require.Zero(t, s.traffic.inFlight.Load())
	require.LessOrEqual(t, s.traffic.peak.Load(), int64(senders))
	require.Positive(t, s.traffic.peak.Load())
}

// Two requests may both find that a second has begun; the first of them marks it for good.
func TestASecondBeginsOnce(t *testing.T) {
	s := New(Deps{Reserver: fixedRate(1)}, Config{})
	now := time.UnixMilli(0)
	s.SetClock(func() time.Time { return now })
	for second := range int64(3) {
		s.traffic.turn(second)
		s.traffic.turn(second)
		s.traffic.answered(now, 201)
		s.traffic.turn(second)
		s.traffic.turn(second - 1)
		now = now.Add(liveSlot)
		require.EqualValues(t, second+1, s.traffic.live().requests)
	}
}

func TestAppendDecimal(t *testing.T) {
	for f, want := range map[float64]string{0: "0", 1: "1", 0.25: "0.25", 1.0 / 3: "0.333333", 12345.5: "12345.5", 1e-9: "0"} {
		require.Equal(t, want, string(appendDecimal(nil, f)))
	}
}
