package devtest

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// Connected returns the two ends of a connection of the kernel's, closed when the test ends.
func Connected(t testing.TB) (here, there net.Conn) {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = ln.Close() }()
	there, err = new(net.Dialer).DialContext(t.Context(), "tcp", ln.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = there.Close() })
	here, err = ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = here.Close() })
	return here, there
}
