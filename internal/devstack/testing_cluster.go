package devstack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	clusterSlots = 16384
	// clusterTimeout is far above the two seconds for which Redis keeps a new
	// primary from taking writes.
	clusterTimeout = 30 * time.Second
	// portTries: a port found free may be taken before the server binds it.
	portTries = 3
)

// clusterNode is one primary of a test's cluster.
type clusterNode struct {
	server    *child
	port, bus int
}

func (n clusterNode) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(n.port)) }

func (n clusterNode) ask(ctx context.Context, command ...string) (string, error) {
	return ask(ctx, "tcp", n.address(), command...)
}

// TestCluster starts a Redis Cluster of that many primaries without replicas,
// ends it with the test, and returns their addresses, like 127.0.0.1:40001, once
// every one of them reports cluster_state:ok.
func TestCluster(t testing.TB, primaries int) []string {
	t.Helper()
	program, root := testRedisProgram(t), testFolder(t)
	ctx, cancel := context.WithTimeout(t.Context(), clusterTimeout)
	defer cancel()
	var nodes []clusterNode
	t.Cleanup(func() {
		var servers []*child
		for _, node := range nodes {
			servers = append(servers, node.server)
		}
		if err := stopAll(servers); err != nil {
			t.Error(err)
		}
	})
	var addresses []string
	for i := range primaries {
		node, err := startClusterNode(ctx, program, filepath.Join(root, "node-"+strconv.Itoa(i)))
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, node)
		addresses = append(addresses, node.address())
	}
	if err := joinCluster(ctx, nodes); err != nil {
		t.Fatal(err)
	}
	return addresses
}

func startClusterNode(ctx context.Context, p *program, dir string) (clusterNode, error) {
	var errs []error
	for range portTries {
		port, bus, err := freePorts(ctx)
		if err != nil {
			return clusterNode{}, err
		}
		r := &privateRedis{program: p, dir: dir, discard: true, more: []string{
			"bind 127.0.0.1",
			"port " + strconv.Itoa(port),
			"cluster-enabled yes",
			"cluster-port " + strconv.Itoa(bus),
			"cluster-node-timeout 5000",
		}}
		if err := r.prepare(); err != nil {
			return clusterNode{}, err
		}
		server, err := r.start(ctx)
		if err == nil {
			return clusterNode{server: server, port: port, bus: bus}, nil
		}
		errs = append(errs, err)
	}
	return clusterNode{}, errors.Join(errs...)
}

// TestFreePort finds a port of 127.0.0.1 for a server of the test, such as a
// Redis with replicas: TestRedis(t, "bind 127.0.0.1", "port 40001").
func TestFreePort(t testing.TB) int {
	t.Helper()
	port, _, err := freePorts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// freePorts finds one port for clients and one for the other nodes.
func freePorts(ctx context.Context) (port, bus int, err error) {
	var config net.ListenConfig
	first, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, 0, fmt.Errorf("free port: %w", err)
	}
	defer func() { err = errors.Join(err, first.Close()) }()
	second, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, 0, fmt.Errorf("free port: %w", err)
	}
	defer func() { err = errors.Join(err, second.Close()) }()
	return listeningPort(first), listeningPort(second), nil
}

func listeningPort(l net.Listener) int {
	address, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0
	}
	return address.Port
}

// joinCluster deals out the slots in equal ranges and introduces the nodes.
func joinCluster(ctx context.Context, nodes []clusterNode) error {
	for i, node := range nodes {
		from, to := i*clusterSlots/len(nodes), (i+1)*clusterSlots/len(nodes)-1
		epoch := strconv.Itoa(i + 1) // Distinct ones spare the nodes a vote.
		if _, err := node.ask(ctx, "CLUSTER", "SET-CONFIG-EPOCH", epoch); err != nil {
			return err
		}
		if _, err := node.ask(ctx, "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(from), strconv.Itoa(to)); err != nil {
			return err
		}
		other := nodes[0]
		if i == 0 {
			continue
		}
		_, err := node.ask(ctx, "CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(other.port), strconv.Itoa(other.bus))
		if err != nil {
			return err
		}
	}
	for _, node := range nodes {
		if err := node.awaitCluster(ctx, len(nodes)); err != nil {
			return fmt.Errorf("node %s: %w", node.address(), err)
		}
	}
	return nil
}

func (n clusterNode) awaitCluster(ctx context.Context, size int) error {
	wanted := []string{
		"cluster_state:ok",
		"cluster_known_nodes:" + strconv.Itoa(size),
		"cluster_slots_ok:" + strconv.Itoa(clusterSlots),
	}
	var info string
	err := poll(ctx, func() (bool, error) {
		var err error
		info, err = n.ask(ctx, "CLUSTER", "INFO")
		lines := strings.Fields(info)
		return err == nil && containsAll(lines, wanted), err
	})
	if err != nil {
		return fmt.Errorf("cluster is not ready: %w\n%s", err, info)
	}
	return nil
}
