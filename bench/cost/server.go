package cost

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// server is the Redis that is measured.
type server struct {
	client  rueidis.Client
	version string
}

// ErrOneServer is the refusal of a cluster: its servers' CPU can't be told apart by order.
var ErrOneServer = errors.New("one Redis server is measured, not several")

func connect(ctx context.Context, url string) (*server, error) {
	option, err := rueidis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("%w: redis address", ErrOptions) // without the parser's words: they repeat the address, and with it a password
	}
	option.DisableCache, option.DisableRetry = true, true
	client, err := rueidis.NewClient(option)
	if err != nil {
		return nil, fmt.Errorf("connect to redis: %w", err)
	}
	s := &server{client: client}
	if len(client.Nodes()) != 1 {
		client.Close()
		return nil, ErrOneServer
	}
	if s.version, err = s.info(ctx, "server", "redis_version"); err != nil {
		client.Close()
		return nil, err
	}
	return s, nil
}

// info returns one field of a section.
func (s *server) info(ctx context.Context, section, name string) (string, error) {
	text, err := s.client.Do(ctx, s.client.B().Info().Section(section).Build()).ToString()
	if err != nil {
		return "", fmt.Errorf("info %s: %w", section, err)
	}
	return infoField(text, name)
}

func infoField(text, name string) (string, error) {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("redis does not tell its %s", name)
}

// cpuUs returns the CPU time that the server has used, in µs, its children (as of a rewrite of the AOF) left out.
func (s *server) cpuUs(ctx context.Context) (float64, error) {
	text, err := s.client.Do(ctx, s.client.B().Info().Section("cpu").Build()).ToString()
	if err != nil {
		return 0, fmt.Errorf("info cpu: %w", err)
	}
	sum := 0.0
	for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
		value, err := infoField(text, name)
		if err != nil {
			return 0, err
		}
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		sum += seconds * 1e6
	}
	return sum, nil
}

// cpuOf returns the CPU that the server has used while work ran, in µs.
func (s *server) cpuOf(ctx context.Context, work func() error) (float64, error) {
	before, err := s.cpuUs(ctx)
	if err != nil {
		return 0, err
	}
	if err := work(); err != nil {
		return 0, err
	}
	after, err := s.cpuUs(ctx)
	return after - before, err
}

// Memory that was unlinked goes by and by.
const (
	freedPoll = 10 * time.Millisecond
	freedWait = time.Minute
)

// awaitFreed waits until all that was unlinked is free.
func (s *server) awaitFreed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, freedWait)
	defer cancel()
	again := time.NewTicker(freedPoll)
	defer again.Stop()
	for {
		pending, err := s.info(ctx, "memory", "lazyfree_pending_objects")
		if err != nil || pending == "0" {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for unlinked memory: %w", ctx.Err())
		case <-again.C:
		}
	}
}

// memoryUsed returns what the server's data and buffers take, in bytes.
func (s *server) memoryUsed(ctx context.Context) (float64, error) {
	if err := s.awaitFreed(ctx); err != nil {
		return 0, err
	}
	value, err := s.info(ctx, "memory", "used_memory")
	if err != nil {
		return 0, err
	}
	bytes, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return 0, fmt.Errorf("used_memory: %w", err)
	}
	return bytes, nil
}

// usageSamples is how many of a key's members are looked at; all are of one size here.
const usageSamples = 1000

// keyBytes returns what a key takes, in bytes; 0 where it is not there.
func (s *server) keyBytes(ctx context.Context, key string) (float64, error) {
	bytes, err := s.client.Do(ctx, s.client.B().MemoryUsage().Key(key).Samples(usageSamples).Build()).AsInt64()
	if rueidis.IsRedisNil(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("memory usage: %w", err)
	}
	return float64(bytes), nil
}

// freshName is the first part of keys that nobody else has.
func freshName() string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails: it ends the process instead (crypto/rand)
	return "bench-floor-" + hex.EncodeToString(random[:])
}
