package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// PostgresServer is a private Postgres cluster that belongs to one test, for
// what would disturb others: kills and restarts.
type PostgresServer struct {
	postgres *privatePostgres
	mu       sync.Mutex // guards server against a fault goroutine of the test
	server   *child
}

// TestPostgres starts a private Postgres, whatever DATABASE_URL says; it ends
// with the test. It survives Kill, not the machine: it does not wait for disks.
func TestPostgres(t testing.TB) *PostgresServer {
	t.Helper()
	found, tooOld := systemFinder(os.Getenv("PATH")).postgres(t.Context())
	if len(found) == 0 {
		t.Fatal(missingError(false, true, tooOld...))
	}
	postgres, err := newPostgres(&found[0], testFolder(t), true)
	if err != nil {
		t.Fatal(err)
	}
	s := &PostgresServer{postgres: postgres}
	if err := postgres.prepare(); err != nil {
		t.Fatal(err)
	}
	if err := shared.cluster.copyTo(t.Context(), postgres); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := postgres.ensureDatabase(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// URL is that of the database DatabaseName; it stays the same over restarts.
func (s *PostgresServer) URL() string { return s.postgres.url(DatabaseName) }

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

// clusterFolder is the result of initdb that the clusters of this process are
// copied from.
type clusterFolder struct {
	mu       sync.Mutex
	root     string
	source   *privatePostgres
	watchdog *watchdog // removes root when we are killed
}

func (f *clusterFolder) copyTo(ctx context.Context, target *privatePostgres) error {
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

func (f *clusterFolder) make(ctx context.Context, p *program) (err error) {
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

func (f *clusterFolder) remove() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watchdog == nil {
		return nil
	}
	return errors.Join(os.RemoveAll(f.root), f.watchdog.dismiss())
}
