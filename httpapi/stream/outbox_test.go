package stream

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

const patience = 30 * time.Second

// served returns a client whose writer does not run, and the other end of it, which has not read anything.
func served(t *testing.T) (*client, *websocket.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	clients, over := make(chan *client, 1), make(chan struct{})
	upgrader := websocket.FastHTTPUpgrader{}
	server := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
		_ = upgrader.Upgrade(ctx, nil)
		ctx.Hijack(func(conn net.Conn) {
			clients <- newClient(New(Config{}), conn, Permit{})
			<-over
		})
	}}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ln) }()
	socket, response, err := websocket.DefaultDialer.Dial("ws://"+ln.Addr().String(), nil)
	require.NoError(t, err)
	_ = response.Body.Close()
	require.NoError(t, socket.SetReadDeadline(time.Now().Add(patience)))
	t.Cleanup(func() {
		close(over)
		_ = socket.Close()
		require.NoError(t, server.Shutdown())
		require.NoError(t, <-ended)
	})
	return <-clients, socket
}

func posted(t *testing.T) (*outbox, *websocket.Conn) {
	c, socket := served(t)
	return c.outbox, socket
}

// long returns the n-th of messages that are long enough for some of them to fill the kernel.
func long(n uint32) frame {
	return newFrame(websocket.BinaryMessage, append(binary.BigEndian.AppendUint32(nil, n), bytes.Repeat([]byte{'x'}, 1<<20)...))
}

// fill puts messages until one does not go at once, and returns how many there are.
func fill(t *testing.T, o *outbox) (count uint32) {
	t.Helper()
	for ; len(o.queue) == 0; count++ {
		require.NoError(t, o.put(long(count)))
	}
	return count
}

func requireNext(t *testing.T, socket *websocket.Conn, n uint32) {
	t.Helper()
	_, message, err := socket.ReadMessage()
	require.NoError(t, err)
	require.Equal(t, n, binary.BigEndian.Uint32(message))
}

// Who reads needs no writer.
func TestWhatTheKernelTakesGoesAtOnce(t *testing.T) {
	o, socket := posted(t)
	for n := range uint32(3) {
		require.NoError(t, o.put(newFrame(websocket.BinaryMessage, binary.BigEndian.AppendUint32(nil, n))))
		require.Empty(t, o.queue)
		requireNext(t, socket, n)
	}
}

// What comes while a message waits waits behind it, though it were short enough to go at once; and then goes at once again.
func TestMessagesKeepTheirOrder(t *testing.T) {
	o, socket := posted(t)
	count := fill(t, o)
	for ; len(o.queue) < 3; count++ {
		require.NoError(t, o.put(newFrame(websocket.BinaryMessage, binary.BigEndian.AppendUint32(nil, count))))
	}
	written := make(chan error, 1)
	go func() {
		var err error
		for range 3 {
			if err == nil {
				err = o.write(<-o.queue, time.Now().Add(patience))
			}
		}
		written <- err
	}()
	for n := range count {
		requireNext(t, socket, n)
	}
	require.NoError(t, <-written)
	require.NoError(t, o.put(newFrame(websocket.BinaryMessage, binary.BigEndian.AppendUint32(nil, count))))
	require.Empty(t, o.queue)
	requireNext(t, socket, count)
}

// Though there is room again: what has begun is still in the queue, or in the hands of its writer.
func TestNothingOvertakesWhatWaits(t *testing.T) {
	o, socket := posted(t)
	count := fill(t, o)
	for n := range count - 1 {
		requireNext(t, socket, n)
	}
	ping := newFrame(websocket.PingMessage, nil)
	require.NoError(t, o.put(ping))
	require.Len(t, o.queue, 2)
	<-o.queue
	require.Equal(t, piece{bytes: ping}, <-o.queue)
	require.NoError(t, o.put(ping))
	require.Equal(t, piece{bytes: ping}, <-o.queue)
}

func TestNoMoreThanABoundedQueueWaits(t *testing.T) {
	o, _ := posted(t)
	fill(t, o)
	for len(o.queue) < maxQueued {
		require.NoError(t, o.put(long(0)))
	}
	require.ErrorIs(t, o.put(newFrame(websocket.PingMessage, nil)), errBehind)
}

// A goodbye does not land inside a message, nor wait for messages that have not begun; and nothing follows it.
func TestAGoodbyeFollowsWhatHasBegun(t *testing.T) {
	o, socket := posted(t)
	count := fill(t, o)
	require.NoError(t, o.put(long(count)))
	require.True(t, o.close())
	require.False(t, o.close())
	require.NoError(t, o.put(long(count+1)))
	require.Len(t, o.queue, 2)
	begun := int(count) - 1
	said := make(chan error, 1)
	go func() {
		err := o.finish(time.Now().Add(patience))
		if err == nil {
			_, err = o.conn.Write(newFrame(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, "")))
		}
		said <- err
	}()
	read := 0
	for {
		_, _, err := socket.ReadMessage()
		if err != nil {
			require.True(t, websocket.IsCloseError(err, websocket.CloseGoingAway), "%v", err)
			break
		}
		read++
	}
	require.NoError(t, <-said)
	require.GreaterOrEqual(t, read, begun)
	require.LessOrEqual(t, read, int(count))
}

// What is no connection of the kernel's own has a writer for everything.
func TestWhatIsNoSocketHasAWriter(t *testing.T) {
	here, there := net.Pipe()
	o := newOutbox(here)
	message := newFrame(websocket.TextMessage, []byte("x"))
	require.NoError(t, o.put(message))
	go func() { _ = o.write(<-o.queue, time.Now().Add(patience)) }()
	got := make([]byte, len(message))
	_, err := io.ReadFull(there, got)
	require.NoError(t, err)
	require.Equal(t, []byte(message), got)
}

// Messages that have not begun are not sent for the sake of a goodbye.
func TestAGoodbyeDoesNotWaitForMessages(t *testing.T) {
	here, _ := net.Pipe()
	o := newOutbox(here)
	require.NoError(t, o.put(newFrame(websocket.TextMessage, []byte("x"))))
	require.NoError(t, o.finish(time.Now().Add(patience)), "nobody reads")
}

// Who says goodbye and goes is answered all the same, whichever the writer hears of first.
func TestWhoGoesWithAGoodbyeIsAnswered(t *testing.T) {
	const rounds = 10
	for range rounds {
		c, socket := served(t)
		require.ErrorIs(t, c.leave(websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")), errGoodbye)
		close(c.gone)
		c.write()
		_, _, err := socket.ReadMessage()
		require.True(t, websocket.IsCloseError(err, websocket.CloseNormalClosure), "%v", err)
	}
}
