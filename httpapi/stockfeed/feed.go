// Package stockfeed tells buyers how much of a product is left, as server-sent events.
//
// However many watch a product, it is read by one reader, a few times a second, and what was read is encoded once. A client
// that is slow misses what was true in between: only the newest counts.
package stockfeed

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"flashsale/internal/positive"
)

// ErrUnknown says that there is no such product. Who came while nobody could tell is let go by it.
var ErrUnknown = errors.New("there is no such product")

// Config says what is told. Zero values of durations and numbers become the defaults.
type Config struct {
	// Read returns how a product is, a JSON value without line breaks, in bounded time. After an error the clients are told
	// once that nothing is known, and it is tried again; after [ErrUnknown] they are let go.
	Read func(ctx context.Context, product string) ([]byte, error)

	MaxClients  int           // default 4096
	MaxProducts int           // that are read at a time; default 256
	Interval    time.Duration // between two reads of a product; default 500 ms
	Heartbeat   time.Duration // between two signs of life where nothing changes; default 15 s
	WriteWait   time.Duration // for one event to be written; default 5 s

	Metrics *metrics.Set // nil = a set of its own
	Logger  *slog.Logger // nil = slog.Default()
}

const (
	defaultMaxClients  = 4096
	defaultMaxProducts = 256
	defaultInterval    = 500 * time.Millisecond
	defaultHeartbeat   = 15 * time.Second
	defaultWriteWait   = 5 * time.Second
)

// Clients are told of a change in so many turns within half an interval, so that thousands of writes don't stand between
// orders and the processor all at once.
const turns = 16

func (c Config) withDefaults() Config {
	c.MaxClients = positive.Or(c.MaxClients, defaultMaxClients)
	c.MaxProducts = positive.Or(c.MaxProducts, defaultMaxProducts)
	c.Interval = positive.Or(c.Interval, defaultInterval)
	c.Heartbeat = positive.Or(c.Heartbeat, defaultHeartbeat)
	c.WriteWait = positive.Or(c.WriteWait, defaultWriteWait)
	if c.Metrics == nil {
		c.Metrics = metrics.NewSet()
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// Feed knows all who watch.
type Feed struct {
	config Config
	stop   chan struct{} // closed when the feed ends

	mu      sync.Mutex
	shelves map[string]*shelf
	conns   map[net.Conn]struct{}
	joined  uint64 // clients so far
	closing bool
	running sync.WaitGroup // clients and readers
}

// New returns a feed. It lets go of its clients in [Feed.Run]. One set of metrics takes one feed.
func New(c Config) *Feed {
	f := &Feed{
		config: c.withDefaults(), stop: make(chan struct{}), shelves: make(map[string]*shelf), conns: make(map[net.Conn]struct{}),
	}
	f.config.Metrics.NewGauge("flashsale_stock_stream_clients", func() float64 { return float64(f.Clients()) })
	return f
}

// Clients returns how many there are.
func (f *Feed) Clients() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.conns)
}

// HasRoom tells whether one more client of a product would be let in.
func (f *Feed) HasRoom(product string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hasRoom(product)
}

func (f *Feed) hasRoom(product string) bool {
	_, read := f.shelves[product]
	return !f.closing && len(f.conns) < f.config.MaxClients && (read || len(f.shelves) < f.config.MaxProducts)
}

// Watched tells whether a product is being watched, so that it need not be read to let one more in.
func (f *Feed) Watched(product string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.shelves[product] != nil
}

// Run waits until ctx ends, lets nobody in any more, and returns when all clients are gone.
func (f *Feed) Run(ctx context.Context) {
	<-ctx.Done()
	f.mu.Lock()
	if !f.closing {
		f.closing = true
		close(f.stop)
	}
	for conn := range f.conns {
		_ = conn.Close() // whoever wants to know more connects again
	}
	f.mu.Unlock()
	f.running.Wait()
}

// maxUnderWay is what the kernel keeps for a client that does not read, in bytes, about: by itself it would be megabytes, of
// events that are old.
const maxUnderWay = 16 << 10

// Serve sends a client the head of the answer, how the product is, and every change, until it goes or the feed ends. The
// connection is the one below fasthttp's cover, closed by whoever comes first. It returns false, and has sent nothing, where
// there is no room.
func (f *Feed) Serve(conn net.Conn, head []byte, product string) bool {
	s, turn := f.enter(conn, product)
	if s == nil {
		return false
	}
	defer f.leave(conn, s)
	if bounded, ok := conn.(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = bounded.SetWriteBuffer(maxUnderWay) // without it the client costs more, and is dropped later
	}
	gone := make(chan struct{})
	var listener sync.WaitGroup
	listener.Go(func() {
		defer close(gone)
		_, _ = conn.Read(make([]byte, 1)) // a client has nothing more to say: whatever comes is the end
	})
	c := client{feed: f, conn: conn, delay: time.Duration(turn%turns) * f.config.Interval / (2 * turns), gone: gone}
	c.write(head, s)
	_ = conn.Close()
	listener.Wait()
	return true
}

// enter returns the product's shelf, with a reader, and the number of the client; nil = there is no room.
func (f *Feed) enter(conn net.Conn, product string) (*shelf, uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.hasRoom(product) {
		return nil, 0
	}
	s := f.shelves[product]
	if s == nil {
		s = newShelf(product)
		f.shelves[product] = s
		f.running.Go(func() { f.read(s) })
	}
	s.clients++
	f.conns[conn] = struct{}{}
	f.running.Add(1)
	f.joined++
	return s, f.joined
}

func (f *Feed) leave(conn net.Conn, s *shelf) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, conn)
	if s.clients--; s.clients == 0 {
		delete(f.shelves, s.product)
		close(s.abandoned)
	}
	f.running.Done()
}

// read keeps a shelf up to date as long as somebody looks at it, and the product is not known to be none.
func (f *Feed) read(s *shelf) {
	tick := time.NewTicker(f.config.Interval)
	defer tick.Stop()
	for {
		event, err := f.frame(s.product)
		if err != nil {
			close(s.unknown)
			return
		}
		s.publish(event)
		select {
		case <-tick.C:
		case <-s.abandoned:
			return
		case <-f.stop:
			return
		}
	}
}

var unavailable = []byte("event: unavailable\ndata: {\"detail\":\"the stock can't be read right now\"}\n\n")

// frame reads a product and returns the event that tells how it is, or [ErrUnknown].
func (f *Feed) frame(product string) (event []byte, err error) {
	defer func() {
		if cause := recover(); cause != nil { // nothing else would catch it on this goroutine
			f.config.Logger.Error("stock stream", "product", product, "panic", cause)
			event, err = unavailable, nil
		}
	}()
	data, err := f.config.Read(context.Background(), product)
	switch {
	case errors.Is(err, ErrUnknown):
		return nil, ErrUnknown
	case err != nil:
		return unavailable, nil
	}
	return append(append([]byte("event: stock\ndata: "), data...), "\n\n"...), nil
}

// shelf is how a product was read last.
type shelf struct {
	product   string
	clients   int           // under the feed's lock
	abandoned chan struct{} // closed when the last of them goes
	unknown   chan struct{} // closed when there is no such product

	mu      sync.Mutex
	event   []byte
	changed chan struct{} // closed when there is another event
}

func newShelf(product string) *shelf {
	return &shelf{product: product, abandoned: make(chan struct{}), unknown: make(chan struct{}), changed: make(chan struct{})}
}

// publish puts out an event, unless it is the one that is there.
func (s *shelf) publish(event []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes.Equal(event, s.event) {
		return
	}
	s.event = event
	close(s.changed)
	s.changed = make(chan struct{})
}

// latest returns the newest event, empty where there is none yet, and what is closed when it is not the newest any more.
func (s *shelf) latest() (event []byte, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.event, s.changed
}
