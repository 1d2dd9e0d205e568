package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// watchdogScript outlives the parent by as long as it takes to stop the server.
// Its standard input is a pipe that only the parent holds: a line says that the
// server has ended and was waited for, so its pid must not be touched any more;
// end of file says that the parent is gone.
//
// $1 signal, $2 pid of the server or "" for none, $3 folder to remove
// afterwards or "".
const watchdogScript = `
trap '' HUP INT TERM
if read -r line; then exit 0; fi
if [ -n "$2" ]; then
	kill -s "$1" "$2"
	tries=0
	while kill -0 "$2" && [ "$tries" -lt 60 ]; do
		sleep 0.05
		tries=$((tries + 1))
	done
	kill -s KILL "$2"
fi
if [ -n "$3" ]; then
	rm -rf "$3"
	rmdir "${3%/*}"
fi
`

// gateScript becomes the server once the parent writes a line, which it does
// only after the watchdog is up: a parent killed in between leaves no server.
const gateScript = `read -r line || exit 1; exec "$@" </dev/null`

// watchdog is the process beside a server that ends it when we are killed. It
// works the same on Linux and macOS, unlike the parent death signal.
type watchdog struct {
	cmd  *exec.Cmd
	line *os.File
}

func startWatchdog(ctx context.Context, signal, pid, removeDir string) (*watchdog, error) {
	in, line, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("watchdog pipe: %w", err)
	}
	defer in.Close()
	// The watchdog ends with the server, never before it.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "/bin/sh", "-c", watchdogScript, "flashsale-watchdog",
		signal, pid, removeDir)
	cmd.Dir = "/"
	cmd.Stdin = in
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start watchdog: %w", err), line.Close())
	}
	return &watchdog{cmd: cmd, line: line}, nil
}

// dismiss ends the watchdog without a signal to the server.
func (w *watchdog) dismiss() error {
	_, err := w.line.WriteString("\n")
	return errors.Join(err, w.line.Close(), w.cmd.Wait())
}
