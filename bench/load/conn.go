package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"flashsale/internal/atonce"
)

const (
	readBuffer = 4 << 10 // bytes; a plain answer is about 500
	maxAnswer  = 1 << 20 // bytes of a body
)

// errTimeout is the cause of a request that was cut off.
var errTimeout = errors.New("timeout")

// conn is one connection that is kept, and made anew where it broke. It is for one goroutine at a time.
type conn struct {
	target  *Target
	clock   *clock
	timeout time.Duration

	net    net.Conn // nil = none
	kern   *atonce.Writer
	reader *bufio.Reader
	began  int64             // when the last request began, on the clock, in ns
	held   int               // bytes in the reader's memory that the last answer is in
	answer fasthttp.Response // the last one that was not plain

	busySince atomic.Int64 // on the clock, in ns; 0 = nothing is asked, cutOff = what was asked is cut off
	mu        sync.Mutex   // guards net against expire, which is called by another goroutine
}

// cutOff takes the place of when a request began that is to get no answer any more.
const cutOff = -1

func newConn(target *Target, timeout time.Duration, c *clock) *conn {
	return &conn{target: target, timeout: timeout, clock: c, reader: bufio.NewReaderSize(nil, readBuffer)}
}

// connect makes the connection where there is none. Its error says that nothing was sent.
func (c *conn) connect(ctx context.Context) error {
	if c.net != nil {
		return nil
	}
	made, err := c.target.Dial(ctx, c.timeout)
	if err != nil {
		return &notSent{err}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.net, c.kern, c.held = made, atonce.New(made), 0
	c.reader.Reset(made)
	return nil
}

// notSent is why a request never left.
type notSent struct{ error }

func (e *notSent) Unwrap() error { return e.error }

// ask sends a whole HTTP request and reads the whole answer, which holds until the next. A request is never sent twice: a
// retry that nobody sees would be a measurement of something else.
func (c *conn) ask(ctx context.Context, request []byte) (Answer, error) {
	if err := c.connect(ctx); err != nil {
		return Answer{}, err
	}
	now := int64(c.clock.now())
	rested := now-c.began > int64(restless)
	c.began = now
	c.busySince.Store(now)
	answer, closing, err := c.exchange(request, rested)
	isCut := c.busySince.Swap(0) == cutOff
	if err != nil {
		c.close()
		if late := net.Error(nil); errors.Is(err, fasthttp.ErrTimeout) || errors.As(err, &late) && late.Timeout() {
			err = errTimeout
		}
		return Answer{}, err //nolint:wrapcheck // counted by its cause
	}
	if isCut || closing { // cut off too late for this one, it would be the next that is
		c.close()
	}
	return answer, nil
}

// restless is how long after the beginning of a request the next one may begin without a look at what came in between. It is
// longer than a closed loop takes and shorter than the pauses of a schedule, in which a server, or what forwards to it, may shut
// its side and be waited for until the timeout.
const restless = 10 * time.Millisecond

// exchange sends a request and reads its answer; closing says that the server takes no other on this connection. The load
// shares its machine with what it measures, so what a plain answer does not need is not done. Where the connection has rested
// for long the server may have said something that nobody waits for, as that it is tired of waiting: then that is read first.
func (c *conn) exchange(request []byte, rested bool) (answer Answer, closing bool, err error) {
	_, _ = c.reader.Discard(c.held) // it is there
	c.held = 0
	sent := 0
	if !rested {
		sent, err = c.kern.WriteAndWait(request)
	}
	if err == nil && sent < len(request) {
		_, err = c.net.Write(request[sent:])
	}
	if err != nil {
		return Answer{}, false, err //nolint:wrapcheck // counted by its cause
	}
	if _, err := c.reader.Peek(1); err != nil {
		return Answer{}, false, err //nolint:wrapcheck // counted by its cause
	}
	there, _ := c.reader.Peek(c.reader.Buffered())
	if answer, c.held = plainAnswer(there); c.held > 0 {
		return answer, false, nil
	}
	if err := c.answer.ReadLimitBody(c.reader, maxAnswer); err != nil {
		return Answer{}, false, err //nolint:wrapcheck // counted by its cause
	}
	return Answer{Status: c.answer.StatusCode(), Body: c.answer.Body(), header: &c.answer.Header}, c.answer.ConnectionClose(), nil
}

// expire cuts a request off that has taken longer than the timeout. That is cheaper than a deadline for each request.
func (c *conn) expire() {
	if since, late := c.overdue(); late {
		c.cut(since)
	}
}

// overdue returns when the request under way began, and whether that is longer ago than the timeout.
func (c *conn) overdue() (since int64, late bool) {
	since = c.busySince.Load()
	return since, since > 0 && c.clock.now()-time.Duration(since) > c.timeout
}

// cut cuts off the request that began then; not another, which may be under way by now.
func (c *conn) cut(since int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busySince.CompareAndSwap(since, cutOff) && c.net != nil {
		_ = c.net.SetDeadline(time.Unix(1, 0)) // a connection that refuses it is broken already
	}
}

func (c *conn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.net != nil {
		_ = c.net.Close()
		c.net = nil
	}
}

// connectAll makes all connections, so that the load does not measure how fast the kernel does that.
func connectAll(ctx context.Context, conns []*conn) error {
	failures := make([]error, len(conns))
	var all sync.WaitGroup
	for k, c := range conns {
		all.Go(func() {
			if err := c.connect(ctx); err != nil {
				failures[k] = fmt.Errorf("connection %d of %d: %w", k+1, len(conns), err)
			}
		})
	}
	all.Wait()
	for _, err := range failures {
		if err != nil {
			return err
		}
	}
	return nil
}
