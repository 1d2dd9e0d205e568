package bench

import (
	"cmp"
	"context"
	"net"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fastjson"

	"flashsale/bench/load"
)

// maxAnswer bounds the body of an answer, in bytes.
const maxAnswer = 1 << 20

// headerLag is by how many ms a buyer's list may be behind.
const headerLag = "Ledger-Lag-Ms"

// idleConnection is how long a connection is kept while nothing is asked, as between two looks at the ledger.
const idleConnection = time.Minute

// conn is one connection to the server for what is not measured: making products, proving. It is for one goroutine at a
// time, and what it answers holds until it is asked again.
type conn struct {
	host    *fasthttp.HostClient
	base    string
	timeout time.Duration
	token   string // of buyers' routes
	request *fasthttp.Request
	answer  *fasthttp.Response
	parser  fastjson.Parser
}

// newConn returns one that dials when it is asked; not any more once ctx has ended.
func newConn(ctx context.Context, t *load.Target, timeout time.Duration, token string) *conn {
	addr, isTLS := t.Addr()
	return &conn{
		host: &fasthttp.HostClient{
			Addr: addr, IsTLS: isTLS, Name: "flashsale-bench",
			// A handshake of its own would wait for ever for a server that says nothing.
			DialTimeout: func(_ string, within time.Duration) (net.Conn, error) {
				return t.Dial(ctx, cmp.Or(within, timeout))
			},
			MaxConns: 1, MaxIdleConnDuration: idleConnection, MaxResponseBodySize: maxAnswer,
		},
		base: t.Base, timeout: timeout, token: token, request: &fasthttp.Request{}, answer: &fasthttp.Response{},
	}
}

// reply is what the server said.
type reply struct {
	status   int
	doc      *fastjson.Value // nil where the body is no JSON
	location string          // of an answer that sends elsewhere
}

// text returns a string member of the document, in memory of its own; "" where there is none.
func (r reply) text(member string) string { return string(r.doc.GetStringBytes(member)) }

func (c *conn) get(path string) (reply, error) {
	c.request.Reset()
	return c.send(path, c.token)
}

// post sends JSON; token "" = without authorisation.
func (c *conn) post(path string, body []byte, token string) (reply, error) {
	c.request.Reset()
	h := &c.request.Header
	h.SetMethod(fasthttp.MethodPost)
	h.SetContentType("application/json")
	c.request.SetBodyRaw(body)
	return c.send(path, token)
}

// getAs asks with another token.
func (c *conn) getAs(path, token string) (reply, error) {
	c.request.Reset()
	return c.send(path, token)
}

func (c *conn) send(path, token string) (reply, error) {
	if token != "" {
		c.request.Header.Set(fasthttp.HeaderAuthorization, "Bearer "+token)
	}
	c.request.SetRequestURI(c.base + path)
	c.request.SetTimeout(c.timeout)
	if err := c.host.Do(c.request, c.answer); err != nil {
		return reply{}, err //nolint:wrapcheck // callers say what they were doing, or count it by its cause
	}
	doc, err := c.parser.ParseBytes(c.answer.Body())
	if err != nil {
		doc = nil
	}
	r := reply{status: c.answer.StatusCode(), doc: doc}
	if fasthttp.StatusCodeIsRedirect(r.status) {
		r.location = string(c.answer.Header.Peek(fasthttp.HeaderLocation))
	}
	return r, nil
}

// nextPage returns the query of the page after the one that was answered last, and whether there is one (RFC 8288).
func (c *conn) nextPage() (query string, more bool) {
	link, _, more := strings.Cut(string(c.answer.Header.Peek(fasthttp.HeaderLink)), `>; rel="next"`)
	_, query, found := strings.Cut(link, "?")
	return "?" + query, more && found
}

// isLate is true where the answer says that it may lack what was ordered before.
func (c *conn) isLate() bool { return len(c.answer.Header.Peek(headerLag)) > 0 }

func (c *conn) close() { c.host.CloseIdleConnections() }
