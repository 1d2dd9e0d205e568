package httpapi

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// trackedListener knows its connections: it bounds how many one client has, stopping need not wait for clients that
// connected and said nothing, what does not end can be ended, and running out of files is lived through. fasthttp's own bound, MaxConnsPerIP, takes all of IPv6
// for one client, and its connections race with the closing of idle ones at shutdown (v1.74.0).
type trackedListener struct {
	net.Listener
	closing      func() error
	closed       chan struct{}
	maxPerClient int // 0 = no limit

	proxies proxies       // clients that stand for many and have no limit
	slack   time.Duration // by how much a deadline of a connection may come early

	stopping atomic.Bool // fasthttp closes the connections that it takes for idle

	mu      sync.Mutex
	conns   map[*trackedConn]struct{}
	clients map[netip.Prefix]int // connections
}

func trackConns(ln net.Listener, maxPerClient int) *trackedListener {
	closed := make(chan struct{})
	closing := sync.OnceValue(func() error {
		close(closed)
		return ln.Close()
	})
	return &trackedListener{
		Listener: ln, closing: closing, closed: closed, maxPerClient: maxPerClient,
		conns: make(map[*trackedConn]struct{}), clients: make(map[netip.Prefix]int),
	}
}

// Accept waits for the next connection of a client that may have one more.
func (l *trackedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if passes(err) && l.wait(acceptPause) {
			continue
		}
		if err != nil {
			return nil, err // as it is: fasthttp reads it
		}
		c := l.track(conn)
		if l.admit(c) {
			return c, nil
		}
		_ = conn.Close()
	}
}

func (l *trackedListener) track(conn net.Conn) *trackedConn {
	return &trackedConn{
		Conn: conn, listener: l, client: clientOf(conn.RemoteAddr()),
		reading: newDeadline(conn.SetReadDeadline, l.slack), writing: newDeadline(conn.SetWriteDeadline, l.slack),
	}
}

// acceptPause is how long nothing is accepted where there is no room for one more connection.
const acceptPause = 20 * time.Millisecond

// passes tells whether accepting fails for a cause that goes away. fasthttp would stop serving for good.
func passes(err error) bool {
	for _, cause := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// wait returns true after a while, or false as soon as the listener is closed.
func (l *trackedListener) wait(pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.closed:
		return false
	}
}

func (l *trackedListener) admit(c *trackedConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.maxPerClient > 0 && l.clients[c.client] >= l.maxPerClient && !l.proxies.trust(peerOf(c.RemoteAddr())) {
		return false
	}
	l.clients[c.client]++
	l.conns[c] = struct{}{}
	return true
}

func (l *trackedListener) forget(c *trackedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.conns[c]; !known {
		return
	}
	delete(l.conns, c)
	if l.clients[c.client]--; l.clients[c.client] == 0 {
		delete(l.clients, c.client)
	}
}

// clientOf returns what is taken for one client: an IPv4 address, or the /64 that one IPv6 host has to choose from.
// Whatever has no such address is one client.
func clientOf(address net.Addr) netip.Prefix {
	peer := peerOf(address)
	prefix, _ := peer.Prefix(min(peer.BitLen(), clientIPv6Bits))
	return prefix
}

const clientIPv6Bits = 64

// Close stops accepting; again does nothing.
func (l *trackedListener) Close() error { return l.closing() }

// closeConns closes the connections that have not sent a byte, or all.
func (l *trackedListener) closeConns(all bool) {
	l.mu.Lock()
	var doomed []*trackedConn
	for c := range l.conns {
		if c.state.CompareAndSwap(connSilent, connDoomed) || all {
			doomed = append(doomed, c)
		}
	}
	l.mu.Unlock()
	for _, c := range doomed {
		c.closed.Store(true)
		_ = c.Close()
	}
}

// stopReading ends all reading, and returns how many connections were open. Whoever waits for the rest of a request is told
// that its time is up; what has been read is answered all the same.
func (l *trackedListener) stopReading() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
	return len(l.conns)
}

// trackedConn remembers whether its client has said anything.
type trackedConn struct {
	net.Conn
	listener *trackedListener
	client   netip.Prefix
	state    atomic.Int32
	asked    atomic.Bool // something has been read that was not answered yet
	closed   atomic.Bool
	handed   atomic.Bool // to a stream, which closes it once
	reading  *deadline
	writing  *deadline
}

// handOver notes that a request's connection is a stream's from now on.
func handOver(ctx *fasthttp.RequestCtx) {
	if c, ok := ctx.Conn().(*trackedConn); ok {
		c.handed.Store(true)
	}
}

// SetWriteBuffer bounds what the kernel keeps of what the client has not read.
func (c *trackedConn) SetWriteBuffer(bytes int) error {
	bounded, ok := c.Conn.(interface{ SetWriteBuffer(bytes int) error })
	if !ok {
		return nil
	}
	return bounded.SetWriteBuffer(bytes) //nolint:wrapcheck // as the connection says it
}

// SyscallConn is for streams, which write what the kernel takes at once past the deadlines.
func (c *trackedConn) SyscallConn() (syscall.RawConn, error) {
	direct, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return direct.SyscallConn() //nolint:wrapcheck // as the connection says it
}

// A connection either has a client that spoke or is doomed, never both: what is read after the server has decided to
// close it is not acted upon, for nobody could be answered.
const (
	connSilent int32 = iota
	connSpoke
	connDoomed
)

// Read reads from the client.
func (c *trackedConn) Read(b []byte) (int, error) {
	if err := c.reading.begin(); err != nil {
		return 0, err //nolint:wrapcheck // as the connection says it: fasthttp reads it
	}
	defer c.reading.end()
	n, err := c.Conn.Read(b)
	if n == 0 {
		return n, err
	}
	c.asked.Store(true)
	if c.closed.Load() || !c.state.CompareAndSwap(connSilent, connSpoke) && c.state.Load() == connDoomed {
		return 0, net.ErrClosed
	}
	return n, err
}

// Write writes to the client.
func (c *trackedConn) Write(b []byte) (int, error) {
	if err := c.writing.begin(); err != nil {
		return 0, err //nolint:wrapcheck // as the connection says it
	}
	defer c.writing.end()
	c.asked.Store(false)
	return c.Conn.Write(b)
}

// SetReadDeadline bounds reads from now on, and one under way.
func (c *trackedConn) SetReadDeadline(t time.Time) error { return c.reading.set(t) }

// SetWriteDeadline bounds writes from now on, and one under way.
func (c *trackedConn) SetWriteDeadline(t time.Time) error { return c.writing.set(t) }

// SetDeadline bounds both.
func (c *trackedConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// Close closes the connection and forgets it. When the server stops, fasthttp takes a connection for idle for some time after
// it has read a request: the first Close in that time does nothing, so that the request is answered, and whoever answers it
// closes again. Of a Close and a Read at the same time either the one sees the request or the other that nobody will answer.
func (c *trackedConn) Close() error {
	if !c.closed.Swap(true) && c.listener.stopping.Load() && c.asked.Load() && !c.handed.Load() {
		return nil
	}
	c.listener.forget(c)
	return c.Conn.Close()
}
