package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
	"flashsale/persist"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "flashsale-binary-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "flashsale")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		panic(err)
	}
	return devtest.Main(m)
}

// patience is how long a test waits for what must happen by itself.
const patience = 30 * time.Second

const adminToken = "test-admin-token"

// process is a running `flashsale serve`.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	base   string
	output *devtest.Output
	ended  chan struct{}
}

// start runs the program on a port of its own until it is ready, with the given environment on top of a bare one.
func start(t testing.TB, args []string, env ...string) *process {
	t.Helper()
	return startAs(t, []string{binary}, args, env...)
}

// startAs is start with the program called by another one that becomes it.
func startAs(t testing.TB, program, args []string, env ...string) *process {
	t.Helper()
	p := launch(t, program, args, env...)
	p.awaitReady()
	return p
}

// launch is startAs that waits for nothing.
func launch(t testing.TB, program, args []string, env ...string) *process {
	t.Helper()
	port := devtest.FreePort(t)
	p := &process{t: t, base: fmt.Sprintf("http://127.0.0.1:%d", port), output: &devtest.Output{}, ended: make(chan struct{})}
	p.cmd = exec.Command(program[0], slices.Concat(program[1:], []string{"serve"}, args)...)
	p.cmd.Dir = t.TempDir()
	p.cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), fmt.Sprintf("PORT=%d", port), "ADMIN_TOKEN=" + adminToken,
	}, env...)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // the test looks at ProcessState
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("output of the process:\n%s", p.output)
		}
	})
	return p
}

// awaitReady waits until nothing is wrong any more.
func (p *process) awaitReady() {
	p.t.Helper()
	eventually(p.t, "the service to be ready", func() bool {
		select {
		case <-p.ended:
			require.FailNow(p.t, "the process ended", "%s", p.output)
		default:
		}
		status, said := p.get("/readyz")
		return status == http.StatusOK && fmt.Sprint(said["reasons"]) == "[]"
	})
}

// kill ends the process without a warning.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// interrupt asks the process to stop as Ctrl-C does; see end.
func (p *process) interrupt() time.Duration {
	p.t.Helper()
	return p.end(syscall.SIGINT)
}

// end asks the process to stop and returns how long that took; it must end without an error.
func (p *process) end(signal os.Signal) time.Duration {
	p.t.Helper()
	began := time.Now()
	require.NoError(p.t, p.cmd.Process.Signal(signal))
	select {
	case <-p.ended:
	case <-time.After(patience):
		require.FailNow(p.t, "the process does not end")
	}
	require.True(p.t, p.cmd.ProcessState.Success(), "ended with %s:\n%s", p.cmd.ProcessState, p.output)
	return time.Since(began)
}

// answer is a decoded JSON object.
type answer map[string]any

var httpClient = &http.Client{
	Timeout:   15 * time.Second,
	Transport: &http.Transport{MaxIdleConnsPerHost: 256, MaxConnsPerHost: 256},
}

// get returns status 0 where there is no answer.
func (p *process) get(path string) (int, answer) { return p.do(http.MethodGet, path, "") }

func (p *process) post(path, body string) (int, answer) { return p.do(http.MethodPost, path, body) }

func (p *process) do(method, path, body string) (int, answer) {
	req, err := http.NewRequestWithContext(context.Background(), method, p.base+path, strings.NewReader(body))
	require.NoError(p.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+adminToken)
	status, text := send(p.t, req)
	var a answer
	_ = json.Unmarshal([]byte(text), &a) // not every answer is an object
	return status, a
}

// send returns status 0 where there is no answer.
func send(t testing.TB, req *http.Request) (status int, text string) {
	t.Helper()
	resp, err := httpClient.Do(req)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(body)
}

func (p *process) product(id string, units int) {
	p.t.Helper()
	status, a := p.post("/inventory", fmt.Sprintf(`{"id":%q,"name":%q,"price":9.9,"initialStock":%d}`, id, id, units))
	require.Equal(p.t, http.StatusCreated, status, "%v", a)
}

func (p *process) order(product, user string) (int, answer) {
	return p.post("/orders", fmt.Sprintf(`{"productId":%q,"userId":%q,"quantity":1}`, product, user))
}

// stores are a Redis and a ledger for processes to share.
type sharedStores struct {
	redis *devtest.RedisServer
	dbURL string
	pool  *pgxpool.Pool
}

func newStores(t testing.TB) *sharedStores {
	t.Helper()
	s := &sharedStores{redis: devtest.Redis(t), dbURL: devtest.Database(t)}
	var err error
	s.pool, err = persist.Connect(t.Context(), s.dbURL, 1)
	require.NoError(t, err)
	t.Cleanup(s.pool.Close)
	return s
}

func (s *sharedStores) env() []string {
	return []string{"REDIS_URL=" + s.redis.URL(), "DATABASE_URL=" + s.dbURL}
}

func (s *sharedStores) count(t testing.TB, query string, args ...any) (n int64) {
	t.Helper()
	require.NoError(t, s.pool.QueryRow(t.Context(), query, args...).Scan(&n))
	return n
}

// eventually polls until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	devtest.Eventually(t, patience, what, holds)
}
