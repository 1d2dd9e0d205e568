package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// PostgresServer is a private Postgres cluster on temporary data, for what would
// disturb others: kills and restarts.
type PostgresServer struct {
	dir      string
	postgres *privatePostgres
	mu       sync.Mutex // guards server against a fault goroutine of the test
	server   *child
}

// NewServer starts a private Postgres on a copy of the seed, whatever
// DATABASE_URL says. It survives Kill, not the machine: it does not wait for
// disks. Settings, such as "fsync=on", come after ours. Close ends it.
func (f *PostgresSeed) NewServer(ctx context.Context, settings ...string) (*PostgresServer, error) {
	found, tooOld := systemFinder(os.Getenv("PATH")).postgres(ctx)
	if len(found) == 0 {
		return nil, missingError(false, true, tooOld...)
	}
	dir, err := makeTemporaryDir()
	if err != nil {
		return nil, err
	}
	s := &PostgresServer{dir: dir}
	if err := s.begin(ctx, &found[0], f, settings); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *PostgresServer) begin(ctx context.Context, p *program, seed *PostgresSeed, settings []string) (err error) {
	if s.postgres, err = newPostgres(p, s.dir, true); err != nil {
		return err
	}
	s.postgres.more = settings
	if err := s.postgres.prepare(); err != nil {
		return err
	}
	if err := seed.copyTo(ctx, s.postgres); err != nil {
		return err
	}
	if err := s.Restart(ctx); err != nil {
		return err
	}
	return s.postgres.ensureDatabase(ctx)
}

// URL is that of the database DatabaseName; it stays the same over restarts.
func (s *PostgresServer) URL() string { return s.postgres.url(DatabaseName) }

// Close stops the server and removes its data.
func (s *PostgresServer) Close() error { return errors.Join(s.Stop(), removeDir(s.dir)) }

// Kill ends the server with SIGKILL, as the kernel does when memory runs out;
// its sessions notice and end too, which is waited for. Ended already is no
// error.
func (s *PostgresServer) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.server.kill(); err != nil {
		return err
	}
	lock, err := lockFile(context.Background(), filepath.Join(s.postgres.dir, serverLockName))
	if err != nil {
		return fmt.Errorf("wait for the sessions to end: %w", err)
	}
	return lock.Close()
}

// Stop ends the server and its sessions at once, without a checkpoint.
func (s *PostgresServer) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return nil
	}
	return s.server.shutdown()
}

// Restart stops the server if it runs, and starts it on the same data and the
// same socket, crash recovery included. It returns when the server answers.
func (s *PostgresServer) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		if err := s.server.shutdown(); err != nil {
			return err
		}
	}
	server, err := s.postgres.start(ctx)
	if err != nil {
		return fmt.Errorf("restart postgres: %w", err)
	}
	s.server = server
	return nil
}

// PostgresSeed is the result of initdb that the private clusters of a process are
// copied from, made when first needed. The zero value is ready.
type PostgresSeed struct {
	mu       sync.Mutex
	root     string
	source   *privatePostgres
	watchdog *watchdog // removes root when we are killed
}

func (f *PostgresSeed) copyTo(ctx context.Context, target *privatePostgres) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.source == nil {
		if err := f.make(ctx, target.program); err != nil {
			return err
		}
	}
	// cp keeps owners and modes, which Postgres is strict about.
	out, err := exec.CommandContext(ctx, "cp", "-Rp", f.source.data(), target.data()).CombinedOutput()
	if err != nil {
		return fmt.Errorf("copy cluster: %w\n%s", err, out)
	}
	return nil
}

func (f *PostgresSeed) make(ctx context.Context, p *program) (err error) {
	if f.root, err = makeTemporaryDir(); err != nil {
		return err
	}
	if f.watchdog, err = startWatchdog(ctx, "", "", f.root); err != nil {
		return err
	}
	source, err := newPostgres(p, f.root, true)
	if err != nil {
		return err
	}
	if err := makePrivateDir(source.dir, source.owner); err != nil {
		return err
	}
	if err := source.initialise(ctx); err != nil {
		return err
	}
	f.source = source
	return nil
}

// Close removes the seed.
func (f *PostgresSeed) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watchdog == nil {
		return nil
	}
	return errors.Join(removeDir(f.root), f.watchdog.dismiss())
}
