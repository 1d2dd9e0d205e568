// Package atonce writes to connections what the kernel takes without waiting. Whoever has a word for a thousand of them need not
// wake a thousand goroutines.
package atonce

import (
	"net"
	"syscall"
)

// Writer writes to one connection. A nil one takes nothing. Its user sees to it that only one writes at a time.
type Writer struct {
	raw      syscall.RawConn
	try      func(fd uintptr)      // attempt, made once
	exchange func(fd uintptr) bool // attemptThenWait, made once

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
	w.try, w.exchange = w.attempt, w.attemptThenWait
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

// WriteAndWait is Write for who is to be answered: where all was taken it returns when there is something to read, or the
// deadline for reading has passed. A read that begins before there is anything costs a question to the kernel more. What came
// before this call must have been read.
func (w *Writer) WriteAndWait(b []byte) (int, error) {
	if w == nil {
		return 0, nil
	}
	w.bytes, w.n = b, 0
	err := w.raw.Read(w.exchange)
	w.bytes = nil
	if err == nil {
		err = w.err
	}
	return w.n, err //nolint:wrapcheck // as the connection says it
}

// attemptThenWait tells whether there is nothing to wait for: it is called once, and again when there is something to read.
func (w *Writer) attemptThenWait(fd uintptr) bool {
	if w.n == 0 {
		w.attempt(fd)
		return w.n < len(w.bytes)
	}
	return true
}
