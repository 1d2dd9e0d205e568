package faults

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

const adminToken = "test-admin-token"

// node is one `flashsale serve`, at the same address whenever it runs.
type node struct {
	t      testing.TB
	base   string
	at     place
	client *http.Client // of buyers, who reach the process whatever becomes of its ways to the stores
	env    []string
	lead   func(to *store) // gives it another primary
	output devtest.Output

	// Its ways to the stores, where it has them over links.
	redis, postgres *link

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{}
}

// newLinkedNode is a process with links of its own to the stores.
func newLinkedNode(t testing.TB, id int, redis, postgres *bridge) *node {
	t.Helper()
	toRedis := newLink(t, linkName(id, "redis"), redis.address())
	toPostgres := newLink(t, linkName(id, "postgres"), postgres.address())
	n := newNode(t, id, toRedis.address(), toPostgres.address())
	n.redis, n.postgres = toRedis, toPostgres
	n.lead = func(to *store) { toRedis.lead(to.bridge.address()) }
	return n
}

// newNode is a process that has its stores at two addresses, like 127.0.0.1:6379.
func newNode(t testing.TB, id int, redis, postgres string) *node {
	t.Helper()
	port := devtest.FreePort(t)
	n := &node{t: t, base: fmt.Sprintf("http://127.0.0.1:%d", port), at: here, client: newClient(nil)}
	n.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), fmt.Sprintf("PORT=%d", port), "ADMIN_TOKEN=" + adminToken,
		"REDIS_URL=redis://" + redis, "DATABASE_URL=postgres://flashsale@" + postgres + "/flashsale?sslmode=disable",
		"PARTITIONS=2", "REQUEST_TIMEOUT=1s", "ORDER_GRACE=3s",
	}
	t.Cleanup(func() {
		n.kill()
		if t.Failed() {
			t.Logf("output of node %d:\n%s", id, n.output.String())
		}
	})
	return n
}

// start runs the process; it may take a while until it serves.
func (n *node) start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cmd = exec.Command(binary, "serve")
	n.cmd.Env, n.cmd.Dir = n.env, n.t.TempDir()
	n.cmd.Stdout, n.cmd.Stderr = &n.output, &n.output
	require.NoError(n.t, n.at(n.cmd.Start))
	ended := make(chan struct{})
	n.ended = ended
	go func(cmd *exec.Cmd) {
		defer close(ended)
		_ = cmd.Wait() // killed, as a rule
	}(n.cmd)
}

func (n *node) signal(signal os.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		_ = n.cmd.Process.Signal(signal) // it may have ended
	}
}

// await waits until the process has ended.
func (n *node) await() {
	n.mu.Lock()
	ended := n.ended
	n.mu.Unlock()
	if ended != nil {
		<-ended
	}
}

func (n *node) kill() {
	n.signal(syscall.SIGCONT)
	n.signal(os.Kill)
	n.await()
}

// longestStop is what a process may take to stop in order when nothing is wrong with the stores.
const longestStop = 15 * time.Second

// stop ends the process in order.
func (n *node) stop() {
	n.signal(syscall.SIGTERM)
	killer := time.AfterFunc(longestStop, func() {
		n.t.Errorf("%s does not stop within %s", n.base, longestStop)
		n.signal(os.Kill)
	})
	defer killer.Stop()
	n.await()
}

// ready tells whether all is well as far as the process knows.
func (n *node) ready() bool {
	status, said := n.get("/readyz")
	reasons, _ := said["reasons"].([]any)
	return status == http.StatusOK && len(reasons) == 0
}
