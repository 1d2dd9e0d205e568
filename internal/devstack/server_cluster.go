package devstack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
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

// clusterNode is one primary of a cluster.
type clusterNode struct {
	server    *child
	port, bus int
}

func (n clusterNode) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(n.port)) }

func (n clusterNode) ask(ctx context.Context, command ...string) (string, error) {
	return Ask(ctx, "tcp", n.address(), command...)
}

// Cluster is a Redis Cluster on temporary data, of primaries without replicas.
type Cluster struct {
	dir   string
	nodes []clusterNode
}

// NewCluster starts a Redis Cluster of that many primaries and returns once every
// one of them reports cluster_state:ok. Close ends it.
func NewCluster(ctx context.Context, primaries int) (*Cluster, error) {
	found, err := redisProgram(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	c := &Cluster{}
	if c.dir, err = makeTemporaryDir(); err != nil {
		return nil, err
	}
	for i := range primaries {
		node, err := startClusterNode(ctx, found, filepath.Join(c.dir, "node-"+strconv.Itoa(i)))
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.nodes = append(c.nodes, node)
	}
	if err := joinCluster(ctx, c.nodes); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Addresses are those of the primaries, like 127.0.0.1:40001.
func (c *Cluster) Addresses() []string {
	var addresses []string
	for _, node := range c.nodes {
		addresses = append(addresses, node.address())
	}
	return addresses
}

// Close kills the servers side by side and removes their data.
func (c *Cluster) Close() error {
	errs := make([]error, len(c.nodes))
	var stopping sync.WaitGroup
	for i, node := range c.nodes {
		stopping.Go(func() { errs[i] = node.server.kill() })
	}
	stopping.Wait()
	return errors.Join(append(errs, os.RemoveAll(c.dir))...)
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

// FreePort finds a port of 127.0.0.1 that nobody listens on.
func FreePort(ctx context.Context) (int, error) {
	port, _, err := freePorts(ctx)
	return port, err
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
