//go:build privileged && linux

package faults

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const (
	subnet = "10.77.0."
	// primaryAddress is that of whichever Redis is the primary: the network says which one that is.
	primaryAddress = subnet + "100"
	// mtu is the longest packet.
	mtu = 1500
)

// machine is a network namespace whose one interface leads to the test's [network]. It ends with what runs there.
type machine struct {
	t         testing.TB
	address   string
	namespace *os.File
	cable     *os.File // packets that the machine sends, and those that it gets
}

// newMachine makes the machine whose address ends in a number.
func newMachine(t testing.TB, number int, more ...string) *machine {
	t.Helper()
	require.Zero(t, os.Geteuid(), "network namespaces, interfaces and mounts need root: run make test-faults-privileged as root")
	m := &machine{t: t, address: fmt.Sprint(subnet, number)}
	require.NoError(t, onItsThread(func() (err error) {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("new network namespace (it needs CAP_SYS_ADMIN): %w", err)
		}
		if m.namespace, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		m.cable, err = openTUN("eth0")
		return err
	}))
	m.ip("link set lo up")
	m.ip(fmt.Sprintf("addr add %s/24 dev eth0", m.address))
	for _, address := range more {
		m.ip(fmt.Sprintf("addr add %s/32 dev eth0", address))
	}
	m.ip(fmt.Sprintf("link set eth0 mtu %d up", mtu))
	t.Cleanup(func() {
		m.cable.Close()
		m.namespace.Close()
	})
	return m
}

// onItsThread runs something on a thread of its own, which ends with it: a namespace belongs to a thread.
func onItsThread(what func() error) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done) // also where a test fails in there
		runtime.LockOSThread()
		err = what()
	}()
	<-done
	return err
}

// openTUN makes a network interface in the namespace of this thread. What is sent there can be read here.
func openTUN(name string) (*os.File, error) {
	const device = "/dev/net/tun"
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("%s (the kernel's tun driver, and the right to use it): %w", device, err)
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return nil, fmt.Errorf("new interface %s (it needs CAP_NET_ADMIN): %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// do runs something whose sockets and processes are the machine's own. It is a [place].
func (m *machine) do(what func() error) error {
	err := onItsThread(func() error {
		if err := unix.Setns(int(m.namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network namespace: %w", err)
		}
		return what()
	})
	return err
}

// ip configures the machine's interface, in words of ip(8).
func (m *machine) ip(command string) {
	m.t.Helper()
	require.NoError(m.t, m.do(func() error {
		ip := exec.Command("ip", "-batch", "-")
		ip.Stdin = bytes.NewBufferString(command + "\n")
		if out, err := ip.CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w\n%s", command, err, out)
		}
		return nil
	}))
}

// dial connects from within the machine, so that buyers reach its process whatever becomes of its network.
func (m *machine) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = m.do(func() error {
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}
