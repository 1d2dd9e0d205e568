package faults

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// link is one process's way to one store, over TCP, that can be cut, slowed and robbed of replies.
type link struct {
	t     testing.TB
	proxy *toxiproxy.Proxy
}

var toxiproxyServer = toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())

// newLink leads to an address that a [bridge] gives.
func newLink(t testing.TB, name, upstream string) *link {
	t.Helper()
	l := &link{t: t, proxy: toxiproxy.NewProxy(toxiproxyServer, name, "127.0.0.1:0", upstream)}
	require.NoError(t, l.proxy.Start())
	t.Cleanup(l.proxy.Stop)
	return l
}

func (l *link) address() string {
	l.proxy.Lock()
	defer l.proxy.Unlock()
	return l.proxy.Listen
}

// cut breaks every connection and takes no new ones.
func (l *link) cut() { l.proxy.Stop() }

func (l *link) join() { require.NoError(l.t, l.proxy.Start()) }

// lead goes on to another server, and breaks the connections there are.
func (l *link) lead(upstream string) {
	to := &toxiproxy.Proxy{Listen: l.address(), Upstream: upstream, Enabled: true}
	require.NoError(l.t, l.proxy.Update(to))
}

// poison adds a toxic; see https://github.com/Shopify/toxiproxy#toxics.
func (l *link) poison(toxic string) {
	_, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(toxic))
	require.NoError(l.t, err, "toxic %s", toxic)
}

func (l *link) cure() { l.proxy.Toxics.ResetToxics(context.Background()) }

// bridge lets a server on a unix socket be reached over TCP, which is all that a link can do.
type bridge struct {
	listener net.Listener
	socket   string
	mu       sync.Mutex
	open     map[net.Conn]bool
	copies   sync.WaitGroup
}

func newBridge(t testing.TB, socket string) *bridge {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	b := &bridge{listener: listener, socket: socket, open: make(map[net.Conn]bool)}
	b.copies.Go(b.accept)
	t.Cleanup(func() {
		listener.Close()
		b.breakAll()
		b.copies.Wait()
	})
	return b
}

func (b *bridge) address() string { return b.listener.Addr().String() }

func (b *bridge) breakAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for conn := range b.open {
		conn.Close()
	}
}

func (b *bridge) accept() {
	for {
		client, err := b.listener.Accept()
		if err != nil {
			return // closed with the test
		}
		b.mu.Lock()
		server, err := net.Dial("unix", b.socket)
		if err != nil {
			b.mu.Unlock()
			client.Close()
			continue
		}
		b.open[client], b.open[server] = true, true
		b.mu.Unlock()
		b.copies.Go(func() { b.copy(server, client) })
		b.copies.Go(func() { b.copy(client, server) })
	}
}

// copy ends both connections when either has ended.
func (b *bridge) copy(to, from net.Conn) {
	_, _ = io.Copy(to, from) // its end is its news
	to.Close()
	from.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, from)
}

func linkName(node int, store string) string { return fmt.Sprintf("node-%d-%s", node, store) }
