// Package stockfeed tells buyers how much of a product is left, as server-sent events.
//
// However many watch a product, it is read by one reader, a few times a second, and what was read is encoded once. The reader
// hands it to the kernel for all of them itself, so that a client costs a write and no more. A client that is slow misses what was
// true in between: only the newest counts.
package stockfeed

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime"
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
	Heartbeat   time.Duration // between two signs of life where nothing changes, and up to an Interval and a Read; default 15 s
	WriteWait   time.Duration // for what the kernel did not take at once to be written; default 5 s

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

// Clients are told of a change in turns within a part of the interval, so that thousands of writes don't stand between orders
// and the processor all at once. Each keeps its turn, and so its distance from one event to the next.
const (
	turns     = 16
	waveShare = 2  // of the interval: one in so many
	atOnce    = 64 // clients of a product that are too few for turns
)

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
	slow   *metrics.Counter

	mu      sync.Mutex
	shelves map[string]*shelf
	clients map[*client]struct{}
	joined  uint64 // clients so far
	closing bool
	running sync.WaitGroup // clients and readers
}

// New returns a feed. It lets go of its clients in [Feed.Run]. One set of metrics takes one feed.
func New(c Config) *Feed {
	f := &Feed{
		config: c.withDefaults(), stop: make(chan struct{}), shelves: make(map[string]*shelf), clients: make(map[*client]struct{}),
	}
	f.slow = f.config.Metrics.NewCounter("flashsale_stock_stream_dropped_total")
	f.config.Metrics.NewGauge("flashsale_stock_stream_clients", func() float64 { return float64(f.Clients()) })
	return f
}

// Clients returns how many there are.
func (f *Feed) Clients() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.clients)
}

// HasRoom tells whether one more client of a product would be let in.
func (f *Feed) HasRoom(product string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hasRoom(product)
}

func (f *Feed) hasRoom(product string) bool {
	_, read := f.shelves[product]
	return !f.closing && len(f.clients) < f.config.MaxClients && (read || len(f.shelves) < f.config.MaxProducts)
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
	for c := range f.clients {
		c.cut() // whoever wants to know more connects again
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
	c := newClient(conn, f.config.WriteWait, f.slow)
	s := f.enter(c, product)
	if s == nil {
		return false
	}
	defer f.leave(c, s)
	if bounded, ok := conn.(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = bounded.SetWriteBuffer(maxUnderWay) // without it the client costs more, and is dropped later
	}
	c.begin(head)
	c.listen()
	c.end()
	return true
}

// enter has a client join the product's shelf, which has a reader; nil = there is no room.
func (f *Feed) enter(c *client, product string) *shelf {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.hasRoom(product) {
		return nil
	}
	c.turn = int(f.joined % turns)
	f.joined++
	s := f.shelves[product]
	if s == nil {
		s = newShelf(product)
		f.shelves[product] = s
		f.running.Go(func() { f.read(s) })
	}
	s.join(c)
	f.clients[c] = struct{}{}
	f.running.Add(1)
	return s
}

func (f *Feed) leave(c *client, s *shelf) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.clients, c)
	if s.leave(c) {
		delete(f.shelves, s.product)
		close(s.abandoned)
	}
	f.running.Done()
}

// read keeps a shelf up to date, and who watches it, as long as somebody does and the product is not known to be none.
func (f *Feed) read(s *shelf) {
	tick := time.NewTicker(f.config.Interval)
	defer tick.Stop()
	var waiting line
	told := time.Now()
	for {
		now, err := f.frame(s.product)
		if err != nil {
			s.close()
			return
		}
		switch e, changed := s.publish(now); {
		case changed:
			f.wave(s, &waiting, func(c *client) { c.tell(e) })
			told = time.Now()
		case time.Since(told) >= f.config.Heartbeat:
			f.wave(s, &waiting, (*client).beat)
			told = time.Now()
		}
		select {
		case <-tick.C:
		case <-s.abandoned:
			return
		case <-f.stop:
			return
		}
	}
}

// wave tells all who watch a product something, a part of them at a time. Between any two of them it goes to the end of the
// line: whatever else there is to do, orders above all, comes first.
func (f *Feed) wave(s *shelf, waiting *line, tell func(*client)) {
	defer waiting.disperse()
	many := s.lineUp(waiting) > atOnce
	pause := time.NewTicker(f.config.Interval / (turns * waveShare))
	defer pause.Stop()
	for turn, clients := range waiting {
		if many && turn > 0 {
			select {
			case <-pause.C:
			case <-f.stop:
				return
			}
		}
		for _, c := range clients {
			tell(c)
			runtime.Gosched()
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
