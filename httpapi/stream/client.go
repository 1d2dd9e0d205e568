package stream

import (
	"encoding/json"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fasthttp/websocket"
)

// Bounds of what one client may send and have waiting.
const (
	maxMessage  = 1024 // bytes
	maxMessages = 20   // a second, pings and pongs that nobody asked for included; of a message in parts each part is one
	maxQueued   = 32   // messages that it has not read: more than it may ask for at once

	// maxUnderWay is what the kernel keeps for a client that does not read, in bytes, about: by itself it would be megabytes.
	maxUnderWay = 256 << 10
)

// client is one WebSocket. Its reader runs where it is served, its writer beside that.
type client struct {
	hub    *Hub
	below  net.Conn // the connection itself: closing fasthttp's cover of it does nothing
	in     *incoming
	permit Permit

	outbox     *outbox
	farewell   chan parting  // takes one
	gone       chan struct{} // closed when nothing more is read
	subscribed atomic.Bool
	pinged     atomic.Bool // a ping has gone out that was not answered yet
	hearing    hearing
	budget     budget

	updating sync.Mutex
	told     uint64 // number of the last update
}

// parting is why a connection ends, as in the close frame (RFC 6455, 7.4).
type parting struct {
	code int
	text string
}

func newClient(h *Hub, cover net.Conn, permit Permit) *client {
	conn := below(cover)
	_ = conn.SetDeadline(time.Time{}) // those of the request
	if bounded, ok := conn.(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = bounded.SetWriteBuffer(maxUnderWay) // without it the client costs more, and is dropped later
	}
	return &client{
		hub: h, below: conn, in: newIncoming(cover), permit: permit,
		outbox: newOutbox(conn), farewell: make(chan parting, 1), gone: make(chan struct{}),
	}
}

func below(conn net.Conn) net.Conn {
	if cover, ok := conn.(interface{ UnsafeConn() net.Conn }); ok {
		return cover.UnsafeConn()
	}
	return conn
}

// read takes messages until the connection ends.
func (c *client) read() {
	defer c.hub.survive(c.cut)
	if c.awaitMore() != nil {
		return
	}
	for {
		got, err := c.in.next()
		if err == nil {
			err = c.receive(&got)
		}
		var why violation
		if errors.As(err, &why) {
			c.part(parting(why))
			c.in.skip()
		}
		if err != nil {
			return
		}
	}
}

// errGoodbye says that the client has said goodbye.
var errGoodbye = errors.New("the client has said goodbye")

// receive does what a frame asks for. An error means that no more are heard.
func (c *client) receive(got *received) error {
	switch {
	case got.kind == websocket.CloseMessage:
		return c.leave(got.payload)
	case got.kind == websocket.PongMessage && c.pinged.Swap(false):
		return c.awaitMore()
	case !c.mayGoOn():
		return nil
	case got.kind == websocket.PongMessage:
		return c.awaitMore()
	case got.kind == websocket.PingMessage:
		c.offer(newFrame(websocket.PongMessage, got.payload))
	case got.whole:
		c.take(got.kind, got.payload)
	}
	return nil
}

// mayGoOn tells whether what the client has sent is heard: not what comes until the goodbye, nor more than it may send.
func (c *client) mayGoOn() bool {
	if c.outbox.shut.Load() {
		return false
	}
	if !c.budget.spend(time.Now()) {
		c.drop(flood, parting{websocket.ClosePolicyViolation, "too many messages"})
		return false
	}
	return true
}

// leave answers a client that says goodbye, with its own code.
func (c *client) leave(payload []byte) error {
	code, err := goodbyeOf(payload)
	if err != nil {
		return err
	}
	c.part(parting{code: code})
	return errGoodbye
}

// awaitMore gives the client the time of two pings to be heard of again.
func (c *client) awaitMore() error {
	return c.hearing.until(time.Now().Add(2*c.hub.config.PingEvery+c.hub.config.WriteWait), c.below.SetReadDeadline)
}

// hearing is until when a client is listened to.
type hearing struct {
	mu   sync.Mutex
	over bool
}

// until sets the time, by set, unless the last one has been set.
func (h *hearing) until(t time.Time, set func(time.Time) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return nil
	}
	return set(t)
}

// last sets the time that stands, whatever the client says until then.
func (h *hearing) last(t time.Time, set func(time.Time) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	return set(t)
}

// take does what a message asks for.
func (c *client) take(kind int, message []byte) {
	var m envelope
	if kind != websocket.TextMessage || json.Unmarshal(message, &m) != nil || m.Event == "" {
		c.offer(c.hub.refusalOf("", `a message must be text, a JSON object like {"event":"subscribe-metrics"}`))
		return
	}
	switch m.Event {
	case Subscribe, Unsubscribe:
		c.subscribe(m.Event)
		return
	}
	answer, known := c.hub.answers[m.Event]
	if !known {
		c.offer(c.hub.refusalOf(m.Event, "there is no such event"))
		return
	}
	if told := c.hub.message(answer, c.hub.config.Interval); told.frame != nil {
		c.offer(told.frame)
	}
}

// subscribe begins or ends the updates. The first is sent at once: the last one, if somebody else has just got it.
func (c *client) subscribe(event string) {
	on := event == Subscribe
	c.offer(encode(event, subscription{on, c.hub.config.Interval.Milliseconds()}))
	if already := c.subscribed.Swap(on); on && !already {
		if update := c.hub.message(c.hub.update, c.hub.config.Interval); update.frame != nil {
			c.update(update)
		}
	}
}

// update sends an update, unless that one or a newer one has been sent: what took long to make is as old as the next one is
// due, and a wave may reach a client that has just subscribed with what was made before.
func (c *client) update(made numbered) {
	c.updating.Lock()
	defer c.updating.Unlock()
	if made.number <= c.told {
		return
	}
	c.told = made.number
	c.offer(made.frame)
}

// offer sends a message, now or when the client has read those before it. A client that has too many waiting is dropped.
func (c *client) offer(message frame) {
	if err := c.outbox.put(message); err != nil {
		c.fail(err)
	}
}

// write sends what waits, and pings, until the connection ends.
func (c *client) write() {
	defer c.hub.survive(c.cut)
	ping := time.NewTicker(c.hub.config.PingEvery)
	defer ping.Stop()
	over, forget := c.permit.over()
	defer forget()
	for {
		var err error
		select {
		case <-c.gone:
			c.answerGoodbye()
			return
		case p := <-c.farewell:
			c.say(p)
			return
		case p := <-c.outbox.queue:
			err = c.outbox.write(p, time.Now().Add(c.hub.config.WriteWait))
		case <-ping.C:
			c.ping()
		case <-over:
			c.dropExpired()
		}
		if err != nil {
			c.fail(err)
			return
		}
	}
}

// ping asks for a sign of life, unless the client may not stay.
func (c *client) ping() {
	if !c.permit.Still() {
		c.dropExpired()
		return
	}
	c.pinged.Store(true)
	c.offer(newFrame(websocket.PingMessage, nil))
}

// over returns a channel that tells when the time is up, and what stops it.
func (p Permit) over() (<-chan time.Time, func() bool) {
	if p.Until.IsZero() {
		return nil, func() bool { return true }
	}
	timer := time.NewTimer(time.Until(p.Until))
	return timer.C, timer.Stop
}

func (c *client) dropExpired() {
	c.drop(expired, parting{websocket.ClosePolicyViolation, "the token is not valid any more"})
}

// fail ends a connection that can't be written to.
func (c *client) fail(err error) {
	var timeout net.Error
	if errors.Is(err, errBehind) || errors.As(err, &timeout) && timeout.Timeout() {
		c.dropSlow()
		return
	}
	c.cut()
}

// dropSlow ends the connection of a client that does not read: a goodbye would wait behind the rest.
func (c *client) dropSlow() {
	if c.outbox.close() {
		c.hub.dropped[slow].Inc()
	}
	c.cut()
}

// drop says goodbye to a client that may not stay.
func (c *client) drop(why reason, p parting) {
	if c.part(p) {
		c.hub.dropped[why].Inc()
	}
}

// part has the writer say goodbye, once. Nothing else is sent any more.
func (c *client) part(p parting) bool {
	if !c.outbox.close() {
		return false
	}
	c.subscribed.Store(false)
	c.farewell <- p // has room: only the first parts
	return true
}

// say writes the close frame and gives the client a moment to answer it.
func (c *client) say(p parting) {
	until := time.Now().Add(c.hub.config.CloseWait)
	goodbye := newFrame(websocket.CloseMessage, websocket.FormatCloseMessage(p.code, p.text))
	if c.outbox.finish(until) != nil || c.outbox.send(goodbye, until) != nil ||
		c.hearing.last(until, c.below.SetReadDeadline) != nil {
		c.cut()
	}
}

// answerGoodbye says what there was no time to say before the client went.
func (c *client) answerGoodbye() {
	select {
	case p := <-c.farewell:
		c.say(p)
	default:
	}
}

// cut ends the connection under whoever reads or writes.
func (c *client) cut() { _ = c.below.Close() }

// budget is how many messages a client may still send in a second.
type budget struct {
	second int64 // since 1970
	spent  int
}

func (b *budget) spend(now time.Time) bool {
	if second := now.Unix(); second != b.second {
		*b = budget{second: second}
	}
	b.spent++
	return b.spent <= maxMessages
}
