package httpapi_test

import (
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"flashsale/httpapi"
)

// A client that always sends a little more gets no more time than one that says nothing.
func TestSlowloris(t *testing.T) {
	h := start(t, httpapi.Config{ReadTimeout: 100 * time.Millisecond})
	var slow sync.WaitGroup
	defer slow.Wait()
	for _, head := range []string{"POST /orders HTTP/1.1\r\nHost: x\r\n", "POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n"} {
		for range 20 {
			conn, _ := h.dial()
			_, err := io.WriteString(conn, head)
			require.NoError(t, err)
			slow.Go(func() { assert.NotErrorIs(t, trickle(conn), os.ErrDeadlineExceeded, "the server must have hung up") })
		}
	}
	require.Equal(t, 201, h.send("POST", "/orders", goodOrder).status, "others are served meanwhile")
	slow.Wait()
	require.Len(t, h.reserver.reserved(), 1)
}

// trickle sends a line at a time, each well within the server's patience, until the connection is gone.
func trickle(conn net.Conn) error {
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	for {
		if _, err := io.WriteString(conn, "a: b\r\n"); err != nil {
			return err
		}
		<-pace.C
	}
}

// A client that asks and asks and never reads would have the server wait until it did.
func TestAClientThatDoesNotReadIsCutOff(t *testing.T) {
	h := start(t, httpapi.Config{WriteTimeout: 50 * time.Millisecond})
	conn, _ := h.dial()
	for {
		if _, err := io.WriteString(conn, "GET /dashboard/app.js HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the server must have hung up")
			return
		}
	}
}

func TestTrustedProxiesMayHaveManyConnections(t *testing.T) {
	h := start(t, httpapi.Config{MaxConnsPerIP: 1, TrustedProxies: loopback})
	for range 5 {
		conn, r := h.dial()
		_, err := io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		require.Equal(t, 200, h.next(r).status)
	}
}
