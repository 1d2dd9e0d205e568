// Package stream sends live figures to WebSocket clients: {event, data} both ways.
//
// Whatever is sent to more than one client is made and encoded once. What the kernel takes at once is
// written by the hub itself, so that a client costs a write and no more. No client can hold up another or the service: what the
// kernel does not take waits in a bounded queue, and a client that does not keep up is dropped.
package stream

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/fasthttp/websocket"

	"flashsale/internal/positive"
)

// Events that are no questions.
const (
	Subscribe   = "subscribe-metrics"
	Unsubscribe = "unsubscribe-metrics"
	Update      = "metrics-update"
	Error       = "error"
)

// Refusal is what a client is told in an event [Error].
type Refusal struct {
	Code    string   `json:"code"`
	Detail  string   `json:"detail"`
	About   string   `json:"event,omitempty"`   // that was asked for
	Allowed []string `json:"allowed,omitempty"` // events that may be sent
}

// Answer makes the data of an event, a JSON value, in bounded time, or says why it can't.
type Answer func() (json.RawMessage, *Refusal)

// Config says what is sent. Zero values of durations and numbers become the defaults.
type Config struct {
	Update  Answer            // for all subscribers, every Interval while there are any
	Answers map[string]Answer // by the event that asks; the answer has the same name

	MaxClients int           // default 1024
	Interval   time.Duration // default 1 s
	PingEvery  time.Duration // default 25 s; who does not answer two of them is gone
	WriteWait  time.Duration // for one message to be written; default 5 s
	CloseWait  time.Duration // for clients to say goodbye when the hub stops; default 1 s

	Metrics *metrics.Set // nil = a set of its own
	Logger  *slog.Logger // nil = slog.Default()
}

const (
	defaultMaxClients = 1024
	defaultInterval   = time.Second
	defaultPingEvery  = 25 * time.Second
	defaultWriteWait  = 5 * time.Second
	defaultCloseWait  = time.Second
)

// A wave of updates is spread over a part of the interval, so that a thousand writes don't stand between orders and the
// processor all at once; in few parts, for each wakes a server that has nothing else to do.
const (
	waveParts = 16
	waveShare = 2 // of the interval: one in so many
)

func (c Config) withDefaults() Config {
	c.MaxClients = positive.Or(c.MaxClients, defaultMaxClients)
	c.Interval = positive.Or(c.Interval, defaultInterval)
	c.PingEvery = positive.Or(c.PingEvery, defaultPingEvery)
	c.WriteWait = positive.Or(c.WriteWait, defaultWriteWait)
	c.CloseWait = positive.Or(c.CloseWait, defaultCloseWait)
	if c.Metrics == nil {
		c.Metrics = metrics.NewSet()
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// Hub knows all clients.
type Hub struct {
	config  Config
	log     *slog.Logger
	update  *shared
	answers map[string]*shared
	allowed []string // events that clients may send
	dropped map[reason]*metrics.Counter

	mu      sync.Mutex
	clients map[*client]struct{}
	closing bool
	present sync.WaitGroup
}

// reason is why a client was dropped.
type reason string

const (
	slow    reason = "slow"    // it did not read what was sent
	flood   reason = "flood"   // it sent more than it may
	expired reason = "expired" // its token did
)

// New returns a hub. It sends updates, and lets go of its clients, in [Hub.Run]. One set of metrics takes one hub.
func New(c Config) *Hub {
	c = c.withDefaults()
	h := &Hub{
		config: c, log: c.Logger, update: &shared{event: Update, answer: c.Update},
		answers: make(map[string]*shared, len(c.Answers)), clients: make(map[*client]struct{}), dropped: make(map[reason]*metrics.Counter),
	}
	for event, answer := range c.Answers {
		h.answers[event] = &shared{event: event, answer: answer}
	}
	h.allowed = allowedEvents(c.Answers)
	for _, why := range []reason{slow, flood, expired} {
		h.dropped[why] = c.Metrics.NewCounter(`flashsale_stream_dropped_total{reason="` + string(why) + `"}`)
	}
	c.Metrics.NewGauge("flashsale_stream_clients", func() float64 { return float64(h.Clients()) })
	return h
}

// Clients returns how many there are.
func (h *Hub) Clients() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.clients)
}

// HasRoom tells whether one more client would be let in.
func (h *Hub) HasRoom() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hasRoom()
}

func (h *Hub) hasRoom() bool { return !h.closing && len(h.clients) < h.config.MaxClients }

// Permit is how long a client may stay.
type Permit struct {
	Until time.Time   // zero = no end is known
	Still func() bool // asked at every ping: something else may have ended it
}

// Serve talks with one client until it goes, is dropped, may not stay any more or the hub stops. It is called where fasthttp
// hands the connection over, once the WebSocket has been agreed on.
func (h *Hub) Serve(conn net.Conn, permit Permit) {
	c := newClient(h, conn, permit)
	if !h.enter(c) {
		c.say(parting{websocket.CloseTryAgainLater, "no room for one more client"})
		return
	}
	defer h.leave(c)
	var writer sync.WaitGroup
	writer.Go(c.write)
	c.read()
	close(c.gone)
	writer.Wait()
}

func (h *Hub) enter(c *client) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.hasRoom() {
		return false
	}
	h.clients[c] = struct{}{}
	h.present.Add(1)
	return true
}

func (h *Hub) leave(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.clients, c)
	h.present.Done()
}

// Run sends the updates until ctx ends. Then nobody is let in any more, all clients are told that the server goes away
// (1001), and those that do not close in time are cut off. When it returns, no client is served.
func (h *Hub) Run(ctx context.Context) {
	ticker := time.NewTicker(h.config.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			h.close()
			return
		case <-ticker.C:
			h.broadcast(ctx)
		}
	}
}

func (h *Hub) close() {
	h.mu.Lock()
	h.closing = true
	h.mu.Unlock()
	for _, c := range h.all() {
		c.part(parting{websocket.CloseGoingAway, "the server stops"})
	}
	left := make(chan struct{})
	go func() {
		h.present.Wait()
		close(left)
	}()
	timer := time.NewTimer(h.config.CloseWait)
	defer timer.Stop()
	select {
	case <-left:
		return
	case <-timer.C:
	}
	for _, c := range h.all() {
		c.cut()
	}
	<-left
}

func (h *Hub) all() []*client {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*client, 0, len(h.clients))
	for c := range h.clients {
		all = append(all, c)
	}
	return all
}

// subscribers returns those who want the updates.
func (h *Hub) subscribers() (all []*client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.clients {
		if c.subscribed.Load() {
			all = append(all, c)
		}
	}
	return all
}

// broadcast makes an update, if anybody wants it, and sends it to all, a part of them at a time. Between any two of them it
// goes to the end of the line: whatever else there is to do, orders above all, comes first.
func (h *Hub) broadcast(ctx context.Context) {
	listeners := h.subscribers()
	if len(listeners) == 0 {
		return
	}
	update := h.message(h.update, h.config.Interval/2) // whoever has just subscribed may have had it made
	if update.frame == nil {
		return
	}
	pause := time.NewTicker(h.config.Interval / (waveParts * waveShare))
	defer pause.Stop()
	part := (len(listeners) + waveParts - 1) / waveParts
	for i, c := range listeners {
		if i > 0 && i%part == 0 {
			select {
			case <-ctx.Done():
				return
			case <-pause.C:
			}
		}
		c.update(update)
		runtime.Gosched()
	}
}

// message returns what a shared answer has to say, or nothing where making it panicked: nothing else would catch that here.
func (h *Hub) message(s *shared, maxAge time.Duration) (made numbered) {
	defer h.survive(func() { made = numbered{} })
	return s.get(maxAge)
}

// survive logs a panic and calls after. It is to be deferred.
func (h *Hub) survive(after func()) {
	if cause := recover(); cause != nil {
		h.log.Error("stream", "panic", cause)
		after()
	}
}
