package stockfeed

import (
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"flashsale/internal/atonce"
)

// client is one connection. Its feed writes to it what the kernel takes at once; it has a writer of its own only while there is
// something that the kernel did not take, and then for the newest event alone.
type client struct {
	conn      net.Conn
	kern      *atonce.Writer
	turn      int
	writeWait time.Duration
	slow      *metrics.Counter // who did not take in writeWait what waited
	writer    sync.WaitGroup   // at most one

	mu     sync.Mutex
	told   uint64 // number of the newest event that was sent or waits
	behind bool   // there is a writer: nobody else writes
	begun  []byte // rest of what has gone in part
	newest []byte // event to follow it; empty = none
	last   bool   // the connection ends when nothing waits
	over   bool   // nobody writes any more
}

var (
	// prologue says after how many ms to connect again.
	prologue  = []byte("retry: 2000\n\n")
	heartbeat = []byte(": nothing new\n\n")
)

// newClient returns a client that nobody but [client.begin] writes to yet.
func newClient(conn net.Conn, writeWait time.Duration, slow *metrics.Counter) *client {
	return &client{conn: conn, kern: atonce.New(conn), writeWait: writeWait, slow: slow, behind: true}
}

// begin sends the head of the answer, and what has come to wait meanwhile.
func (c *client) begin(head []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun = slices.Concat(head, prologue)
	c.writer.Go(c.catchUp)
}

// tell sends an event, unless that one or a newer one has been: now, or when what has begun is through, in the place of what
// waits for that.
func (c *client) tell(e event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.number <= c.told {
		return
	}
	c.told = e.number
	if c.behind {
		c.newest = e.bytes
		return
	}
	c.put(e.bytes)
}

// beat sends a sign of life, which who is behind does without.
func (c *client) beat() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.behind {
		c.put(heartbeat)
	}
}

// put sends what the kernel takes and has a writer see to the rest.
func (c *client) put(b []byte) {
	if c.over {
		return
	}
	sent, err := c.kern.Write(b)
	switch {
	case err != nil:
		c.cut()
		return
	case sent == len(b):
		return
	case sent > 0:
		c.begun = b[sent:]
	default:
		c.newest = b
	}
	c.behind = true
	c.writer.Go(c.catchUp)
}

// catchUp writes until nothing waits.
func (c *client) catchUp() {
	for waiting := c.take(); len(waiting) > 0; waiting = c.take() {
		if err := c.send(waiting); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				c.slow.Inc()
			}
			c.cut()
			return
		}
	}
}

// take returns what is to be written next. Where there is nothing the writer is done.
func (c *client) take() (waiting []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if waiting, c.begun = c.begun, nil; len(waiting) > 0 {
		return waiting
	}
	if waiting, c.newest = c.newest, nil; len(waiting) > 0 {
		return waiting
	}
	if c.behind = false; c.last {
		c.cut()
	}
	return nil
}

func (c *client) send(b []byte) error {
	err := c.conn.SetWriteDeadline(time.Now().Add(c.writeWait))
	if err == nil {
		_, err = c.conn.Write(b)
	}
	return err //nolint:wrapcheck // it only ends the connection
}

// finish ends the connection behind what waits.
func (c *client) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last = true; !c.behind {
		c.cut()
	}
}

// listen returns when the connection ends: a client has nothing more to say, and whatever comes is the end.
func (c *client) listen() { _, _ = c.conn.Read(make([]byte, 1)) }

// end ends the connection. When it returns nobody writes, nor will.
func (c *client) end() {
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	c.cut()
	c.writer.Wait()
}

// cut ends the connection under whoever reads or writes.
func (c *client) cut() { _ = c.conn.Close() }
