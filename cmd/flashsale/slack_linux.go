package main

import (
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// timerSlack is by how much timers of the service may come late. Go's runtime looks after its threads every 20 µs while they
// work: with the 50 µs of Linux that is a tenth of the process' CPU in a rush, and no timer that matters is as short as this.
const timerSlack = 200 * time.Microsecond

// allowTimerSlack has the process begin again with that slack, unless it has as much: threads inherit it from the one that
// starts them, and the runtime's own was started before main. Where that can't be had everything works without.
func allowTimerSlack() {
	runtime.LockOSThread() // the slack is this thread's, and exec goes on with it
	defer runtime.UnlockOSThread()
	now, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || time.Duration(now) >= timerSlack {
		return
	}
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0); err != nil {
		return
	}
	if now, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err != nil || time.Duration(now) < timerSlack {
		return // it would begin again for ever
	}
	if path, err := os.Executable(); err == nil {
		_ = syscall.Exec(path, os.Args, os.Environ()) // returns only where it failed
	}
}
