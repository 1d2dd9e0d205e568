// Package watch opens many clients of a service's stream, as people who watch a sale do, and counts what they are told.
package watch

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fasthttp/websocket"
)

// Options say who watches what. All must be set, but Token.
type Options struct {
	Target  string // base URL of the service
	Token   string // a monitor's; "" = none is asked for
	Clients int
	For     time.Duration // from when all of them are there
}

// Result is what they were told.
type Result struct {
	Clients int   // that were there to the end
	Lost    int   // that the service let go of, or that went silent
	Updates int64 // of the figures, to all of them, while all were there
	Took    time.Duration
}

// PerClient returns how many updates a client got a second; one, where all is well.
func (r Result) PerClient() float64 {
	return float64(r.Updates) / float64(max(1, r.Clients)) / max(r.Took.Seconds(), 1e-9)
}

const (
	dialing  = 32               // at once
	patience = 10 * time.Second // for a connection, and for the next update
)

var subscribe = []byte(`{"event":"subscribe-metrics"}`)

var update = []byte(`{"event":"metrics-update"`)

// Run opens the clients and returns what they were told. It ends early, without an error, with ctx or when none is left; a client
// that is not let in is an error.
func Run(ctx context.Context, o Options) (Result, error) {
	crowd := crowd{header: http.Header{}, address: strings.Replace(strings.TrimRight(o.Target, "/"), "http", "ws", 1) + "/monitoring/stream"}
	if o.Token != "" {
		crowd.header.Set("Sec-WebSocket-Protocol", "flashsale, flashsale.bearer."+base64.RawURLEncoding.EncodeToString([]byte(o.Token)))
	}
	defer crowd.leave()
	if err := crowd.come(ctx, o.Clients); err != nil {
		return Result{}, err
	}
	began, before := time.Now(), crowd.updates.Load()
	timer := time.NewTimer(o.For)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-crowd.gone():
	}
	lost := int(crowd.lost.Load())
	return Result{Clients: o.Clients - lost, Lost: lost, Updates: crowd.updates.Load() - before, Took: time.Since(began)}, nil
}

// crowd are all clients.
type crowd struct {
	address string
	header  http.Header

	updates atomic.Int64
	lost    atomic.Int64

	mu      sync.Mutex
	sockets []*websocket.Conn
	reading sync.WaitGroup
}

// come opens n clients, some at a time.
func (c *crowd) come(ctx context.Context, n int) error {
	var dials sync.WaitGroup
	failures := make([]error, dialing)
	for i := range dialing {
		dials.Go(func() {
			for k := i; k < n && failures[i] == nil; k += dialing {
				failures[i] = c.join(ctx)
			}
		})
	}
	dials.Wait()
	for _, failure := range failures { // the others say the same
		if failure != nil {
			return failure
		}
	}
	return nil
}

func (c *crowd) join(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	socket, answer, err := websocket.DefaultDialer.DialContext(ctx, c.address, c.header)
	if answer != nil {
		defer answer.Body.Close()
	}
	if err != nil {
		if answer != nil {
			return fmt.Errorf("watch %s: status %d: %w", c.address, answer.StatusCode, err)
		}
		return fmt.Errorf("watch %s: %w", c.address, err)
	}
	c.mu.Lock()
	c.sockets = append(c.sockets, socket)
	c.mu.Unlock()
	if err := socket.WriteMessage(websocket.TextMessage, subscribe); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	c.reading.Go(func() { c.read(socket) })
	return nil
}

// read counts updates until the connection ends or nothing comes.
func (c *crowd) read(socket *websocket.Conn) {
	defer c.lost.Add(1)
	for socket.SetReadDeadline(time.Now().Add(patience)) == nil {
		_, message, err := socket.ReadMessage()
		if err != nil {
			return
		}
		if bytes.HasPrefix(message, update) {
			c.updates.Add(1)
		}
	}
}

// gone is closed when none is left.
func (c *crowd) gone() <-chan struct{} {
	none := make(chan struct{})
	go func() { // over at the latest when leave is
		c.reading.Wait()
		close(none)
	}()
	return none
}

func (c *crowd) leave() {
	c.mu.Lock()
	for _, socket := range c.sockets {
		_ = socket.Close()
	}
	c.mu.Unlock()
	c.reading.Wait()
}
