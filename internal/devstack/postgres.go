package devstack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/jackc/pgx/v5"
)

const (
	postgresUser   = "flashsale"
	postgresPort   = "5432" // only a part of the socket's name
	postgresSocket = ".s.PGSQL." + postgresPort
	// DatabaseName is the database of a private or compose Postgres.
	DatabaseName = "flashsale"
	// maintenanceDatabase always exists; databases are made and dropped from it.
	maintenanceDatabase = "postgres"
)

// privatePostgres is what is needed to run one Postgres cluster of our own.
type privatePostgres struct {
	program *program
	dir     string              // service folder
	owner   *syscall.Credential // nil: as ourselves
	discard bool                // temporary data: no promise beyond this process
	more    []string            // settings such as fsync=on, after ours
	socket  string              // folder of the socket, set by prepare
}

func newPostgres(p *program, dataDir string, discard bool) (*privatePostgres, error) {
	owner, err := postgresOwner()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(dataDir, "postgres-"+strconv.Itoa(p.major))
	return &privatePostgres{program: p, dir: dir, owner: owner, discard: discard}, nil
}

// postgresOwner is the user that Postgres runs as: ourselves, or an unprivileged
// one because it refuses root.
func postgresOwner() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseInt(account.Uid, 10, 64) // macOS: nobody is -2
		gid, errGID := strconv.ParseInt(account.Gid, 10, 64)
		if err := errors.Join(errUID, errGID); err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("Postgres refuses to run as root, and there is no user postgres or nobody to run it as")
}

func (p *privatePostgres) prepare() error {
	if err := makePrivateDir(p.dir, p.owner); err != nil {
		return err
	}
	if p.owner != nil {
		if err := enterable(filepath.Dir(p.dir), p.owner); err != nil {
			return err
		}
	}
	dir, err := socketDir(p.dir, postgresSocket, p.owner)
	p.socket = dir
	return err
}

// enterable reports the first parent folder that the user cannot pass through.
func enterable(dir string, owner *syscall.Credential) error {
	for ; dir != "/"; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("data folder: %w", err)
		}
		mode, mask := info.Mode().Perm(), fs.FileMode(0o001)
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid == owner.Uid {
			mask = 0o100
		} else if ok && stat.Gid == owner.Gid {
			mask = 0o010
		}
		if mode&mask == 0 {
			return fmt.Errorf("user %d, whom Postgres runs as because it refuses root, cannot enter %s: "+
				"set DATA_DIR to a folder that it can, such as %s", owner.Uid, dir, rootDataDir)
		}
	}
	return nil
}

func (p *privatePostgres) url(database string) string {
	query := url.Values{"host": {p.socket}, "port": {postgresPort}}
	return "postgres://" + postgresUser + "@/" + database + "?" + query.Encode()
}

func (p *privatePostgres) data() string { return filepath.Join(p.dir, "data") }

// initialise runs initdb into another name first, so that a folder called data
// is always a whole one.
func (p *privatePostgres) initialise(ctx context.Context) error {
	if _, err := os.Stat(p.data()); err == nil {
		return nil
	}
	fresh := p.data() + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("leftover of initdb: %w", err)
	}
	argv := []string{
		filepath.Join(p.program.path, "initdb"), "-D", fresh, "--username=" + postgresUser, "--auth=trust",
		"--encoding=UTF8", "--locale=C", "--no-instructions",
	}
	if p.discard {
		argv = append(argv, "--no-sync")
	}
	tool := childSpec{argv: argv, dir: p.dir, credential: p.owner, orphaned: "TERM", removeDir: p.discard}
	if err := runTool(ctx, tool); err != nil {
		return err
	}
	if err := os.Rename(fresh, p.data()); err != nil {
		return fmt.Errorf("finish initdb: %w", err)
	}
	return nil
}

func (p *privatePostgres) start(ctx context.Context) (*child, error) {
	stop := []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT} // fast, then immediate
	if p.discard {
		stop = stop[1:]
	}
	return startChild(ctx, childSpec{
		argv:       p.argv(),
		dir:        p.dir,
		credential: p.owner,
		orphaned:   "QUIT",
		removeDir:  p.discard,
		stop:       stop,
		ready:      p.ping,
	})
}

// argv passes the settings as arguments, so that a folder made by an older
// release of ours runs with today's.
func (p *privatePostgres) argv() []string {
	settings := []string{
		"listen_addresses=", "unix_socket_permissions=0700", "synchronous_commit=on",
		"timezone=UTC", "log_timezone=UTC", "log_checkpoints=off",
	}
	if p.discard {
		settings = append(settings, "max_connections=200", "shared_buffers=64MB", "max_wal_size=1GB",
			"fsync=off", "full_page_writes=off")
	} else {
		settings = append(settings, "max_connections=100", "shared_buffers=256MB", "max_wal_size=2GB",
			"fsync=on", "full_page_writes=on")
	}
	argv := []string{filepath.Join(p.program.path, "postgres"), "-D", p.data(), "-k", p.socket, "-p", postgresPort}
	for _, setting := range append(settings, p.more...) {
		argv = append(argv, "-c", setting)
	}
	return argv
}

func (p *privatePostgres) ping(ctx context.Context) error {
	return onDatabase(ctx, p.url(maintenanceDatabase), func(conn *pgx.Conn) error { return conn.Ping(ctx) })
}

// onDatabase runs one piece of work on a connection of its own.
func onDatabase(ctx context.Context, url string, work func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect to postgres: %w", err)
	}
	// The connection is closed even when ctx has ended meanwhile.
	return errors.Join(work(conn), conn.Close(context.WithoutCancel(ctx)))
}

func (p *privatePostgres) ensureDatabase(ctx context.Context) error {
	return onDatabase(ctx, p.url(maintenanceDatabase), func(conn *pgx.Conn) error {
		var exists bool
		const query = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)"
		if err := conn.QueryRow(ctx, query, DatabaseName).Scan(&exists); err != nil {
			return fmt.Errorf("look for the database: %w", err)
		}
		if exists {
			return nil
		}
		if _, err := conn.Exec(ctx, "CREATE DATABASE "+DatabaseName); err != nil {
			return fmt.Errorf("create the database: %w", err)
		}
		return nil
	})
}

// startPostgres runs Postgres on the data folder, or attaches to the one that
// another process runs there.
func startPostgres(ctx context.Context, prog *program, dataDir string, discard bool) (service, error) {
	p, err := newPostgres(prog, dataDir, discard)
	if err != nil {
		return service{}, err
	}
	if err := p.prepare(); err != nil {
		return service{}, err
	}
	owned, err := own(ctx, p.dir, func(ctx context.Context) error {
		return onDatabase(ctx, p.url(DatabaseName), func(conn *pgx.Conn) error { return conn.Ping(ctx) })
	})
	if err != nil {
		return service{}, err
	}
	svc := service{
		url:  p.url(DatabaseName),
		name: fmt.Sprintf("private PostgreSQL %s (%s)", prog.version, prog.path),
		psql: fmt.Sprintf("%s '%s'", filepath.Join(prog.path, "psql"), p.url(DatabaseName)),
	}
	if owned.attached() {
		svc.name += ", attached: run by " + owned.by
		return svc, nil
	}
	server, err := p.run(ctx)
	if err != nil {
		return service{}, errors.Join(err, owned.release())
	}
	svc.stop = func() error { return errors.Join(server.shutdown(), owned.release()) }
	return svc, nil
}

// run brings the cluster up with its database.
func (p *privatePostgres) run(ctx context.Context) (*child, error) {
	if err := p.initialise(ctx); err != nil {
		return nil, err
	}
	server, err := p.start(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.ensureDatabase(ctx); err != nil {
		return nil, errors.Join(err, server.shutdown())
	}
	return server, nil
}
