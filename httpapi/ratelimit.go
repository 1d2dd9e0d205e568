package httpapi

import (
	"strconv"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"

	"flashsale/engine"
)

var (
	errAddressLimited = &engine.Error{Code: engine.CodeRateLimited, Detail: "too many requests from this address; Retry-After says when to send the next"}
	errUserLimited    = &engine.Error{Code: engine.CodeRateLimited, Detail: "too many requests of this user; Retry-After says when to send the next"}
)

// Names of the headers, the fields of draft-ietf-httpapi-ratelimit-headers.
var (
	headerRateLimit       = []byte("RateLimit")
	headerRateLimitPolicy = []byte("RateLimit-Policy")
)

// unlimitedPaths are asked by those who watch over the service, and just then when it is under load.
var unlimitedPaths = []string{"/livez", "/readyz", "/monitoring/health", "/metrics"}

// limits are the quotas that requests are counted against, each nil where there is none.
type limits struct {
	address   *quota
	user      *quota
	proxies   proxies
	unlimited map[string]struct{} // paths
}

func newLimits(config *Config, m *serverMetrics) limits {
	l := limits{proxies: config.TrustedProxies, unlimited: make(map[string]struct{})}
	if config.AddressLimit.set() {
		l.address = newQuota("address", config.AddressLimit, config, m.addressLimited, errAddressLimited)
	}
	if config.UserLimit.set() {
		l.user = newQuota("user", config.UserLimit, config, m.userLimited, errUserLimited)
	}
	for _, prefix := range prefixes {
		for _, path := range unlimitedPaths {
			l.unlimited[prefix+path] = struct{}{}
		}
	}
	return l
}

// quota is one limit, with what clients are told about it.
type quota struct {
	limiter  *limiter
	refusal  *engine.Error
	document []byte // of the refusal
	limited  *metrics.Counter
	policy   []byte // for RateLimit-Policy
	state    []byte // for RateLimit, up to the figure that changes
}

func newQuota(name string, limit Limit, config *Config, limited *metrics.Counter, refusal *engine.Error) *quota {
	limit = limit.withDefaults()
	named := strconv.Quote(name)
	policy := appendIntMember([]byte(named), ";q=", int64(limit.Burst))
	return &quota{
		limiter: newLimiter(limit, config.Clock), refusal: refusal, limited: limited,
		document: append(appendProblem(nil, refusal, kindOf(refusal)), '}'),
		policy:   appendIntMember(policy, ";w=", limit.window()),
		state:    []byte(named + ";r="),
	}
}

// charge counts a request and tells the client how it stands with the quota. It returns the refusal where it is used up.
func (q *quota) charge(h *fasthttp.ResponseHeader, key uint64) error {
	v := q.limiter.take(key)
	var room [rateLimitRoom]byte
	h.SetCanonical(headerRateLimitPolicy, append(listed(room[:0], h, headerRateLimitPolicy), q.policy...))
	line := append(listed(room[:0], h, headerRateLimit), q.state...)
	line = strconv.AppendInt(line, v.left, 10)
	line = appendIntMember(line, ";t=", wholeSeconds(v.more))
	h.SetCanonical(headerRateLimit, line)
	if v.admitted {
		return nil
	}
	q.limited.Inc()
	setRetryAfter(h, v.more)
	return q.refusal
}

// rateLimitRoom holds both quotas with their longest figures, in bytes.
const rateLimitRoom = 128

// listed begins a list's next item, behind those that the header has already.
func listed(dst []byte, h *fasthttp.ResponseHeader, name []byte) []byte {
	before := h.PeekCanonical(name)
	if len(before) == 0 {
		return dst
	}
	return append(append(dst, before...), ", "...)
}

// withinAddressLimit counts a request against the quota of its client's address, and answers it where that is used up.
// A preflight is not counted: to refuse it is no cheaper than to answer it, and the page would not be told why.
func (s *Server) withinAddressLimit(ctx *fasthttp.RequestCtx) bool {
	// The path as the router takes it: a normalized one could look like one that is not counted.
	if _, free := s.limits.unlimited[string(ctx.URI().PathOriginal())]; free || ctx.IsOptions() {
		return true
	}
	q := s.limits.address
	client := s.limits.proxies.client(peerOf(ctx.RemoteAddr()), ctx.Request.Header.PeekAll(fasthttp.HeaderXForwardedFor))
	if q.charge(&ctx.Response.Header, q.limiter.addressKey(client)) == nil {
		return true
	}
	s.sendProblem(ctx, q.refusal, q.document, 0)
	return false
}

// chargeUser counts a request that changes something for a user. It returns what to refuse it with, if anything.
func (s *Server) chargeUser(ctx *fasthttp.RequestCtx, user string) error {
	q := s.limits.user
	if q == nil {
		return nil
	}
	return q.charge(&ctx.Response.Header, q.limiter.textKey(user))
}
