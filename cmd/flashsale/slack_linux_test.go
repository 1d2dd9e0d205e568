package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Every thread has the slack, the runtime's own among them, and the process is still the one that was started.
func TestTheServiceAllowsItsTimersSlack(t *testing.T) {
	p := launch(t, []string{binary}, nil, "REDIS_URL=redis://127.0.0.1:1", "DATABASE_URL=postgres://127.0.0.1:1/none")
	eventually(t, "the slack of all threads", func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", p.cmd.Process.Pid))
		require.NoError(t, err)
		for _, thread := range threads {
			if slackOf(t, filepath.Base(thread)) != timerSlack {
				return false
			}
		}
		return len(threads) > 1
	})
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p.cmd.Process.Pid))
	require.NoError(t, err)
	require.Equal(t, "flashsale", strings.TrimSpace(string(name)))
}

// slackOf reads a thread's; 0 = it has ended.
func slackOf(t *testing.T, thread string) time.Duration {
	t.Helper()
	text, err := os.ReadFile("/proc/" + thread + "/timerslack_ns")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return 0
	}
	require.NoError(t, err)
	ns, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	require.NoError(t, err)
	return time.Duration(ns)
}
