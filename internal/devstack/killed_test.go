package devstack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// helperVariable makes the test binary a parent to be killed. Its value is the
// data folder, empty for a temporary one.
const helperVariable = "DEVSTACK_HELPER_DATA_DIR"

// runHelper starts a stack, says where it is, and stays until it is killed.
func runHelper(dir string) {
	stack, err := Start(context.Background(), Options{DataDir: dir, Getenv: private})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stdout, stack.RedisURL(), stack.DatabaseURL())
	select {}
}

// startHelper returns the helper with the URLs of its servers.
func startHelper(t *testing.T, dir string) (helper *exec.Cmd, redisURL, databaseURL string) {
	t.Helper()
	executable, err := os.Executable()
	require.NoError(t, err)
	helper = exec.CommandContext(t.Context(), executable)
	helper.Env = append(os.Environ(), helperVariable+"="+dir)
	helper.Stderr = os.Stderr
	out, err := helper.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, helper.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	redisURL, databaseURL, found := strings.Cut(strings.TrimSpace(line), " ")
	require.True(t, found, line)
	return helper, redisURL, databaseURL
}

func serverPids(t *testing.T, redisURL, databaseURL string) []int {
	t.Helper()
	var pids []int
	for line := range strings.Lines(redisSay(t, redisURL, "INFO", "server")) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "process_id:"); ok {
			pid, err := strconv.Atoi(text)
			require.NoError(t, err)
			pids = append(pids, pid)
		}
	}
	data := query(t, databaseURL, "SHOW data_directory")
	content, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	require.NoError(t, err)
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(first)
	require.NoError(t, err)
	return append(pids, pid)
}

func killHelper(t *testing.T, helper *exec.Cmd, pids []int) {
	t.Helper()
	require.NoError(t, helper.Process.Kill())
	require.Error(t, helper.Wait(), "it was killed")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, pid := range pids {
		err := poll(ctx, func() (bool, error) {
			return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH), nil
		})
		require.NoError(t, err, "server %d still runs", pid)
	}
}

func TestKilledParentLeavesNoServer(t *testing.T) {
	t.Parallel()
	dir := testFolder(t)
	helper, redisURL, databaseURL := startHelper(t, dir)
	redisSay(t, redisURL, "SET", "k", "kept")
	require.NoError(t, execute(t.Context(), databaseURL, "CREATE TABLE kept AS SELECT 'kept' AS v"))
	killHelper(t, helper, serverPids(t, redisURL, databaseURL))

	again := startPrivate(t, dir)
	assert.NotContains(t, again.String(), "attached")
	assert.Equal(t, "kept", redisSay(t, again.RedisURL(), "GET", "k"))
	assert.Equal(t, "kept", query(t, again.DatabaseURL(), "SELECT v FROM kept"))
}

// The next start may come before the watchdogs are through.
func TestStartRightAfterTheParentIsKilled(t *testing.T) {
	t.Parallel()
	dir := testFolder(t)
	helper, redisURL, _ := startHelper(t, dir)
	redisSay(t, redisURL, "SET", "k", "kept")
	require.NoError(t, helper.Process.Kill())
	require.Error(t, helper.Wait(), "it was killed")

	again := startPrivate(t, dir)
	assert.NotContains(t, again.String(), "attached")
	assert.Equal(t, "kept", redisSay(t, again.RedisURL(), "GET", "k"))
}

func TestKilledParentLeavesNoTemporaryData(t *testing.T) {
	t.Parallel()
	helper, redisURL, databaseURL := startHelper(t, "")
	root := filepath.Dir(filepath.Dir(strings.TrimPrefix(redisURL, "unix://")))
	require.DirExists(t, root)
	killHelper(t, helper, serverPids(t, redisURL, databaseURL))

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := poll(ctx, func() (bool, error) {
		_, err := os.Stat(root)
		return errors.Is(err, os.ErrNotExist), nil
	})
	require.NoError(t, err, "%s is still there", root)
}

// A frozen server does not act on the first signal.
func TestKilledParentLeavesNoFrozenServer(t *testing.T) {
	t.Parallel()
	helper, redisURL, databaseURL := startHelper(t, "")
	pids := serverPids(t, redisURL, databaseURL)
	require.NoError(t, syscall.Kill(pids[0], syscall.SIGSTOP))
	killHelper(t, helper, pids)
}
