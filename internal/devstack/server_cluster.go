package devstack

import (
	"context"
	"errors"
	"fmt"
	"net"
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

// clusterNode is one server of a cluster.
type clusterNode struct {
	server    *child
	port, bus int
}

// clusterNodeTimeout is after how many ms of silence a node is taken for dead.
const clusterNodeTimeout = 1000

func (n clusterNode) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(n.port)) }

func (n clusterNode) ask(ctx context.Context, command ...string) (string, error) {
	return Ask(ctx, "tcp", n.address(), command...)
}

// Cluster is a Redis Cluster on temporary data.
type Cluster struct {
	dir       string
	primaries int
	nodes     []clusterNode // the primaries, then the replica of each, if they have any
}

// NewCluster starts a Redis Cluster of that many primaries, each with one replica
// or none, and returns once every node reports cluster_state:ok and every replica
// follows. Close ends it.
func NewCluster(ctx context.Context, primaries int, replicas bool) (*Cluster, error) {
	found, err := redisProgram(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	c := &Cluster{primaries: primaries}
	size := primaries
	if replicas {
		size = 2 * primaries
	}
	if c.dir, err = makeTemporaryDir(); err != nil {
		return nil, err
	}
	for i := range size {
		node, err := startClusterNode(ctx, found, filepath.Join(c.dir, "node-"+strconv.Itoa(i)))
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.nodes = append(c.nodes, node)
	}
	if err := joinCluster(ctx, c.nodes, primaries); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Addresses are those of all nodes, like 127.0.0.1:40001, the first primaries first.
func (c *Cluster) Addresses() []string {
	var addresses []string
	for _, node := range c.nodes {
		addresses = append(addresses, node.address())
	}
	return addresses
}

// KillOwner ends the node that serves a key's slot, and has keys in it, with SIGKILL
// and returns its address.
func (c *Cluster) KillOwner(ctx context.Context, key string) (string, error) {
	for _, node := range c.nodes {
		if node.server.ended() {
			continue
		}
		slot, err := node.ask(ctx, "CLUSTER", "KEYSLOT", key)
		if err != nil {
			continue
		}
		owned, err := node.ask(ctx, "CLUSTER", "COUNTKEYSINSLOT", slot)
		if err != nil || owned == "0" {
			continue
		}
		role, err := node.ask(ctx, "INFO", "replication")
		if err == nil && strings.Contains(role, "role:master") {
			return node.address(), node.server.kill()
		}
	}
	return "", fmt.Errorf("no living primary has keys in the slot of %s", key)
}

// Close kills the servers side by side and removes their data.
func (c *Cluster) Close() error {
	errs := make([]error, len(c.nodes))
	var stopping sync.WaitGroup
	for i, node := range c.nodes {
		stopping.Go(func() { errs[i] = node.server.kill() })
	}
	stopping.Wait()
	return errors.Join(append(errs, removeDir(c.dir))...)
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
			"cluster-node-timeout " + strconv.Itoa(clusterNodeTimeout),
			"repl-diskless-sync-delay 0",
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

// joinCluster deals out the slots in equal ranges to the primaries, introduces the
// nodes, and has the others follow.
func joinCluster(ctx context.Context, nodes []clusterNode, primaries int) error {
	for i, node := range nodes {
		epoch := strconv.Itoa(i + 1) // Distinct ones spare the nodes a vote.
		if _, err := node.ask(ctx, "CLUSTER", "SET-CONFIG-EPOCH", epoch); err != nil {
			return err
		}
		if i < primaries {
			from, to := i*clusterSlots/primaries, (i+1)*clusterSlots/primaries-1
			if _, err := node.ask(ctx, "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(from), strconv.Itoa(to)); err != nil {
				return err
			}
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
	return attachReplicas(ctx, nodes, primaries)
}

// attachReplicas has each node behind the primaries follow one of them.
func attachReplicas(ctx context.Context, nodes []clusterNode, primaries int) error {
	for i, node := range nodes[primaries:] {
		id, err := nodes[i].ask(ctx, "CLUSTER", "MYID")
		if err != nil {
			return err
		}
		if _, err := node.ask(ctx, "CLUSTER", "REPLICATE", id); err != nil {
			return err
		}
	}
	for i := range nodes[primaries:] {
		if err := awaitReplicas(ctx, "tcp", nodes[i].address(), 1); err != nil {
			return err
		}
	}
	return nil
}

// awaitReplicas waits until a server has so many replicas that have caught up.
func awaitReplicas(ctx context.Context, network, address string, count int) error {
	return poll(ctx, func() (bool, error) {
		info, err := Ask(ctx, network, address, "INFO", "replication")
		return strings.Count(info, ",state=online,") >= count, err
	})
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
