package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	dockerProbeTimeout = 3 * time.Second
	// dockerPullTimeout covers the first download of both images.
	dockerPullTimeout = 10 * time.Minute
	dockerStopTimeout = 4 * time.Second
	composeFileName   = "docker-compose.yml"
)

// compose runs docker compose with the file of this repository.
type compose struct {
	program string
	file    string
}

// findCompose returns nil when no engine answers, compose is not installed, or
// we are not inside the repository.
func findCompose(ctx context.Context, path string) *compose {
	program := lookPath(path, "docker")
	file := composeFile()
	if program == "" || file == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, dockerProbeTimeout)
	defer cancel()
	// The client prints its own half even when no engine answers, hence the format.
	info := exec.CommandContext(ctx, program, "info", "--format", "{{.ServerVersion}}")
	if out, err := info.Output(); err != nil || len(strings.TrimSpace(string(out))) == 0 {
		return nil
	}
	c := &compose{program: program, file: file}
	if _, err := c.run(ctx, "version"); err != nil {
		return nil
	}
	return c
}

func lookPath(path, name string) string {
	for _, dir := range filepath.SplitList(path) {
		candidate := filepath.Join(dir, name)
		if info, err := os.Stat(candidate); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return candidate
		}
	}
	return ""
}

// composeFile looks upwards from the working folder.
func composeFile() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for {
		file := filepath.Join(dir, composeFileName)
		if _, err := os.Stat(file); err == nil {
			return file
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

func (c *compose) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.program, append([]string{"compose", "-f", c.file}, args...)...)
	// The file asks for it, for a service that is not started here.
	cmd.Env = append(os.Environ(), "ADMIN_TOKEN=unused")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("docker compose %s: %w\n%s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

// start brings one service up. Stopping leaves alone what was up before.
func (c *compose) start(parent context.Context, name string) (stop func() error, err error) {
	ctx, cancel := context.WithTimeout(parent, dockerPullTimeout)
	defer cancel()
	running, err := c.run(ctx, "ps", "--services", "--status", "running")
	if err != nil {
		return nil, err
	}
	if _, err := c.run(ctx, "up", "-d", "--wait", name); err != nil {
		return nil, err
	}
	if slices.Contains(strings.Fields(running), name) {
		return nil, nil
	}
	return func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(parent), dockerStopTimeout)
		defer cancel()
		_, err := c.run(ctx, "stop", "-t", "3", name)
		return err
	}, nil
}

func (c *compose) startService(ctx context.Context, name, port, scheme, path string) (service, error) {
	stop, err := c.start(ctx, name)
	if err != nil {
		return service{}, err
	}
	address, err := c.run(ctx, "port", name, port)
	if err != nil {
		if stop != nil {
			err = errors.Join(err, stop())
		}
		return service{}, err
	}
	return service{url: scheme + address + path, name: "docker compose service " + name + " (" + address + ")", stop: stop}, nil
}

func (c *compose) startRedis(ctx context.Context) (service, error) {
	return c.startService(ctx, "redis", "6379", "redis://admin:flashsale@", "")
}

func (c *compose) startPostgres(ctx context.Context) (service, error) {
	svc, err := c.startService(ctx, "postgres", "5432", "postgres://flashsale:flashsale@", "/"+DatabaseName)
	svc.psql = "docker compose exec postgres psql -U flashsale " + DatabaseName
	return svc, err
}
