package bench

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fastjson"
)

// maxAnswer bounds the body of an answer, in bytes.
const maxAnswer = 1 << 20

// idleConnection is how long a connection is kept while nothing is asked, as between two looks at the ledger.
const idleConnection = time.Minute

// target is where the server is.
type target struct {
	addr  string // host:port
	base  string // URL without a slash at the end
	isTLS bool
}

func parseTarget(raw string) (target, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return target{}, fmt.Errorf("%w: target: %w", ErrOptions, err)
	}
	if u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return target{}, fmt.Errorf("%w: target %q is not like http://host:port", ErrOptions, raw)
	}
	isTLS := u.Scheme == "https"
	base := u.Scheme + "://" + u.Host + strings.TrimRight(u.Path, "/")
	return target{addr: fasthttp.AddMissingPort(u.Host, isTLS), base: base, isTLS: isTLS}, nil
}

// conn is one connection to the server. It is for one goroutine at a time, and what it answers holds until it is asked
// again.
type conn struct {
	host    *fasthttp.HostClient
	base    string
	timeout time.Duration
	request *fasthttp.Request
	answer  *fasthttp.Response
	parser  fastjson.Parser
	body    []byte // of orders, kept between them
}

func newConn(t target, timeout time.Duration) *conn {
	return &conn{
		host: &fasthttp.HostClient{
			Addr: t.addr, IsTLS: t.isTLS, Name: "flashsale-bench",
			MaxConns: 1, MaxIdleConnDuration: idleConnection, MaxResponseBodySize: maxAnswer,
			MaxIdemponentCallAttempts: 1, // a retry that nobody sees would be a measurement of something else
		},
		base: t.base, timeout: timeout, request: &fasthttp.Request{}, answer: &fasthttp.Response{},
	}
}

// reply is what the server said.
type reply struct {
	status int
	doc    *fastjson.Value // nil where the body is no JSON
}

// text returns a string member of the document, in memory of its own; "" where there is none.
func (r reply) text(member string) string { return string(r.doc.GetStringBytes(member)) }

func (c *conn) get(path string) (reply, error) {
	c.request.Reset()
	return c.send(path)
}

// post sends JSON; token "" = without authorisation.
func (c *conn) post(path string, body []byte, token string) (reply, error) {
	c.request.Reset()
	h := &c.request.Header
	h.SetMethod(fasthttp.MethodPost)
	h.SetContentType("application/json")
	if token != "" {
		h.Set(fasthttp.HeaderAuthorization, "Bearer "+token)
	}
	c.request.SetBodyRaw(body)
	return c.send(path)
}

func (c *conn) send(path string) (reply, error) {
	c.request.SetRequestURI(c.base + path)
	c.request.SetTimeout(c.timeout)
	if err := c.host.Do(c.request, c.answer); err != nil {
		return reply{}, err //nolint:wrapcheck // callers say what they were doing, or count it by its cause
	}
	doc, err := c.parser.ParseBytes(c.answer.Body())
	if err != nil {
		doc = nil
	}
	return reply{status: c.answer.StatusCode(), doc: doc}, nil
}

func (c *conn) close() { c.host.CloseIdleConnections() }
