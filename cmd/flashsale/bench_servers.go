package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"flashsale/internal/devstack"
)

// privateServers are a Redis and a Postgres on temporary data, as durable as real ones: a comparison on a Postgres that
// does not wait for its disk would say nothing.
type privateServers struct {
	redis    *devstack.RedisServer
	postgres *devstack.Stack
	dir      string
}

// startPrivate starts them, whatever the environment names.
func startPrivate(ctx context.Context, fsync string) (_ *privateServers, err error) {
	s := &privateServers{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.dir, err = os.MkdirTemp("", "flashsale-bench-"); err != nil {
		return nil, fmt.Errorf("temporary data folder: %w", err)
	}
	if err = os.Chmod(s.dir, 0o711); err != nil { // Postgres may run as another user
		return nil, fmt.Errorf("temporary data folder: %w", err)
	}
	if s.redis, err = devstack.NewRedisServer(ctx, "appendfsync "+fsync, "auto-aof-rewrite-percentage 0"); err != nil {
		return nil, err
	}
	s.postgres, err = devstack.Start(ctx, devstack.Options{DataDir: s.dir, NoRedis: true, Getenv: withoutStores})
	return s, err
}

// withoutStores is the environment without what it says about servers.
func withoutStores(name string) string {
	if strings.HasPrefix(name, "REDIS_") || strings.HasPrefix(name, "DATABASE_") {
		return ""
	}
	return os.Getenv(name)
}

// Close stops them and removes their data.
func (s *privateServers) Close() (err error) {
	if s.postgres != nil {
		err = errors.Join(err, s.postgres.Close())
	}
	if s.redis != nil {
		err = errors.Join(err, s.redis.Close())
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// benchDatabase is a database of the bench's own on a server that others use too.
type benchDatabase struct {
	server string // address that it was made through
	name   string
	url    string
}

func createDatabase(ctx context.Context, server, name string) (*benchDatabase, error) {
	d := &benchDatabase{server: server, name: name, url: withDatabase(server, name)}
	if err := d.execute(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
		return nil, fmt.Errorf("DATABASE_URL or DATABASE_HOST (--dev starts one): create a database for the bench: %w", err)
	}
	return d, nil
}

// withDatabase names another database in an address: a URL, or words like dbname=x, of which the last counts.
func withDatabase(address, name string) string {
	if u, err := url.Parse(address); err == nil && u.Scheme != "" {
		u.Path = "/" + name
		return u.String()
	}
	return address + " dbname=" + name
}

// drop ends what is still connected to it.
func (d *benchDatabase) drop(ctx context.Context) error {
	if err := d.execute(ctx, "DROP DATABASE "+pgx.Identifier{d.name}.Sanitize()+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("drop the bench's database %s: %w", d.name, err)
	}
	return nil
}

// databaseTimeout bounds the making and the dropping of a database.
const databaseTimeout = 30 * time.Second

func (d *benchDatabase) execute(ctx context.Context, statement string) error {
	ctx, cancel := context.WithTimeout(ctx, databaseTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, d.server)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}
