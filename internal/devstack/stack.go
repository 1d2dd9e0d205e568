package devstack

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Options of Start. The zero value asks for both services on temporary data.
type Options struct {
	// DataDir keeps the data between runs; see DefaultDataDir. Empty means a
	// temporary folder that goes away with the stack, and settings that trade
	// the durability of Postgres for speed.
	DataDir string
	// Getenv reads the environment; nil means os.Getenv.
	Getenv func(name string) string
	// NoRedis and NoPostgres leave that service out.
	NoRedis    bool
	NoPostgres bool

	finder *finder // nil: this machine's
}

// Stack is a Redis and a Postgres, chosen and running.
type Stack struct {
	redis    service
	postgres service
	tempDir  string // removed on Close; empty when the data is kept
	closing  sync.Once
	closeErr error
}

// service is one chosen server.
type service struct {
	url  string
	name string       // what was chosen, for people
	psql string       // Postgres only
	stop func() error // nil when it is not ours to stop
}

// RedisURL is empty without Redis. It is the environment's value as it was, or
// like unix:///folder/redis.sock or redis://127.0.0.1:6379.
func (s *Stack) RedisURL() string { return s.redis.url }

// DatabaseURL is empty without Postgres. It is the environment's value as it
// was, or a postgres:// URL of the database DatabaseName.
func (s *Stack) DatabaseURL() string { return s.postgres.url }

// PsqlCommand opens the database when pasted into a shell.
func (s *Stack) PsqlCommand() string { return s.postgres.psql }

// String says in one line what was chosen; passwords are masked.
func (s *Stack) String() string {
	var parts []string
	if s.redis.name != "" {
		parts = append(parts, "redis = "+s.redis.name)
	}
	if s.postgres.name != "" {
		parts = append(parts, "postgres = "+s.postgres.name)
	}
	return "stack: " + strings.Join(parts, " · ")
}

// Close stops what Start started, side by side, within five seconds. Later
// calls return what the first one did.
func (s *Stack) Close() error {
	s.closing.Do(func() {
		var redisErr, postgresErr, tempErr error
		var stopping sync.WaitGroup
		stopping.Go(func() { redisErr = s.redis.close("redis") })
		stopping.Go(func() { postgresErr = s.postgres.close("postgres") })
		stopping.Wait()
		if s.tempDir != "" {
			tempErr = removeDir(s.tempDir)
		}
		s.closeErr = errors.Join(redisErr, postgresErr, tempErr)
	})
	return s.closeErr
}

func (s service) close(name string) error {
	if s.stop == nil {
		return nil
	}
	if err := s.stop(); err != nil {
		return fmt.Errorf("stop %s: %w", name, err)
	}
	return nil
}

// Start chooses the services and brings them up, side by side. A service that
// can neither be found nor started makes an error that wraps ErrNotInstalled
// and names the line that installs it. ctx bounds the start, not the servers.
func Start(ctx context.Context, o Options) (*Stack, error) {
	plan, err := newPlan(ctx, o)
	if err != nil {
		return nil, err
	}
	s := &Stack{tempDir: plan.tempDir}
	var redisErr, postgresErr error
	var starting sync.WaitGroup
	starting.Go(func() { s.redis, redisErr = plan.redis(ctx) })
	starting.Go(func() { s.postgres, postgresErr = plan.postgres(ctx) })
	starting.Wait()
	if redisErr != nil {
		redisErr = fmt.Errorf("start redis: %w", redisErr)
	}
	if postgresErr != nil {
		postgresErr = fmt.Errorf("start postgres: %w", postgresErr)
	}
	if err := errors.Join(redisErr, postgresErr); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}
