package engine

import (
	"sync"
	"time"
)

// loose are goroutines that nobody needs the result of: they open and close connections, which a silent server can draw out.
// Run waits for them once, with a bound. The zero value has none.
type loose struct {
	mu      sync.Mutex
	running int
	none    chan struct{} // closed when the last one ends; nil = there never was one
}

// looseWait bounds how long Run waits for them: a dial and its handshake, or a close, takes at most about two seconds (see
// doWithin). Whatever is left by then holds nothing but its connection.
const looseWait = 3 * time.Second

// run calls work on a goroutine of its own.
func (l *loose) run(work func()) {
	l.mu.Lock()
	if l.running == 0 {
		l.none = make(chan struct{})
	}
	l.running++
	l.mu.Unlock()
	go func() {
		defer l.end()
		work()
	}()
}

func (l *loose) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
	if l.running == 0 {
		close(l.none)
	}
}

// wait returns when none is running, or after limit; false means that some are left.
func (l *loose) wait(limit time.Duration) bool {
	l.mu.Lock()
	none, running := l.none, l.running
	l.mu.Unlock()
	if running == 0 {
		return true
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-none:
		return true
	case <-timer.C:
		return false
	}
}
