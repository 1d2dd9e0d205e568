package stockfeed_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/stretchr/testify/require"

	"flashsale/httpapi/stockfeed"
	"flashsale/internal/devstack/devtest"
)

// dial watches a product over a connection of the kernel's.
func (s *shop) dial(product string) *buyer {
	s.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(s.t, err)
	defer ln.Close()
	here, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = here.Close() })
	there, err := ln.Accept()
	require.NoError(s.t, err)
	require.NoError(s.t, here.SetDeadline(time.Now().Add(patience)))
	s.serve.Go(func() { s.feed.Serve(there, []byte("HEAD\n"), product); _ = there.Close() })
	return &buyer{s.t, here, bufio.NewReader(here)}
}

// counting is a product that is never twice the same; each event has so many bytes.
func counting(reads *atomic.Int64, size int) func(context.Context, string) ([]byte, error) {
	pad := bytes.Repeat([]byte{'x'}, size)
	return func(context.Context, string) ([]byte, error) {
		return fmt.Appendf(nil, "%d %s", reads.Add(1), pad), nil
	}
}

// number returns the number of the next event, which must be whole.
func (b *buyer) number(size int) int64 {
	b.t.Helper()
	event := b.next()
	number, pad, _ := strings.Cut(strings.TrimPrefix(event, "event: stock|data: "), " ")
	n, err := strconv.ParseInt(number, 10, 64)
	require.NoError(b.t, err, "%.80q", event)
	require.True(b.t, pad == strings.Repeat("x", size), "event %d of %d bytes is not whole", n, len(event))
	return n
}

// Who does not read for a while finds what had begun, whole, and then how it is by now.
func TestWhoComesBackIsToldHowItIsNow(t *testing.T) {
	const size, missed = 1 << 20, 10
	var reads atomic.Int64
	s := open(t, stockfeed.Config{Read: counting(&reads, size), WriteWait: patience})
	b := s.dial("lamp")
	require.Equal(t, "HEAD|retry: 2000", b.next())
	began := reads.Load()
	devtest.Eventually(t, patience, "much to have changed", func() bool { return reads.Load() > began+missed })
	now := reads.Load()
	b.number(size)
	require.GreaterOrEqual(t, b.number(size), now-1, "it is told what was true in between")
}

// More than are told at once, some of whom come and go while others are told.
func TestAllAreToldInOrder(t *testing.T) {
	const buyers, events, size = 160, 10, 100
	var reads atomic.Int64
	s := open(t, stockfeed.Config{Read: counting(&reads, size)})
	done := make(chan struct{}, buyers)
	for i := range buyers {
		b := s.dial("lamp")
		go func() {
			defer func() { done <- struct{}{} }()
			b.next()
			last := int64(0)
			for range events / (1 + i%2) {
				n := b.number(size)
				if n <= last {
					t.Errorf("event %d after %d", n, last)
				}
				last = n
			}
			_ = b.conn.Close()
		}()
	}
	for range buyers {
		<-done
	}
	devtest.Eventually(t, patience, "all to be forgotten", func() bool { return s.feed.Clients() == 0 })
}

// A client that is stuck within an event holds up neither the others nor a stop.
func TestStoppingDoesNotWaitForWhoIsStuck(t *testing.T) {
	const size = 256 << 10
	var reads atomic.Int64
	s := open(t, stockfeed.Config{Read: counting(&reads, size), WriteWait: time.Hour})
	stuck, b := s.dial("lamp"), s.dial("lamp")
	b.next()
	for range 3 {
		b.number(size)
	}
	s.stop()
	<-s.ended
	require.Zero(t, s.feed.Clients())
	stuck.requireEnd()
	b.requireEnd()
}

func TestWhoIsStuckIsLetGo(t *testing.T) {
	var reads atomic.Int64
	set := metrics.NewSet()
	s := open(t, stockfeed.Config{Read: counting(&reads, 1<<20), WriteWait: interval, Metrics: set})
	s.dial("lamp")
	devtest.Eventually(t, patience, "it to be forgotten", func() bool { return s.feed.Clients() == 0 && reads.Load() > 0 })
	require.Equal(t, uint64(1), set.GetOrCreateCounter("flashsale_stock_stream_dropped_total").Get())
}

// Who has nothing new to read is told that there is nothing, by whoever tells everything else.
func TestASignOfLife(t *testing.T) {
	s := open(t, stockfeed.Config{Heartbeat: interval})
	b := s.dial("lamp")
	b.await(`event: stock|data: {"lamp":0}`)
	require.Equal(t, ": nothing new", b.next())
	require.Equal(t, ": nothing new", b.next())
	s.left.Store(1)
	b.await(`event: stock|data: {"lamp":1}`)
}
