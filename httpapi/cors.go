package httpapi

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/valyala/fasthttp"

	"flashsale/engine"
)

// What pages of the frontend's origin may send and read.
const (
	corsMethods = "GET, HEAD, POST, PUT, OPTIONS"
	corsSend    = "Authorization, Content-Type, Idempotency-Key, If-Match, X-Request-Id"
	corsRead    = "ETag, Idempotent-Replayed, Ledger-Lag-Ms, Link, Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id"
	corsMaxAge  = "600" // seconds that a browser remembers the answer to a preflight
)

// OriginOf reads the origin of a page's address, as browsers send it: scheme, host and port. "" stays "".
func OriginOf(address string) (string, error) {
	if address == "" {
		return "", nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("%q is no origin: it must be http://host or https://host, with a port where needed", address)
	}
	host := strings.ToLower(u.Host)
	return u.Scheme + "://" + strings.TrimSuffix(host, defaultPorts[u.Scheme]), nil
}

// defaultPorts are left out of an origin.
var defaultPorts = map[string]string{"http": ":80", "https": ":443"}

// headerOrigin is looked for in every request that may change something.
var headerOrigin = []byte(fasthttp.HeaderOrigin)

var errForeignPage = &engine.Error{Code: engine.CodeForbidden, Field: "Origin", Detail: "Origin: pages of this origin may change nothing here; FRONTEND_URL names one that may"}

// fromOurPages refuses what a page of another origin wants to have changed. Browsers ask nobody before they send a POST
// without a body, and without tokens nothing else tells it from the shop's own (decision 0030).
func (s *Server) fromOurPages(handler fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		if !s.knowsOrigin(ctx) {
			s.refuse(ctx, errForeignPage)
			return
		}
		handler(ctx)
	}
}

// knowsOrigin tells whether a request comes from where it may change something or begin a WebSocket: from no page at all,
// from one of ours, or from one of the frontend.
func (s *Server) knowsOrigin(ctx *fasthttp.RequestCtx) bool {
	origin := ctx.Request.Header.PeekCanonical(headerOrigin)
	if len(origin) == 0 || string(origin) == s.config.Origin {
		return true
	}
	u, err := url.Parse(string(origin))
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, string(ctx.Request.Header.Host()))
}

// allowOrigin lets pages of the frontend's origin, and no others, read the answer.
func (s *Server) allowOrigin(ctx *fasthttp.RequestCtx) {
	if s.config.Origin == "" {
		return
	}
	h := &ctx.Response.Header
	h.Add(fasthttp.HeaderVary, fasthttp.HeaderOrigin)
	if string(ctx.Request.Header.PeekCanonical(headerOrigin)) != s.config.Origin {
		return
	}
	h.Set(fasthttp.HeaderAccessControlAllowOrigin, s.config.Origin)
	h.Set(fasthttp.HeaderAccessControlExposeHeaders, corsRead)
	if ctx.IsOptions() {
		h.Set(fasthttp.HeaderAccessControlAllowMethods, corsMethods)
		h.Set(fasthttp.HeaderAccessControlAllowHeaders, corsSend)
		h.Set(fasthttp.HeaderAccessControlMaxAge, corsMaxAge)
	}
}
