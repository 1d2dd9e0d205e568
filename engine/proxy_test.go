package engine

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy stands between an engine and Redis. It can swallow replies after Redis has executed the script.
type proxy struct {
	t        testing.TB
	listener net.Listener
	server   string       // socket of Redis
	lose     atomic.Int64 // replies of scripts still to be swallowed
	lost     atomic.Int64
	die      atomic.Bool // with the next loss: cut every connection and refuse new ones
	open     sync.Map    // net.Conn -> nothing
	links    sync.WaitGroup
}

// newProxy listens on a socket of its own; redisURL is as RedisServer.URL gives it.
func newProxy(t testing.TB, redisURL string) *proxy {
	t.Helper()
	address, err := url.Parse(redisURL)
	require.NoError(t, err)
	listener, err := net.Listen("unix", filepath.Join(filepath.Dir(address.Path), "proxy.sock"))
	require.NoError(t, err)
	p := &proxy{t: t, listener: listener, server: address.Path}
	p.links.Go(p.accept)
	t.Cleanup(func() {
		listener.Close()
		p.links.Wait()
	})
	return p
}

func (p *proxy) url() string { return "unix://" + p.listener.Addr().String() }

// loseReplies has the next n replies of scripts vanish, each with its connection.
func (p *proxy) loseReplies(n int64) { p.lose.Store(n) }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed with the test
		}
		server, err := net.Dial("unix", p.server)
		if err != nil {
			client.Close()
			continue
		}
		p.open.Store(client, nil)
		p.link(client, server)
	}
}

func (p *proxy) link(client, server net.Conn) {
	var asked atomic.Bool // a script is on its way
	p.links.Go(func() {
		forward(server, client, func(chunk []byte) bool {
			if bytes.Contains(chunk, []byte("\r\nEVAL")) {
				asked.Store(true)
			}
			return true
		})
	})
	p.links.Go(func() {
		forward(client, server, func(chunk []byte) bool {
			// A script's reply is an array that begins with its code; keepalives and errors pass.
			if !asked.Load() || !bytes.Contains(chunk, []byte("$2\r\nOK\r\n")) || p.lose.Load() <= 0 {
				return true
			}
			if p.die.Load() {
				p.listener.Close()
				p.open.Range(func(conn, _ any) bool { conn.(net.Conn).Close(); return true })
			}
			p.lose.Add(-1)
			p.lost.Add(1)
			return false
		})
	})
}

// forward copies from one side to the other until either ends or pass says no; then it cuts both.
func forward(to, from net.Conn, pass func(chunk []byte) bool) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil || !pass(buffer[:n]) {
			return
		}
		if _, err := io.Copy(to, bytes.NewReader(buffer[:n])); err != nil {
			return
		}
	}
}
