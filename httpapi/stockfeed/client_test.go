package stockfeed

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

const patience = 30 * time.Second

// pair returns the two ends of a connection of which the kernel keeps as little as of a client's.
func pair(t *testing.T) (here, there net.Conn) {
	t.Helper()
	here, there = devtest.Connected(t)
	require.NoError(t, here.(*net.TCPConn).SetWriteBuffer(maxUnderWay))
	require.NoError(t, there.SetDeadline(time.Now().Add(patience)))
	return here, there
}

// begun returns a client that has read the head, and what it reads.
func begun(t *testing.T) (*client, *bufio.Reader) {
	t.Helper()
	here, there := pair(t)
	c := newClient(here, patience, new(metrics.Counter))
	t.Cleanup(c.end)
	c.begin([]byte("HEAD\n"))
	r := bufio.NewReader(there)
	require.Equal(t, "HEAD\n"+string(prologue), next(t, r))
	devtest.Eventually(t, patience, "the head's writer to be done", func() bool { return !isBehind(c) })
	return c, r
}

func isBehind(c *client) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.behind
}

// next returns what comes until the next empty line.
func next(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	var got bytes.Buffer
	for {
		line, err := r.ReadBytes('\n')
		require.NoError(t, err)
		got.Write(line)
		if len(line) == 1 {
			return got.String()
		}
	}
}

func short(n uint64) event { return event{n, fmt.Appendf(nil, "data: %d\n\n", n)} }

// long returns an event of which the kernel takes a part where nobody reads.
func long(n uint64) event {
	return event{n, fmt.Appendf(nil, "data: %d %s\n\n", n, bytes.Repeat([]byte{'x'}, 1<<20))}
}

// requireNext fails with the beginnings of the two only: the rest of a long event tells nobody anything.
func requireNext(t *testing.T, r *bufio.Reader, want []byte) {
	t.Helper()
	got := next(t, r)
	require.True(t, got == string(want), "%.20q… of %d bytes instead of %.20q… of %d", got, len(got), want, len(want))
}

// Who reads has no goroutine woken for what it is told.
func TestWhatTheKernelTakesGoesAtOnce(t *testing.T) {
	c, r := begun(t)
	for n := range uint64(3) {
		e := short(n + 1)
		c.tell(e)
		require.False(t, isBehind(c))
		requireNext(t, r, e.bytes)
	}
	c.beat()
	require.False(t, isBehind(c))
	requireNext(t, r, heartbeat)
}

// What has begun is sent to its end, whatever else is told meanwhile, and of that the newest alone; then all goes at once again.
func TestWhoIsBehindIsToldTheNewest(t *testing.T) {
	c, r := begun(t)
	first := long(1)
	c.tell(first)
	for n := uint64(2); n <= 4; n++ {
		c.tell(short(n))
		c.beat()
	}
	require.True(t, isBehind(c))
	requireNext(t, r, first.bytes)
	requireNext(t, r, short(4).bytes)
	devtest.Eventually(t, patience, "its writer to be done", func() bool { return !isBehind(c) })
	c.tell(short(3))
	c.tell(short(4))
	c.tell(short(5))
	require.False(t, isBehind(c))
	requireNext(t, r, short(5).bytes)
}

// What is told before the head is sent follows it.
func TestTheHeadComesFirst(t *testing.T) {
	here, there := pair(t)
	c := newClient(here, patience, new(metrics.Counter))
	defer c.end()
	c.tell(short(1))
	c.beat()
	c.tell(short(2))
	c.begin([]byte("HEAD\n"))
	r := bufio.NewReader(there)
	requireNext(t, r, []byte("HEAD\n"+string(prologue)))
	requireNext(t, r, short(2).bytes)
}

func TestAnEndWaitsForWhatWaits(t *testing.T) {
	c, r := begun(t)
	c.tell(long(1))
	c.tell(short(2))
	c.finish()
	requireNext(t, r, long(1).bytes)
	requireNext(t, r, short(2).bytes)
	_, err := r.ReadByte()
	require.ErrorIs(t, err, io.EOF)
	c.tell(short(3))
	require.False(t, isBehind(c), "a connection that has ended takes nothing")
}

// Who is let go is not waited for, nor written to again.
func TestNobodyWritesAfterTheEnd(t *testing.T) {
	c, _ := begun(t)
	c.tell(long(1))
	c.end()
	here, _ := net.Pipe()
	c = newClient(here, patience, new(metrics.Counter))
	c.behind = false
	c.end()
	c.tell(short(1))
	c.beat()
	require.False(t, isBehind(c), "it has a writer that nobody waits for")
}

func TestWhoDoesNotReadIsCutOff(t *testing.T) {
	c, _ := begun(t)
	c.writeWait = time.Millisecond
	c.tell(long(1))
	c.listen()
}

// Thousands of writes don't come in one go; who watches with few others does not wait for turns.
func TestAWaveIsSpread(t *testing.T) {
	const interval = 200 * time.Millisecond
	for clients, spread := range map[int]bool{atOnce: false, 4 * atOnce: true} {
		f := New(Config{Interval: interval})
		s := newShelf("lamp")
		for i := range clients {
			c := newClient(nil, 0, nil)
			c.turn = i % turns
			s.join(c)
		}
		var waiting line
		var told []int
		began := time.Now()
		f.wave(s, &waiting, func(c *client) { told = append(told, c.turn) })
		if spread {
			require.GreaterOrEqual(t, time.Since(began), (turns-1)*interval/(turns*waveShare))
		}
		require.Len(t, told, clients)
		require.IsNonDecreasing(t, told, "each has its turn")
		for _, turn := range waiting {
			require.Empty(t, turn)
		}
	}
}
