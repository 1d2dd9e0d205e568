package devstack

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const redisSocket = "redis.sock"

// keptFsync makes the private Redis as durable as the product asks of a real one:
// an order that was answered is on disk. Temporary data has to outlive the
// process only, which tests kill: a write that waited for the disk of a busy
// machine would fail them by timeouts.
const (
	keptFsync      = "appendfsync always"
	discardedFsync = "appendfsync no"
)

// redisSettings are those that all our servers have.
var redisSettings = []string{
	"port 0",
	"unixsocketperm 700",
	"daemonize no",
	"appendonly yes",
	"aof-load-truncated yes",
	"auto-aof-rewrite-min-size 1gb", // a rewrite in the middle of a sale takes a core away from it
	"save",
	"repl-backlog-ttl 0",
	"maxmemory-policy noeviction",
}

// privateRedis is what is needed to run one Redis of our own.
type privateRedis struct {
	program *program
	dir     string   // service folder
	more    []string // settings as in redis.conf, after ours
	discard bool     // temporary data
	socket  string   // set by prepare
}

func (r *privateRedis) prepare() error {
	if err := makePrivateDir(r.dir, nil); err != nil {
		return err
	}
	dir, err := socketDir(r.dir, redisSocket, nil)
	r.socket = filepath.Join(dir, redisSocket)
	return err
}

func (r *privateRedis) url() string { return "unix://" + r.socket }

func (r *privateRedis) start(ctx context.Context) (*child, error) {
	return startChild(ctx, childSpec{
		argv:      r.argv(),
		dir:       r.dir,
		orphaned:  "TERM",
		removeDir: r.discard,
		stop:      []syscall.Signal{syscall.SIGTERM},
		ready:     r.ping,
	})
}

func (r *privateRedis) argv() []string {
	// A folder may have spaces in its name (macOS: Application Support).
	argv := []string{r.program.path, "--dir", r.dir, "--unixsocket", r.socket}
	fsync := keptFsync
	if r.discard {
		fsync = discardedFsync
	}
	for _, setting := range slices.Concat(redisSettings, []string{fsync}, r.more) {
		words := strings.Fields(setting)
		if len(words) == 1 {
			words = append(words, "") // As in: save ""
		}
		argv = append(argv, "--"+words[0])
		argv = append(argv, words[1:]...)
	}
	return argv
}

func (r *privateRedis) ping(ctx context.Context) error {
	reply, err := Ask(ctx, "unix", r.socket, "PING")
	if err != nil && strings.Contains(err.Error(), "NOAUTH") {
		return nil // it answers, but not to strangers
	}
	if err == nil && reply != "PONG" {
		err = fmt.Errorf("answered %q to PING", reply)
	}
	return err
}

// startRedis runs Redis on the data folder, or attaches to the one that another
// process runs there.
func startRedis(ctx context.Context, p *program, dataDir string, discard bool) (service, error) {
	r := &privateRedis{program: p, dir: filepath.Join(dataDir, "redis"), discard: discard}
	if err := r.prepare(); err != nil {
		return service{}, err
	}
	owned, err := own(ctx, r.dir, r.ping)
	if err != nil {
		return service{}, err
	}
	svc := service{url: r.url(), name: fmt.Sprintf("private %s %s (%s)", p.name, p.version, p.path)}
	if owned.attached() {
		svc.name += ", attached: run by " + owned.by
		return svc, nil
	}
	server, err := r.start(ctx)
	if err != nil {
		return service{}, errors.Join(err, owned.release())
	}
	svc.stop = func() error { return errors.Join(server.shutdown(), owned.release()) }
	return svc, nil
}
