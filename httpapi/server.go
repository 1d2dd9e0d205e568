// Package httpapi answers HTTP: it decodes strictly, asks the engine or the ledger through the small interfaces declared
// here, and says what came of it in JSON, errors as RFC 9457 problem documents with a stable code.
//
// Every route stands in one table (routes.go), each with the scope that may call it, at / and at /api/v1.
package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"

	"flashsale/engine"
	"flashsale/httpapi/stockfeed"
	"flashsale/httpapi/stream"
	"flashsale/internal/positive"
)

// Reserver decides orders and tells about partitions; *engine.Engine is one.
type Reserver interface {
	// Reserve decides an order, in bounded time, and mints its id. An error that is no *engine.Error is answered as internal.
	Reserve(r *engine.Reservation, now time.Time) error
	// DrainRate returns how many orders a second of a partition reach the ledger; 0 = not known.
	DrainRate(partition int) float64
	// Partitions returns how many partitions there are.
	Partitions() int
	// State returns what is known of a partition, without asking anybody.
	State(partition int) engine.PartitionState
	// TimeOf returns the time by which a product's window of sale is decided, without asking anybody.
	TimeOf(product string) time.Time
}

// Orders finds orders, wherever they are now.
type Orders interface {
	// Order returns an order with its product, or an *engine.Error with CodeNotFound.
	Order(ctx context.Context, id engine.OrderID) (engine.OrderView, error)
	History
}

// Catalog keeps the products. Its errors are *engine.Error where the caller is at fault.
type Catalog interface {
	// Products returns at most limit products in the order of their ids, beginning behind the id after.
	Products(ctx context.Context, after string, limit int) ([]engine.Product, error)
	// Product returns one product, or CodeNotFound.
	Product(ctx context.Context, id string) (engine.Product, error)
	// CreateProduct makes a product, or says CodeInvalidState where its id is taken.
	CreateProduct(ctx context.Context, p engine.NewProduct) (engine.Product, error)
	// ChangeProduct changes a product and returns it as it is then. It checks a window of which only one end changes.
	ChangeProduct(ctx context.Context, id string, c engine.ProductChange) (engine.Product, error)
	// StockTotals sums up the live counters of all products.
	StockTotals(ctx context.Context) (engine.StockTotals, error)
	// Recount replaces the counters of products by those that Redis has now. It needs no ledger.
	Recount(ctx context.Context, products []engine.Product) error
}

// Check asks something that the service lives on for a sign of life. Its name is shown; its error is only logged.
type Check struct {
	Name  string // "redis", "postgres"
	Probe func(context.Context) error

	OrdersGoOn bool   // while it fails
	Meanwhile  string // what that means for orders, in words; "" = nothing is said
}

// Deps are what the server asks.
type Deps struct {
	Reserver    Reserver
	Transitions Transitions
	Orders      Orders
	Catalog     Catalog
	Checks      []Check
	Gauges      Gauges // nil = /metrics shows only what this process has counted
	TopProducts int    // whose stock /metrics shows, those that sold most; 0 = none

	// Reconciled returns the last comparison of Redis with the ledger; ok is false where there was none. nil = nobody knows.
	Reconciled func() (last engine.Reconciled, ok bool)
}

// Config are the settings of a server. Zero values become the defaults.
type Config struct {
	AdminToken string   // for `Authorization: Bearer`, beside what Tokens lets in; "" = none
	Tokens     Verifier // nil = whoever reaches the server may act for any buyer and read its figures
	Version    string   // shown by health
	Origin     string   // whose pages may read answers (CORS), as by [OriginOf]; "" = none

	MaxHold time.Duration // longest hold that may be asked for, as the engine has it; default 15 min

	MaxBody         int           // bytes; default 4096
	MaxConnsPerIP   int           // connections of one IPv4 address or IPv6 /64, but for TrustedProxies; 0 = no limit
	ReadTimeout     time.Duration // for a whole request; default 5 s
	WriteTimeout    time.Duration // for a whole answer; default 5 s
	IdleTimeout     time.Duration // between two requests of a connection; default 60 s
	RequestTimeout  time.Duration // for all but placing orders, which the engine bounds; default 3 s
	ShutdownTimeout time.Duration // for requests in flight when the server stops; default 3 s

	AddressLimit   Limit            // requests of one IPv4 address or IPv6 /64, but for those of the probes and /metrics
	UserLimit      Limit            // orders of one user
	TrustedProxies []netip.Prefix   // whose X-Forwarded-For is believed, as by [ParseProxies]
	Clock          func() time.Time // of both limits and of what is told again; nil = time.Now
	MetricsApart   bool             // /metrics is not served here but by ServeMetrics
	Pprof          bool             // ServeMetrics serves pprof too
	Demo           bool             // the demo shop is served
	Preparing      func() string    // what is to be done still until the server is ready, in words; "" = nothing; nil = never anything

	Streams *StreamLimits // nil = the defaults

	Metrics *metrics.Set // where the server's metrics are made and what /metrics shows; nil = a set of its own
	Logger  *slog.Logger // nil = slog.Default()
}

// StreamLimits bound the connections that stay. Zero values become the defaults.
type StreamLimits struct {
	Watchers int           // WebSocket clients; default 1024
	Buyers   int           // clients that are told the stock of a product; default 4096
	Ping     time.Duration // between two pings of a WebSocket; default 25 s
}

const (
	defaultMaxHold         = 15 * time.Minute
	defaultMaxBody         = 4096
	defaultReadTimeout     = 5 * time.Second
	defaultWriteTimeout    = 5 * time.Second
	defaultIdleTimeout     = time.Minute
	defaultRequestTimeout  = 3 * time.Second
	defaultShutdownTimeout = 3 * time.Second

	// cutGrace is what is left for saying so to those whose requests did not arrive before a stop.
	cutGrace = 300 * time.Millisecond

	// streamWriteWait is how long a client of a stream may take to read one message or event.
	streamWriteWait = 5 * time.Second

	// maxHeader bounds the head of a request, in bytes.
	maxHeader = 8 << 10
)

func (c Config) withDefaults() Config {
	c.MaxHold = positive.Or(c.MaxHold, defaultMaxHold)
	c.MaxBody = positive.Or(c.MaxBody, defaultMaxBody)
	c.ReadTimeout = positive.Or(c.ReadTimeout, defaultReadTimeout)
	c.WriteTimeout = positive.Or(c.WriteTimeout, defaultWriteTimeout)
	c.IdleTimeout = positive.Or(c.IdleTimeout, defaultIdleTimeout)
	c.RequestTimeout = positive.Or(c.RequestTimeout, defaultRequestTimeout)
	c.ShutdownTimeout = positive.Or(c.ShutdownTimeout, defaultShutdownTimeout)
	if c.Streams == nil {
		c.Streams = &StreamLimits{}
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Metrics == nil {
		c.Metrics = metrics.NewSet()
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Preparing == nil {
		c.Preparing = func() string { return "" }
	}
	return c
}

// Server answers HTTP on listeners that it is given.
type Server struct {
	deps    Deps
	config  Config
	log     *slog.Logger
	fast    *fasthttp.Server
	route   fasthttp.RequestHandler
	admin   adminKey
	anybody *caller // whoever comes without having to say who it is
	metrics *serverMetrics
	traffic *traffic
	known   map[*engine.Error][]byte // problem documents of the values made once
	calls   sync.Pool                // *orderCall
	checks  []*watchedCheck
	limits  limits
	hub     *stream.Hub
	feed    *stockfeed.Feed

	sums       stockSums
	shelves    shelves
	gauges     sampler
	lastChecks lastChecks
	opened     atomic.Bool // deps are there
	process    string      // the beginning of the request ids that are made here
	stopping   atomic.Bool
}

// New returns a server. It serves nothing until [Server.Serve]. Where deps has no Reserver yet it refuses whatever needs
// the stores, and says so in health, until [Server.Open]. One set of metrics takes one server.
func New(deps Deps, config Config) *Server {
	config = config.withDefaults()
	s := &Server{
		deps: deps, config: config, log: config.Logger,
		admin: newAdminKey(config.AdminToken), metrics: newServerMetrics(config.Metrics),
		known: knownProblems(), checks: watchChecks(deps.Checks), anybody: anybodyOf(config.Tokens),
		process: newProcessID(),
	}
	s.limits = newLimits(&s.config, s.metrics)
	s.traffic = newTraffic(s.metrics)
	s.calls.New = func() any { return newOrderCall(config.MaxHold) }
	s.hub, s.feed = s.newHub(), s.newFeed()
	s.route = s.newRouter().Handler
	s.fast = s.newFastServer()
	s.opened.Store(deps.Reserver != nil)
	return s
}

func (s *Server) newFastServer() *fasthttp.Server {
	return &fasthttp.Server{
		Handler:        s.handle,
		ErrorHandler:   s.refuseUnreadable,
		HeaderReceived: dropFramingInDoubt,

		MaxRequestBodySize: s.config.MaxBody,
		ReadBufferSize:     maxHeader,
		ReadTimeout:        s.config.ReadTimeout,
		WriteTimeout:       s.config.WriteTimeout,
		IdleTimeout:        s.config.IdleTimeout,

		NoDefaultServerHeader:        true,
		DisablePreParseMultipartForm: true, // it would read past MaxRequestBodySize into files
		SecureErrorLogMessage:        true,
		Logger:                       fastLogger{s.log},
	}
}

// Serve answers requests on ln until ctx ends. Then it stops accepting, has the requests in flight answered for at most
// ShutdownTimeout, cuts off what is left and returns nil, or an error that says that a request had arrived and was not
// answered.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	tracked := trackConns(ln, s.config.MaxConnsPerIP)
	tracked.proxies, tracked.slack = s.limits.proxies, s.config.deadlineSlack()
	defer s.runStreams(ctx)()
	served := make(chan error, 1)
	go func() { served <- s.fast.Serve(tracked) }()
	select {
	case err := <-served:
		_ = tracked.Close()
		tracked.closeConns(true)
		if err != nil {
			return fmt.Errorf("serve http: %w", err)
		}
		return nil
	case <-ctx.Done():
	}
	err := s.shutdown(context.WithoutCancel(ctx), tracked)
	return errors.Join(err, <-served)
}

// deadlineParts is which part of the shortest timeout a connection's deadline may come early by.
const deadlineParts = 16

func (c *Config) deadlineSlack() time.Duration {
	return min(c.ReadTimeout, c.WriteTimeout, c.IdleTimeout, streamWriteWait) / deadlineParts
}

// runStreams serves the streams until ctx ends, or at the latest until what it returns is called, which waits for them:
// fasthttp does not.
func (s *Server) runStreams(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { s.hub.Run(ctx) })
	running.Go(func() { s.feed.Run(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

func (s *Server) shutdown(ctx context.Context, tracked *trackedListener) error {
	s.stopping.Store(true)
	tracked.stopping.Store(true)
	_ = tracked.Close()
	tracked.closeConns(false)
	ctx, cancel := context.WithTimeout(ctx, s.config.ShutdownTimeout+cutGrace)
	defer cancel()
	halves := make(chan int, 1)
	late := time.AfterFunc(s.config.ShutdownTimeout, func() { halves <- tracked.stopReading() })
	err := s.fast.ShutdownWithContext(ctx)
	cut := 0
	if !late.Stop() {
		cut = <-halves
	}
	if err != nil {
		tracked.closeConns(true)
		return fmt.Errorf("answer the requests in flight: %w", err)
	}
	if cut > 0 {
		s.log.Warn("requests that had not arrived were cut off", "connections", cut)
	}
	return nil
}

// requestContext bounds what a handler waits for. It is no child of Serve's context: a request in flight is answered.
func (s *Server) requestContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), s.config.RequestTimeout)
}

// fastLogger hands fasthttp's complaints about connections to the log.
type fastLogger struct{ log *slog.Logger }

// Printf logs one complaint, in detail only: anybody who speaks another language to the port makes one.
func (l fastLogger) Printf(format string, args ...any) {
	l.log.Debug("http connection", "detail", fmt.Sprintf(format, args...))
}
