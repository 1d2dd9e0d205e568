package httpapi

import (
	"errors"
	"time"

	"github.com/valyala/fasthttp"

	"flashsale/engine"
	"flashsale/httpapi/auth"
)

// caller is who makes a request.
type caller struct {
	user   string // "" = may act for any buyer, if for buyers at all
	name   string // for the audit
	scopes auth.Scope
	until  time.Time // when its token ends; zero = nobody knows of an end
}

// Callers who are not told from others of their kind.
var (
	theAdmin = caller{name: actorAdmin, scopes: auth.Admin}
	theShop  = caller{name: "anybody", scopes: auth.Buyer | auth.Monitor} // its backend, where no tokens are asked for
	nobody   caller                                                       // may do nothing
)

// anybodyOf returns whoever comes without a token: the shop itself, or nobody where tokens are asked for.
func anybodyOf(tokens Verifier) *caller {
	if tokens == nil {
		return &theShop
	}
	return &nobody
}

// mayAct tells whether the caller may place, see and change orders of a user. Where it may not, the answer is that of an
// order that is not there: errNoOrder.
func (c *caller) mayAct(user string) bool {
	return c.scopes.Includes(auth.Buyer) && (c.user == "" || c.user == user)
}

// callerKey is where a request keeps its caller.
type callerKey struct{}

// callerOf returns who makes a request, as the route's scope found out. On a public route that is nobody in particular.
func (s *Server) callerOf(ctx *fasthttp.RequestCtx) *caller {
	if c, ok := ctx.UserValue(callerKey{}).(*caller); ok {
		return c
	}
	return s.anybody
}

// onlyUser returns the one user that the caller may act for; "" = any. Without tokens nobody is asked, on the hot path.
func (s *Server) onlyUser(ctx *fasthttp.RequestCtx) string {
	if s.config.Tokens == nil {
		return ""
	}
	return s.callerOf(ctx).user
}

// needs are the scopes that a caller must have for a route.
var needs = map[scope]auth.Scope{scopeBuyer: auth.Buyer, scopeMonitor: auth.Monitor, scopeAdmin: auth.Admin}

var (
	errNoScope   = &engine.Error{Code: engine.CodeForbidden, Detail: "nobody may call this route"}
	errOtherUser = &engine.Error{Code: engine.CodeForbidden, Field: "userId", Detail: "userId: this token may order for its own user only; leave the member out"}
)

// scoped lets through only those whom the route is for.
func (s *Server) scoped(rt route) fasthttp.RequestHandler {
	need, known := needs[rt.scope]
	switch {
	case rt.scope == scopePublic, known && s.anybody.scopes.Includes(need):
		return func(ctx *fasthttp.RequestCtx) { rt.handle(s, ctx) }
	case known:
		return func(ctx *fasthttp.RequestCtx) { s.guarded(ctx, rt, need) }
	default:
		return func(ctx *fasthttp.RequestCtx) { s.refuse(ctx, errNoScope) }
	}
}

// guarded finds out who is asking before the route is served.
func (s *Server) guarded(ctx *fasthttp.RequestCtx, rt route, need auth.Scope) {
	c, err := s.identify(tokenOf(ctx, rt.path))
	if err == nil && !c.scopes.Includes(need) {
		err = errNotAllowed
	}
	if err != nil {
		s.refuse(ctx, err)
		return
	}
	ctx.SetUserValue(callerKey{}, c)
	rt.handle(s, ctx)
}

// absentAlike makes all absent orders one: what the store says of an id that is not there is no other document than what
// is said here of somebody else's.
func absentAlike(err error) error {
	var failure *engine.Error
	if errors.As(err, &failure) && failure.Code == engine.CodeNotFound {
		return errNoOrder
	}
	return err
}
