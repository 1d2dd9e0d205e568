package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// RedisServer is a private Redis that belongs to one test, on a unix socket.
type RedisServer struct {
	redis  *privateRedis
	mu     sync.Mutex // guards server against a fault goroutine of the test
	server *child
}

// TestRedis starts a private Redis, whatever REDIS_URL says, with the settings
// of `make run`; it ends with the test. Settings are lines as in redis.conf and
// come after ours: TestRedis(t, "appendonly no", "enable-debug-command yes").
func TestRedis(t testing.TB, settings ...string) *RedisServer {
	t.Helper()
	s := &RedisServer{redis: &privateRedis{
		program: testRedisProgram(t),
		dir:     filepath.Join(testFolder(t), "redis"),
		more:    settings,
		discard: true,
	}}
	if err := s.redis.prepare(); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Kill(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func testRedisProgram(t testing.TB) *program {
	t.Helper()
	found, tooOld := systemFinder(os.Getenv("PATH")).redis(t.Context())
	if found == nil {
		t.Fatal(missingError(true, false, tooOld...))
	}
	return found
}

// testFolder is not t.TempDir, whose name may be too long for a socket and which
// the user that Postgres runs as cannot enter.
func testFolder(t testing.TB) string {
	t.Helper()
	dir, err := makeTemporaryDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// URL is like unix:///folder/redis.sock; it stays the same over restarts.
func (s *RedisServer) URL() string { return s.redis.url() }

// Kill ends the server with SIGKILL and waits until it has ended. Ended already
// is no error.
func (s *RedisServer) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
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

// stopAll ends servers side by side.
func stopAll(servers []*child) error {
	errs := make([]error, len(servers))
	var stopping sync.WaitGroup
	for i, server := range servers {
		stopping.Go(func() { errs[i] = server.kill() })
	}
	stopping.Wait()
	return errors.Join(errs...)
}
