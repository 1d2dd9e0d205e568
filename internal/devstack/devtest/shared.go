package devtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"flashsale/internal/devstack"
)

// shared are the servers that all tests of one process use together, started
// when first asked for.
var shared = struct {
	redis     sharedStack
	postgres  sharedStack
	templates templates
	seed      devstack.PostgresSeed
}{
	redis:    sharedStack{options: devstack.Options{NoPostgres: true}},
	postgres: sharedStack{options: devstack.Options{NoRedis: true}},
}

// Main runs the tests of a package and stops the shared servers after them:
//
//	func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }
//
// Without it nothing is left behind either, only a second later.
func Main(m *testing.M) int {
	code := m.Run()
	err := errors.Join(
		shared.templates.drop(context.Background()),
		shared.postgres.close(), shared.redis.close(), shared.seed.Close(),
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, "devtest:", err)
		return max(code, 1)
	}
	return code
}

type sharedStack struct {
	options devstack.Options
	once    sync.Once
	stack   *devstack.Stack
	err     error
}

func (s *sharedStack) get(t testing.TB) *devstack.Stack {
	t.Helper()
	s.once.Do(func() {
		// Not the test's context: the other tests go on after this one.
		s.stack, s.err = devstack.Start(context.Background(), s.options)
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.stack
}

func (s *sharedStack) close() error {
	if s.stack == nil {
		return nil
	}
	return s.stack.Close()
}

// SharedRedis returns the URL of the Redis that all tests of this process
// share: REDIS_URL, or a private one. Each test takes a key prefix of its own
// and flushes nothing.
func SharedRedis(t testing.TB) string {
	t.Helper()
	return shared.redis.get(t).RedisURL()
}

// Database returns the URL of a fresh, empty database, dropped when the test
// ends. All tests of this process share its server: the one DATABASE_URL names,
// whose user must be allowed to create databases, or a private one.
func Database(t testing.TB) string {
	t.Helper()
	return createOwn(t, "template1")
}

// DatabaseFrom is Database as a copy, which takes about 10 ms. prepare
// fills what is copied, once in this process for each name of a template; it
// must close its connections.
func DatabaseFrom(t testing.TB, template string, prepare func(url string) error) string {
	t.Helper()
	admin := shared.postgres.get(t).DatabaseURL()
	name, err := shared.templates.get(admin, template, prepare)
	if err != nil {
		t.Fatalf("template database %s: %v", template, err)
	}
	return createOwn(t, name)
}

var testDatabases atomic.Int64

// createOwn names databases after our pid, as packages may share the
// server that DATABASE_URL names.
func createOwn(t testing.TB, template string) string {
	t.Helper()
	admin := shared.postgres.get(t).DatabaseURL()
	name := fmt.Sprintf("flashsale_test_%d_%d", os.Getpid(), testDatabases.Add(1))
	if err := createDatabase(t.Context(), admin, name, template); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dropDatabase(context.WithoutCancel(t.Context()), admin, name); err != nil {
			t.Error(err)
		}
	})
	url, err := withDatabase(admin, name)
	if err != nil {
		t.Fatal(err)
	}
	return url
}

func createDatabase(ctx context.Context, admin, name, template string) error {
	return execute(ctx, admin, "CREATE DATABASE "+name+" TEMPLATE "+template)
}

func dropDatabase(ctx context.Context, admin, name string) error {
	return execute(ctx, admin, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
}

// execute runs one statement on a connection of its own.
func execute(ctx context.Context, url, statement string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect to postgres: %w", err)
	}
	if _, err = conn.Exec(ctx, statement); err != nil {
		err = fmt.Errorf("%s: %w", statement, err)
	}
	return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
}

// withDatabase is the same server's address with another database, in either
// form that pgx reads.
func withDatabase(address, database string) (string, error) {
	if !strings.Contains(address, "://") {
		return address + " dbname=" + database, nil
	}
	parsed, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("database URL: %w", err)
	}
	parsed.Path = "/" + database
	return parsed.String(), nil
}

// templates are the databases that DatabaseFrom copies.
type templates struct {
	mu     sync.Mutex
	admin  string
	byName map[string]templateResult
}

// templateResult keeps an error too: a broken migration is told by every test,
// and run once.
type templateResult struct {
	database string
	err      error
}

func (ts *templates) get(admin, name string, prepare func(url string) error) (string, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if known, ok := ts.byName[name]; ok {
		return known.database, known.err
	}
	if ts.byName == nil {
		ts.byName, ts.admin = map[string]templateResult{}, admin
	}
	database := fmt.Sprintf("flashsale_template_%d_%d", os.Getpid(), len(ts.byName)+1)
	err := makeTemplate(context.Background(), admin, database, prepare)
	ts.byName[name] = templateResult{database, err}
	return database, err
}

func makeTemplate(ctx context.Context, admin, database string, prepare func(url string) error) error {
	if err := createDatabase(ctx, admin, database, "template1"); err != nil {
		return err
	}
	url, err := withDatabase(admin, database)
	if err != nil {
		return err
	}
	return prepare(url)
}

// drop matters for a server of somebody else; a private one goes away whole.
func (ts *templates) drop(ctx context.Context) error {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	var errs []error
	for _, t := range ts.byName {
		errs = append(errs, dropDatabase(ctx, ts.admin, t.database))
	}
	return errors.Join(errs...)
}
