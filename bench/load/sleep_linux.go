package load

import (
	"syscall"
	"time"
)

// sleep blocks the thread; it is exact to some 50 µs. An interrupted sleep is cut short.
func sleep(d time.Duration) {
	left := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&left, nil) // whoever sleeps looks at the clock again
}
