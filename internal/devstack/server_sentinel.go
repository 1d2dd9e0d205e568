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
	"syscall"
)

// sentinelSet is the name that the Sentinels have for the servers they watch.
const sentinelSet = "shop"

// sentinels is how many there are; most of them must agree that a primary is dead.
const sentinels = 3

// Sentinel is a Redis with one replica, watched by three Sentinels, on temporary
// data and loopback ports.
type Sentinel struct {
	dir     string
	servers []*RedisServer // the first primary, its replica
	ports   []int          // of the servers
	watch   []*child
	watched []int // ports of the Sentinels
}

// NewSentinel starts the servers and returns once the Sentinels know each other and
// the replica. Settings, as in redis.conf, are those of both servers. Close ends it.
func NewSentinel(ctx context.Context, settings ...string) (*Sentinel, error) {
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	s := &Sentinel{}
	var err error
	if s.dir, err = makeTemporaryDir(); err != nil {
		return nil, err
	}
	if err := errors.Join(s.startServers(ctx, settings)); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.startWatch(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Sentinel) startServers(ctx context.Context, settings []string) error {
	for range 2 {
		port, err := FreePort(ctx)
		if err != nil {
			return err
		}
		own := append([]string{"bind 127.0.0.1", "port " + strconv.Itoa(port), "repl-diskless-sync-delay 0"}, settings...)
		if len(s.servers) > 0 {
			own = append(own, "replicaof 127.0.0.1 "+strconv.Itoa(s.ports[0]))
		}
		server, err := NewRedisServer(ctx, own...)
		if err != nil {
			return err
		}
		s.servers, s.ports = append(s.servers, server), append(s.ports, port)
	}
	return awaitReplicas(ctx, "tcp", localhost(s.ports[0]), 1)
}

func localhost(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func (s *Sentinel) startWatch(ctx context.Context) error {
	found, err := redisProgram(ctx)
	if err != nil {
		return err
	}
	for i := range sentinels {
		port, err := FreePort(ctx)
		if err != nil {
			return err
		}
		dir := filepath.Join(s.dir, "sentinel-"+strconv.Itoa(i))
		server, err := startSentinel(ctx, found, dir, port, s.ports[0])
		if err != nil {
			return err
		}
		s.watch, s.watched = append(s.watch, server), append(s.watched, port)
	}
	wanted := []string{"slaves=1", "sentinels=" + strconv.Itoa(sentinels)}
	for _, port := range s.watched {
		err := poll(ctx, func() (bool, error) {
			info, err := Ask(ctx, "tcp", localhost(port), "INFO", "sentinel")
			return containsAll(strings.FieldsFunc(info, func(r rune) bool { return r == ',' || r == '\r' || r == '\n' }), wanted), err
		})
		if err != nil {
			return fmt.Errorf("sentinel %d: %w", port, err)
		}
	}
	return nil
}

// startSentinel runs one. It keeps what it learns in its configuration file.
func startSentinel(ctx context.Context, p *program, dir string, port, primary int) (*child, error) {
	if err := makePrivateDir(dir, nil); err != nil {
		return nil, err
	}
	settings := fmt.Sprintf(`bind 127.0.0.1
port %d
dir %q
sentinel monitor %[3]s 127.0.0.1 %[4]d %[5]d
sentinel down-after-milliseconds %[3]s %[6]d
sentinel failover-timeout %[3]s %[7]d
`, port, dir, sentinelSet, primary, sentinels/2+1, clusterNodeTimeout, 3*clusterNodeTimeout)
	file := filepath.Join(dir, "sentinel.conf")
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		return nil, fmt.Errorf("sentinel: %w", err)
	}
	return startChild(ctx, childSpec{
		argv: []string{p.path, file, "--sentinel"}, dir: dir, orphaned: "TERM", removeDir: true,
		stop: []syscall.Signal{syscall.SIGTERM},
		ready: func(ctx context.Context) error {
			_, err := Ask(ctx, "tcp", localhost(port), "PING")
			return err
		},
	})
}

// URL names the Sentinels and the set, as REDIS_URL takes it.
func (s *Sentinel) URL() string {
	url := fmt.Sprintf("redis://%s?master_set=%s", localhost(s.watched[0]), sentinelSet)
	for _, port := range s.watched[1:] {
		url += "&addr=" + localhost(port)
	}
	return url
}

// Primary returns which of the two servers the Sentinels have for the primary.
func (s *Sentinel) Primary(ctx context.Context) (*RedisServer, error) {
	for _, port := range s.watched {
		info, err := Ask(ctx, "tcp", localhost(port), "INFO", "sentinel")
		if err != nil {
			continue
		}
		for i, candidate := range s.ports {
			if strings.Contains(info, "address="+localhost(candidate)+",") {
				return s.servers[i], nil
			}
		}
	}
	return nil, errors.New("no sentinel names a primary")
}

// Replica returns the other one.
func (s *Sentinel) Replica(ctx context.Context) (*RedisServer, error) {
	primary, err := s.Primary(ctx)
	if err != nil {
		return nil, err
	}
	if primary == s.servers[0] {
		return s.servers[1], nil
	}
	return s.servers[0], nil
}

// Close kills the servers and removes their data.
func (s *Sentinel) Close() error {
	var errs []error
	for _, server := range s.watch {
		errs = append(errs, server.kill())
	}
	for _, server := range s.servers {
		errs = append(errs, server.Close())
	}
	return errors.Join(append(errs, removeDir(s.dir))...)
}
