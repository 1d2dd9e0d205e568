package devstack

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	if dir, ok := os.LookupEnv(helperVariable); ok {
		runHelper(dir)
	}
	os.Exit(m.Run())
}

// private hides the servers that the environment may name.
func private(name string) string {
	if name == "PATH" {
		return os.Getenv(name)
	}
	return ""
}

func startPrivate(t *testing.T, dataDir string) *Stack {
	t.Helper()
	stack, err := Start(t.Context(), Options{DataDir: dataDir, Getenv: private})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, stack.Close()) })
	return stack
}

// redisSay is one command to the stack's Redis.
func redisSay(t *testing.T, url string, command ...string) string {
	t.Helper()
	reply, err := Ask(t.Context(), "unix", strings.TrimPrefix(url, "unix://"), command...)
	require.NoError(t, err)
	return reply
}

// testFolder is not t.TempDir, whose name may be too long for a socket and which
// the user that Postgres runs as cannot enter.
func testFolder(t *testing.T) string {
	t.Helper()
	dir, err := makeTemporaryDir()
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	return dir
}

func execute(ctx context.Context, url, statement string) error {
	return onDatabase(ctx, url, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, statement)
		return err
	})
}

func query(t *testing.T, url, statement string) string {
	t.Helper()
	var value string
	err := onDatabase(t.Context(), url, func(conn *pgx.Conn) error {
		return conn.QueryRow(t.Context(), statement).Scan(&value)
	})
	require.NoError(t, err)
	return value
}

func TestTemporaryStack(t *testing.T) {
	t.Parallel()
	stack, err := Start(t.Context(), Options{Getenv: private})
	require.NoError(t, err)
	defer stack.Close()

	assert.Equal(t, "OK", redisSay(t, stack.RedisURL(), "SET", "k", "v"))
	assert.Equal(t, DatabaseName, query(t, stack.DatabaseURL(), "SELECT current_database()"))
	assert.Equal(t, "off", query(t, stack.DatabaseURL(), "SHOW fsync"))
	assert.Regexp(t, `^stack: redis = private (redis|valkey)-server [\d.]+ \(/.*\) · postgres = private PostgreSQL [\d.]+ \(/.*\)$`,
		stack.String())
	assert.Contains(t, stack.PsqlCommand(), "'"+stack.DatabaseURL()+"'")

	began := time.Now()
	require.NoError(t, stack.Close())
	assert.Less(t, time.Since(began), 5*time.Second)
	assert.NoDirExists(t, stack.tempDir)
	require.NoError(t, stack.Close(), "a second Close is harmless")
}

func TestOnlyOneService(t *testing.T) {
	t.Parallel()
	stack, err := Start(t.Context(), Options{Getenv: private, NoPostgres: true})
	require.NoError(t, err)
	defer stack.Close()
	assert.Empty(t, stack.DatabaseURL())
	assert.NotContains(t, stack.String(), "postgres")
	assert.Equal(t, "PONG", redisSay(t, stack.RedisURL(), "PING"))
}

func TestKeptDataSurvivesRestart(t *testing.T) {
	t.Parallel()
	dir := testFolder(t)
	stack := startPrivate(t, dir)
	redisSay(t, stack.RedisURL(), "SET", "k", "kept")
	require.NoError(t, execute(t.Context(), stack.DatabaseURL(), "CREATE TABLE kept AS SELECT 'kept' AS v"))
	assert.Equal(t, "on", query(t, stack.DatabaseURL(), "SHOW fsync"))
	require.NoError(t, stack.Close())

	again := startPrivate(t, dir)
	assert.Equal(t, "kept", redisSay(t, again.RedisURL(), "GET", "k"))
	assert.Equal(t, "kept", query(t, again.DatabaseURL(), "SELECT v FROM kept"))
}

func TestSecondStartAttaches(t *testing.T) {
	t.Parallel()
	dir := testFolder(t)
	first := startPrivate(t, dir)
	redisSay(t, first.RedisURL(), "SET", "k", "seen")

	second := startPrivate(t, dir)
	assert.Equal(t, 2, strings.Count(second.String(), "attached: run by process"), second.String())
	assert.Equal(t, "seen", redisSay(t, second.RedisURL(), "GET", "k"))
	assert.Equal(t, first.DatabaseURL(), second.DatabaseURL())
	require.NoError(t, second.Close())
	assert.Equal(t, "PONG", redisSay(t, first.RedisURL(), "PING"), "closing the second leaves the first alone")
}

func TestHalfInitialisedFolder(t *testing.T) {
	t.Parallel()
	dir := testFolder(t)
	installed, _ := systemFinder(os.Getenv("PATH")).postgres(t.Context())
	require.NotEmpty(t, installed)
	p, err := newPostgres(&installed[0], dir, false)
	require.NoError(t, err)
	require.NoError(t, p.prepare())
	require.NoError(t, os.MkdirAll(filepath.Join(p.data()+".new", "base"), 0o700))

	stack := startPrivate(t, dir)
	assert.Equal(t, "1", query(t, stack.DatabaseURL(), "SELECT '1'"))
	assert.NoDirExists(t, p.data()+".new")
}

func TestDataFolderTooDeepForSockets(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(testFolder(t), strings.Repeat("deep/", 25), "Application Support")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	stack := startPrivate(t, dir)
	assert.Equal(t, "PONG", redisSay(t, stack.RedisURL(), "PING"))
	assert.Equal(t, "1", query(t, stack.DatabaseURL(), "SELECT '1'"))
	for _, folder := range []string{
		filepath.Dir(strings.TrimPrefix(stack.RedisURL(), "unix://")),
		query(t, stack.DatabaseURL(), "SHOW unix_socket_directories"),
	} {
		t.Cleanup(func() { assert.NoError(t, os.RemoveAll(folder)) })
		info, err := os.Stat(folder)
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o700), info.Mode().Perm(), folder)
	}
}

func TestEnterable(t *testing.T) {
	t.Parallel()
	open, err := os.MkdirTemp("", "flashsale-enter-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(open)) })
	closed := filepath.Join(open, "closed")
	require.NoError(t, os.Mkdir(closed, 0o700))
	require.NoError(t, os.Chmod(open, 0o711))
	stranger := &syscall.Credential{Uid: 54321, Gid: 54321}
	ours := &syscall.Credential{Uid: uint32(os.Geteuid()), Gid: 54321}

	require.NoError(t, enterable(open, stranger))
	require.NoError(t, enterable(closed, ours))
	err = enterable(closed, stranger)
	require.ErrorContains(t, err, "cannot enter "+closed)
	require.ErrorContains(t, err, "DATA_DIR")
}

func TestPrivateDirRefusesAFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.ErrorContains(t, makePrivateDir(file, nil), "not a folder")
}

func TestStartEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Start(ctx, Options{Getenv: private, finder: systemFinder(os.Getenv("PATH"))})
	require.Error(t, err)
}
