package httpapi

import (
	"time"

	"github.com/valyala/fasthttp"
)

// SetClock has the traffic measured by another clock, from now on.
func (s *Server) SetClock(now func() time.Time) {
	s.traffic.clock = trafficClock{
		began: func(*fasthttp.RequestCtx) time.Time { return now() },
		since: func(t time.Time) time.Duration { return now().Sub(t) },
		now:   now,
	}
	s.traffic.reset()
}
