package stockfeed_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"flashsale/httpapi/stockfeed"
	"flashsale/internal/devstack/devtest"
)

const (
	interval = 20 * time.Millisecond
	patience = 30 * time.Second // for what must happen soon
)

// shop is a feed and what it reads.
type shop struct {
	t     *testing.T
	feed  *stockfeed.Feed
	left  atomic.Int64
	away  atomic.Bool
	reads atomic.Int64
	stop  context.CancelFunc
	ended chan struct{}
	serve sync.WaitGroup
}

// open starts a feed; nothing may be left running when the test ends.
func open(t *testing.T, config stockfeed.Config) *shop {
	t.Helper()
	before := goleak.IgnoreCurrent()
	s := &shop{t: t, ended: make(chan struct{})}
	config.Interval = interval
	if config.Read == nil {
		config.Read = s.look
	}
	s.feed = stockfeed.New(config)
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go func() { defer close(s.ended); s.feed.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-s.ended
		s.serve.Wait()
		goleak.VerifyNone(t, before)
	})
	return s
}

// look reads a product of the shop's.
func (s *shop) look(_ context.Context, product string) ([]byte, error) {
	s.reads.Add(1)
	if product == "broken" {
		panic("no such drawer")
	}
	if product == "none" && !s.away.Load() {
		return nil, fmt.Errorf("look: %w", stockfeed.ErrUnknown)
	}
	if s.away.Load() {
		return nil, errors.New("no store")
	}
	return fmt.Appendf(nil, `{%q:%d}`, product, s.left.Load()), nil
}

// buyer reads one connection.
type buyer struct {
	t      *testing.T
	conn   net.Conn
	reader *bufio.Reader
}

func (s *shop) watch(product string) *buyer {
	s.t.Helper()
	here, there := net.Pipe()
	require.NoError(s.t, here.SetDeadline(time.Now().Add(patience))) // which a pipe that was closed already refuses
	s.serve.Go(func() { s.feed.Serve(there, []byte("HEAD\n"), product); _ = there.Close() })
	s.t.Cleanup(func() { _ = here.Close() })
	return &buyer{s.t, here, bufio.NewReader(here)}
}

// next returns the next event, without its line breaks.
func (b *buyer) next() string {
	b.t.Helper()
	var lines []string
	for {
		line, err := b.reader.ReadString('\n')
		require.NoError(b.t, err)
		if line == "\n" {
			return strings.Join(lines, "|")
		}
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
}

func (b *buyer) await(event string) {
	b.t.Helper()
	for b.next() != event {
		continue
	}
}

func (b *buyer) requireEnd() {
	b.t.Helper()
	for {
		if _, err := b.reader.ReadString('\n'); err != nil {
			var timeout net.Error
			require.False(b.t, errors.As(err, &timeout) && timeout.Timeout(), "it must end by itself")
			return
		}
	}
}

// Whoever comes is told at once how it is, and then whatever changes; one reader reads for all.
func TestAllAreToldByOneReader(t *testing.T) {
	s := open(t, stockfeed.Config{})
	s.left.Store(34)
	var buyers []*buyer
	for range 20 {
		b := s.watch("lamp")
		require.Equal(t, "HEAD|retry: 2000", b.next())
		require.Equal(t, `event: stock|data: {"lamp":34}`, b.next())
		buyers = append(buyers, b)
	}
	began, before := time.Now(), s.reads.Load()
	s.left.Store(33)
	for _, b := range buyers {
		b.await(`event: stock|data: {"lamp":33}`)
	}
	require.LessOrEqual(t, s.reads.Load()-before, int64(time.Since(began)/interval)+2, "each client had it read")
	require.Equal(t, 20, s.feed.Clients())
	require.True(t, s.feed.Watched("lamp"))
	other := s.watch("tent")
	other.await(`event: stock|data: {"tent":33}`)
}

// A storm of sales is told a few times a second: what was true in between is left out.
func TestWhatWasTrueInBetweenIsLeftOut(t *testing.T) {
	s := open(t, stockfeed.Config{})
	b := s.watch("lamp")
	b.await(`event: stock|data: {"lamp":0}`)
	began, reads := time.Now(), s.reads.Load()
	for i := range int64(100_000) {
		s.left.Store(i + 1)
	}
	b.await(`event: stock|data: {"lamp":100000}`)
	require.LessOrEqual(t, s.reads.Load()-reads, int64(time.Since(began)/interval)+2)
}

func TestNobodyReadsWhereNobodyWatches(t *testing.T) {
	s := open(t, stockfeed.Config{})
	first, second := s.watch("lamp"), s.watch("lamp")
	first.await(`event: stock|data: {"lamp":0}`)
	second.await(`event: stock|data: {"lamp":0}`)
	require.NoError(t, first.conn.Close())
	devtest.Eventually(t, patience, "one to be left", func() bool { return s.feed.Clients() == 1 })
	require.True(t, s.feed.Watched("lamp"))
	require.NoError(t, second.conn.Close())
	devtest.Eventually(t, patience, "none to be left", func() bool { return s.feed.Clients() == 0 && !s.feed.Watched("lamp") })
}

func TestAStoreThatIsAwayIsToldOnce(t *testing.T) {
	s := open(t, stockfeed.Config{Heartbeat: 3 * interval})
	b := s.watch("lamp")
	b.await(`event: stock|data: {"lamp":0}`)
	s.away.Store(true)
	b.await(`event: unavailable|data: {"detail":"the stock can't be read right now"}`)
	require.Equal(t, ": nothing new", b.next(), "it is not told again")
	s.away.Store(false)
	b.await(`event: stock|data: {"lamp":0}`)
}

// Who came while nobody could tell is let go once it is known that there is no such product; its place is free.
func TestWatchersOfNothingAreLetGo(t *testing.T) {
	s := open(t, stockfeed.Config{})
	s.away.Store(true)
	b := s.watch("none")
	b.await(`event: unavailable|data: {"detail":"the stock can't be read right now"}`)
	s.away.Store(false)
	b.requireEnd()
	devtest.Eventually(t, patience, "its place to be free", func() bool { return s.feed.Clients() == 0 && !s.feed.Watched("none") })
}

// A fault of ours is for the log; whoever watches another product does not notice.
func TestAPanicIsLogged(t *testing.T) {
	var log devtest.Output
	s := open(t, stockfeed.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	s.watch("broken").await(`event: unavailable|data: {"detail":"the stock can't be read right now"}`)
	s.watch("lamp").await(`event: stock|data: {"lamp":0}`)
	require.Contains(t, log.String(), `product=broken panic="no such drawer"`)
}

func TestThereIsRoomForSoMany(t *testing.T) {
	s := open(t, stockfeed.Config{MaxClients: 3, MaxProducts: 2})
	s.watch("lamp").await(`event: stock|data: {"lamp":0}`)
	s.watch("tent").await(`event: stock|data: {"tent":0}`)
	require.True(t, s.feed.HasRoom("lamp"))
	require.False(t, s.feed.HasRoom("boat"), "as many products are read as may be")
	s.watch("boat").requireEnd()
	last := s.watch("lamp")
	last.await(`event: stock|data: {"lamp":0}`)
	require.False(t, s.feed.HasRoom("lamp"))
	s.watch("lamp").requireEnd()
	require.NoError(t, last.conn.Close())
	devtest.Eventually(t, patience, "a place to be free", func() bool { return s.feed.HasRoom("lamp") })
}

// A client has nothing to say, and one that does not read is let go.
func TestWhoTalksOrDoesNotReadIsLetGo(t *testing.T) {
	s := open(t, stockfeed.Config{WriteWait: interval})
	talks, stuck := s.watch("lamp"), s.watch("lamp")
	talks.await(`event: stock|data: {"lamp":0}`)
	_, err := talks.conn.Write([]byte("G"))
	require.NoError(t, err)
	talks.requireEnd()
	_ = stuck
	devtest.Eventually(t, patience, "both to be forgotten", func() bool { return s.feed.Clients() == 0 })
}

func TestStoppingLetsAllGo(t *testing.T) {
	s := open(t, stockfeed.Config{WriteWait: time.Minute})
	b, stuck := s.watch("lamp"), s.watch("lamp")
	b.await(`event: stock|data: {"lamp":0}`)
	s.stop()
	b.requireEnd()
	<-s.ended
	require.Zero(t, s.feed.Clients())
	require.False(t, s.feed.HasRoom("lamp"))
	stuck.requireEnd()
}

// A feed that is run for two listeners ends with the first of them, once.
func TestStoppingTwiceIsStopping(t *testing.T) {
	s := open(t, stockfeed.Config{})
	s.stop()
	<-s.ended
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.feed.Run(ctx)
	require.False(t, s.feed.HasRoom("lamp"))
}

// boundedConn notes what the kernel is asked to keep of it.
type boundedConn struct {
	net.Conn
	bytes atomic.Int64
}

func (c *boundedConn) SetWriteBuffer(bytes int) error {
	c.bytes.Store(int64(bytes))
	return nil
}

// Nobody who does not read costs more of the kernel's memory than a few events.
func TestLittleIsUnderWayToAClient(t *testing.T) {
	s := open(t, stockfeed.Config{})
	here, there := net.Pipe()
	conn := &boundedConn{Conn: there}
	s.serve.Go(func() { s.feed.Serve(conn, []byte("HEAD\n"), "lamp") })
	_, err := here.Read(make([]byte, 1))
	require.NoError(t, err)
	require.Positive(t, conn.bytes.Load())
	require.LessOrEqual(t, conn.bytes.Load(), int64(64<<10))
	require.NoError(t, here.Close())
}
