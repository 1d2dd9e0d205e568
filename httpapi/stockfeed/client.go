package stockfeed

import (
	"net"
	"time"
)

// client is one connection.
type client struct {
	feed  *Feed
	conn  net.Conn
	delay time.Duration // its turn
	gone  <-chan struct{}
}

var (
	// prologue says after how many ms to connect again.
	prologue  = []byte("retry: 2000\n\n")
	heartbeat = []byte(": nothing new\n\n")
)

// write sends what there is to tell until the connection or the feed ends.
func (c *client) write(head []byte, s *shelf) {
	if !c.send(append(head[:len(head):len(head)], prologue...)) {
		return
	}
	idle := time.NewTicker(c.feed.config.Heartbeat)
	defer idle.Stop()
	event, changed := s.latest()
	for {
		if len(event) > 0 && !c.send(event) {
			return
		}
		if event, changed = c.next(s, changed, idle); changed == nil {
			return
		}
		idle.Reset(c.feed.config.Heartbeat)
	}
}

// next waits for something to send: the newest event, a while after it has changed, or a sign of life. It returns no channel
// when it is over.
func (c *client) next(s *shelf, changed <-chan struct{}, idle *time.Ticker) (event []byte, again <-chan struct{}) {
	select {
	case <-changed:
		if !c.wait() {
			return nil, nil
		}
		return s.latest()
	case <-idle.C:
		return heartbeat, changed
	case <-s.unknown:
	case <-c.gone:
	case <-c.feed.stop:
	}
	return nil, nil
}

// wait lets the client's turn come.
func (c *client) wait() bool {
	timer := time.NewTimer(c.delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.gone:
	case <-c.feed.stop:
	}
	return false
}

func (c *client) send(bytes []byte) bool {
	if c.conn.SetWriteDeadline(time.Now().Add(c.feed.config.WriteWait)) != nil {
		return false
	}
	_, err := c.conn.Write(bytes)
	return err == nil
}
