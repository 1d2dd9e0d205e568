package devstack

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
)

// starter brings one chosen service up.
type starter func(context.Context) (service, error)

// plan is how each service will be brought up.
type plan struct {
	redis    starter
	postgres starter
	tempDir  string // for private servers whose data is not kept
}

// resolver chooses for each service: environment, private server, Docker.
type resolver struct {
	Options
	dataDir  string
	tempDir  string
	tooOld   []string
	composed *compose
	asked    bool // Docker was looked for
}

func newPlan(ctx context.Context, o Options) (*plan, error) {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.finder == nil {
		o.finder = systemFinder(o.Getenv("PATH"))
	}
	r := &resolver{Options: o}
	redis, err := r.chooseRedis(ctx)
	if err != nil {
		return nil, err
	}
	postgres, err := r.choosePostgres(ctx)
	if err != nil {
		return nil, err
	}
	if redis == nil || postgres == nil {
		if r.tempDir != "" {
			_ = os.Remove(r.tempDir) // It is empty; the missing server is the error to tell.
		}
		return nil, missingError(redis == nil, postgres == nil, append(r.tooOld, "no Docker engine with compose answers")...)
	}
	return &plan{redis: redis, postgres: postgres, tempDir: r.tempDir}, nil
}

func noService(context.Context) (service, error) { return service{}, nil }

func as(svc service) starter {
	return func(context.Context) (service, error) { return svc, nil }
}

// chooseRedis returns nil when there is no way to get one.
func (r *resolver) chooseRedis(ctx context.Context) (starter, error) {
	if r.NoRedis {
		return noService, nil
	}
	if svc, ok := redisFromEnvironment(r.Getenv); ok {
		return as(svc), nil
	}
	found, tooOld := r.finder.redis(ctx)
	r.tooOld = append(r.tooOld, tooOld...)
	if found != nil {
		dir, err := r.folder()
		return func(ctx context.Context) (service, error) {
			return startRedis(ctx, found, dir, r.DataDir == "")
		}, err
	}
	if c := r.compose(ctx); c != nil {
		return c.startRedis, nil
	}
	return nil, nil
}

// choosePostgres returns nil when there is no way to get one.
func (r *resolver) choosePostgres(ctx context.Context) (starter, error) {
	if r.NoPostgres {
		return noService, nil
	}
	if svc, ok := postgresFromEnvironment(r.Getenv); ok {
		return as(svc), nil
	}
	found, tooOld := r.finder.postgres(ctx)
	r.tooOld = append(r.tooOld, tooOld...)
	if len(found) > 0 {
		dir, err := r.folder()
		chosen := withData(found, dir)
		return func(ctx context.Context) (service, error) {
			return startPostgres(ctx, &chosen, dir, r.DataDir == "")
		}, err
	}
	if c := r.compose(ctx); c != nil {
		return c.startPostgres, nil
	}
	return nil, nil
}

// withData prefers the release whose data is there already, so that installing
// a newer Postgres does not hide the ledger; otherwise the first one.
func withData(found []program, dir string) program {
	for _, p := range found {
		if _, err := os.Stat(filepath.Join(dir, "postgres-"+strconv.Itoa(p.major), "data")); err == nil {
			return p
		}
	}
	return found[0]
}

// folder is made once, when the first private server needs it.
func (r *resolver) folder() (string, error) {
	if r.dataDir != "" {
		return r.dataDir, nil
	}
	var err error
	if r.DataDir == "" {
		r.tempDir, err = makeTemporaryDir()
		r.dataDir = r.tempDir
	} else {
		r.dataDir, err = makeDataDir(r.DataDir)
	}
	return r.dataDir, err
}

func (r *resolver) compose(ctx context.Context) *compose {
	if !r.asked {
		r.asked = true
		r.composed = findCompose(ctx, r.Getenv("PATH"))
	}
	return r.composed
}
