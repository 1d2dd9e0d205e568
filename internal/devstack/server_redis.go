package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// RedisServer is a private Redis on temporary data and a unix socket, for what
// would disturb others: kills, pauses and restarts.
type RedisServer struct {
	dir    string
	redis  *privateRedis
	mu     sync.Mutex // guards server against a fault goroutine of the test
	server *child
}

// NewRedisServer starts a private Redis, whatever REDIS_URL says, with the
// settings of `make run`, but that no write waits for the disk. Settings are lines as in redis.conf and come after
// ours: "appendonly no". Close ends it.
func NewRedisServer(ctx context.Context, settings ...string) (*RedisServer, error) {
	found, err := redisProgram(ctx)
	if err != nil {
		return nil, err
	}
	// Not a folder of the testing package, whose name may be too long for a socket.
	dir, err := makeTemporaryDir()
	if err != nil {
		return nil, err
	}
	s := &RedisServer{dir: dir, redis: &privateRedis{
		program: found, dir: filepath.Join(dir, "redis"), more: settings, discard: true,
	}}
	if err := s.redis.prepare(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.Restart(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func redisProgram(ctx context.Context) (*program, error) {
	found, tooOld := systemFinder(os.Getenv("PATH")).redis(ctx)
	if found == nil {
		return nil, missingError(true, false, tooOld...)
	}
	return found, nil
}

// URL is like unix:///folder/redis.sock; it stays the same over restarts.
func (s *RedisServer) URL() string { return s.redis.url() }

// Close kills the server and removes its data.
func (s *RedisServer) Close() error { return errors.Join(s.Kill(), removeDir(s.dir)) }

// Kill ends the server with SIGKILL and waits until it has ended. Ended already
// is no error.
func (s *RedisServer) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return nil
	}
	return s.server.kill()
}

// Stop shuts the server down in order.
func (s *RedisServer) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server.shutdown()
}

// Restart shuts the server down in order if it runs, and starts it on the same
// data and the same socket. It returns when the server answers.
func (s *RedisServer) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		if err := s.server.shutdown(); err != nil {
			return err
		}
	}
	server, err := s.redis.start(ctx)
	if err != nil {
		return fmt.Errorf("restart redis: %w", err)
	}
	s.server = server
	return nil
}

// Pause freezes the server with SIGSTOP: it accepts connections and requests
// into its sockets and answers nothing.
func (s *RedisServer) Pause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server.signal(syscall.SIGSTOP)
}

// Resume ends a Pause; the server then executes what came in meanwhile.
func (s *RedisServer) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server.signal(syscall.SIGCONT)
}
