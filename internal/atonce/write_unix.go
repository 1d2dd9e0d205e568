//go:build unix

package atonce

import "syscall"

// write relies on Go's sockets being such that a write never waits.
func write(fd uintptr, b []byte) (int, error) {
	n, err := syscall.Write(int(fd), b)
	switch err {
	case nil:
		return n, nil
	case syscall.EAGAIN, syscall.EINTR:
		return 0, nil
	default:
		return 0, err
	}
}
