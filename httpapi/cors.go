package httpapi

import (
	"fmt"
	"net/url"

	"github.com/valyala/fasthttp"
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
	return u.Scheme + "://" + u.Host, nil
}

// allowOrigin lets pages of the frontend's origin, and no others, read the answer.
func (s *Server) allowOrigin(ctx *fasthttp.RequestCtx) {
	if s.config.Origin == "" {
		return
	}
	h := &ctx.Response.Header
	h.Add(fasthttp.HeaderVary, fasthttp.HeaderOrigin)
	if string(ctx.Request.Header.Peek(fasthttp.HeaderOrigin)) != s.config.Origin {
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
