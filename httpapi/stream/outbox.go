package stream

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"flashsale/internal/atonce"
)

// errBehind says that a client has not read as much as may wait for it.
var errBehind = errors.New("the client does not read what it is sent")

// outbox is what one client is sent. What the kernel takes at once has gone when put returns, whoever puts it; the rest waits for
// the client's writer, and what comes after it behind it. So nobody waits for a client but its own writer, and that one sleeps
// as long as the client reads.
type outbox struct {
	conn  net.Conn
	kern  *atonce.Writer
	queue chan piece

	mu      sync.Mutex
	waiting int         // pieces that are queued or being written
	shut    atomic.Bool // set under mu; nothing is put any more
}

// piece is a frame, or what is left of one that has begun.
type piece struct {
	bytes []byte
	begun bool
}

func newOutbox(conn net.Conn) *outbox {
	return &outbox{conn: conn, kern: atonce.New(conn), queue: make(chan piece, maxQueued)}
}

// put sends a frame or has it wait, in the order of calls. Once the outbox is shut it does nothing.
func (o *outbox) put(f frame) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.shut.Load() {
		return nil
	}
	sent := 0
	if o.waiting == 0 {
		var err error
		if sent, err = o.kern.Write(f); err != nil || sent == len(f) {
			return err
		}
	}
	select {
	case o.queue <- piece{f[sent:], sent > 0}:
		o.waiting++
		return nil
	default:
		return errBehind
	}
}

// write sends what has waited, by the time given.
func (o *outbox) write(p piece, by time.Time) error {
	err := o.send(p.bytes, by)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting--
	return err
}

// send waits, up to the time given, until bytes are sent. It is for whoever knows that nobody else sends.
func (o *outbox) send(bytes []byte, by time.Time) error {
	err := o.conn.SetWriteDeadline(by)
	if err == nil {
		_, err = o.conn.Write(bytes)
	}
	return err
}

// close returns whether it shut the outbox, which it does once.
func (o *outbox) close() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.shut.CompareAndSwap(false, true)
}

// finish sends the rest of a frame that has begun: what comes after it would be taken for a part of it. Other frames that wait
// in an outbox that is shut are not sent.
func (o *outbox) finish(by time.Time) error {
	select {
	case p := <-o.queue:
		if p.begun {
			return o.write(p, by)
		}
	default:
	}
	return nil
}
