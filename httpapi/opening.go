package httpapi

import (
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"flashsale/engine"
)

// Open hands a server what it asks, once, after it was made without. Its checks stay those that it was made with.
func (s *Server) Open(deps Deps) {
	deps.Checks = s.deps.Checks
	s.deps = deps
	s.opened.Store(true) // whoever sees this sees the deps
}

const reasonStarting = "the service has started and waits for its stores"

var errStarting = &engine.Error{
	Code: engine.CodeUnavailable, Detail: "the service has started and waits for its stores", RetryAfter: time.Second,
}

// asksStores tells which routes come to nothing while there are no stores. What watches over the service is not among them.
func asksStores(path string) bool {
	return strings.HasPrefix(path, "/orders") || strings.HasPrefix(path, "/inventory") || path == streamPath ||
		path == "/monitoring/metrics"
}

// whenOpen refuses a route as long as the server has nobody to ask.
func whenOpen(handle func(*Server, *fasthttp.RequestCtx)) func(*Server, *fasthttp.RequestCtx) {
	return func(s *Server, ctx *fasthttp.RequestCtx) {
		if !s.opened.Load() {
			s.refuse(ctx, errStarting)
			return
		}
		handle(s, ctx)
	}
}
