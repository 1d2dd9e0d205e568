package devstack

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// ErrNotInstalled is wrapped by the error of Start and of the test servers when
// a server can be neither found nor started here.
var ErrNotInstalled = errors.New("not installed")

// packager is one way to install the servers.
type packager struct {
	program  string // the package manager
	command  string
	redis    string
	postgres string
}

var packagers = []packager{
	{"apt-get", "apt-get update && %sapt-get install -y", "redis-server", "postgresql"},
	{"dnf", "dnf install -y", "valkey", "postgresql-server"},
	{"apk", "apk add", "valkey", "postgresql"},
	{"pacman", "pacman -S --needed", "valkey", "postgresql"},
	{"zypper", "zypper install -y", "redis7", "postgresql-server"},
	{"brew", "brew install", "redis", "postgresql@17"},
}

// missingError names what could not be found, the one line that installs it, and what else would do, each in a line of its own.
// Notes say why nothing that is there would.
func missingError(redis, postgres bool, notes ...string) error {
	var what []string
	if redis {
		what = append(what, "redis-server (or valkey-server) 7.0 or later")
	}
	if postgres {
		what = append(what, "PostgreSQL 14 or later")
	}
	why := ""
	for _, note := range notes {
		why += "\n  (" + note + ")"
	}
	return fmt.Errorf("%s: %w\n  install: %s\n  or name what runs elsewhere: %s%s",
		strings.Join(what, " and "), ErrNotInstalled, installLine(redis, postgres), environmentHint(redis, postgres), why)
}

func environmentHint(redis, postgres bool) string {
	var names []string
	if redis {
		names = append(names, "REDIS_URL=redis://host:6379")
	}
	if postgres {
		names = append(names, "DATABASE_URL=postgres://user:password@host:5432/flashsale")
	}
	return strings.Join(names, " ")
}

// installLine is the line to type on this machine for what is missing.
func installLine(redis, postgres bool) string {
	for _, p := range packagers {
		if (p.program == "brew") != (runtime.GOOS == "darwin") {
			continue
		}
		if _, err := exec.LookPath(p.program); err == nil {
			return p.line(redis, postgres, os.Geteuid() != 0)
		}
	}
	if runtime.GOOS == "darwin" {
		return "brew install redis postgresql@17 (Homebrew: https://brew.sh)"
	}
	return "redis and postgresql with your package manager"
}

func (p packager) line(redis, postgres, sudo bool) string {
	prefix := ""
	if sudo && p.program != "brew" {
		prefix = "sudo "
	}
	line := prefix + p.command
	if strings.Contains(line, "%s") {
		line = fmt.Sprintf(line, prefix)
	}
	if redis {
		line += " " + p.redis
	}
	if postgres {
		line += " " + p.postgres
	}
	return line
}
