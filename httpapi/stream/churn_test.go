package stream_test

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"flashsale/httpapi/stream"
)

// visit opens a WebSocket, subscribes and leaves in the i-th of the ways in which clients do.
func (s *station) visit(i int) error {
	socket, response, err := websocket.DefaultDialer.Dial("ws://"+s.address, nil)
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	defer socket.Close()
	if err := socket.WriteMessage(websocket.TextMessage, []byte(subscribe)); err != nil {
		return err
	}
	conn := socket.NetConn().(*net.TCPConn)
	switch i % 5 {
	case 0: // at once
	case 1: // without a word
		return conn.SetLinger(0)
	case 2: // politely, and waits until the server has gone too
		_ = conn.CloseWrite()
		_ = socket.SetReadDeadline(time.Now().Add(patience))
		for err == nil {
			_, _, err = socket.ReadMessage()
		}
	case 3: // in the middle of a frame
		_, _ = conn.Write(masked(0x81, 1000, "half"))
	case 4: // with what is no WebSocket
		_, _ = conn.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		_, _, _ = socket.ReadMessage()
	}
	return nil
}

// The hub writes to sockets itself, while others come and go and get the same numbers from the kernel: whoever stays gets whole
// updates of their own, in order, and the goodbye last.
func TestWhoStaysNoticesNothingOfWhoComesAndGoes(t *testing.T) {
	const watchers, visitors, visits = 3, 8, 15
	s := open(t, stream.Config{CloseWait: patience})
	s.padding.Store(8 << 10)
	var watching, visiting sync.WaitGroup
	var seen [watchers]int
	for i := range watchers {
		socket := s.dial()
		s.send(socket, subscribe)
		watching.Go(func() {
			for last := 0.0; ; seen[i]++ {
				var m message
				if err := socket.ReadJSON(&m); err != nil {
					assert.True(t, websocket.IsCloseError(err, websocket.CloseGoingAway), "%v", err)
					return
				}
				if m.Event == stream.Update {
					assert.Greater(t, m.Data["n"], last)
					last = m.Data["n"].(float64)
				}
			}
		})
	}
	for i := range visitors {
		visiting.Go(func() {
			for k := range visits {
				assert.NoError(t, s.visit(i+k))
			}
		})
	}
	visiting.Wait()
	s.eventually("only who stays to be there", func() bool { return s.hub.Clients() == watchers })
	s.stop()
	watching.Wait()
	for _, n := range seen {
		require.Positive(t, n)
	}
}
