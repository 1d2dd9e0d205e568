// Package atonce writes to connections what the kernel takes without waiting. Whoever has a word for a thousand of them need not
// wake a thousand goroutines.
package atonce

import (
	"net"
	"syscall"
)

// Writer writes to one connection. A nil one takes nothing. Its user sees to it that only one writes at a time.
type Writer struct {
	raw syscall.RawConn
	try func(fd uintptr) // attempt, made once

	bytes []byte
	n     int
	err   error
}

// New returns a writer to conn, or nil where it is none that the kernel knows as it is: one in memory, or one that is
// encrypted on the way.
func New(conn net.Conn) *Writer {
	direct, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := direct.SyscallConn()
	if err != nil {
		return nil
	}
	w := &Writer{raw: raw}
	w.try = w.attempt
	return w
}

// Write hands b to the kernel and returns how many bytes of it were taken: none where the client has not read what was sent
// before. Deadlines do not matter to it, nor who else is waiting to write.
func (w *Writer) Write(b []byte) (int, error) {
	if w == nil {
		return 0, nil
	}
	w.bytes = b
	err := w.raw.Control(w.try)
	w.bytes = nil
	if err != nil {
		return 0, err //nolint:wrapcheck // as the connection says it
	}
	return w.n, w.err
}

func (w *Writer) attempt(fd uintptr) { w.n, w.err = write(fd, w.bytes) }
