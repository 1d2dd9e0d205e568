package load

import (
	"bufio"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

// A server that has shut its side of a connection that rested is not waited for until the timeout.
func TestAServerThatIsTiredOfWaitingIsHeard(t *testing.T) {
	tired := make(chan struct{})
	target := serveConns(t, func(c *net.TCPConn) {
		defer c.Close()
		var request fasthttp.Request
		_ = request.Read(bufio.NewReader(c))
		_, _ = c.Write([]byte("HTTP/1.1 201 Created\r\nContent-Length: 15\r\n\r\n{\"orderId\":\"a\"}"))
		_ = c.CloseWrite()
		close(tired)
		<-t.Context().Done()
	})
	c := newConn(&target, time.Minute, &clock{start: time.Now()})
	defer c.close()
	request, _ := maker(t, &target, Orders{}).AppendOrder(nil, nil, Order{Buyer: 1})
	_, err := c.ask(t.Context(), request)
	require.NoError(t, err)
	<-tired
	c.began -= int64(2 * restless) // so long has it rested
	answered := make(chan error, 1)
	go func() {
		_, err := c.ask(t.Context(), request)
		answered <- err
	}()
	select {
	case err := <-answered:
		require.Error(t, err)
	case <-time.After(20 * time.Second):
		t.Fatal("it waits")
	}
}

func TestAResetIsCountedAsOne(t *testing.T) {
	target := serveConns(t, func(c *net.TCPConn) {
		var request fasthttp.Request
		_ = request.Read(bufio.NewReader(c))
		_ = c.SetLinger(0)
		_ = c.Close()
	})
	result := run(t, target, Plan{Connections: 1, Visits: 3}, maker(t, &target, Orders{}))
	require.Equal(t, map[string]int64{"connection reset by peer": 3}, result.Ops[0].Counts.Failed)
}
