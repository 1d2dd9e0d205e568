package devstack

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// maxSocketPath is the smallest limit among our platforms (macOS), without the
// final zero.
const maxSocketPath = 103

const rootDataDir = "/var/lib/flashsale"

// DefaultDataDir is where `flashsale serve --dev` keeps its data between runs:
// DATA_DIR, or a folder of this user outside the checkout. Root gets a folder
// of its own because the user that Postgres runs as cannot enter /root.
func DefaultDataDir() string { return defaultDataDir(os.Getenv) }

func defaultDataDir(getenv func(string) string) string {
	if dir := getenv("DATA_DIR"); dir != "" {
		return dir
	}
	if os.Geteuid() == 0 {
		return rootDataDir
	}
	home := getenv("HOME")
	switch {
	case runtime.GOOS == "darwin" && home != "":
		return filepath.Join(home, "Library", "Application Support", "flashsale")
	case getenv("XDG_DATA_HOME") != "":
		return filepath.Join(getenv("XDG_DATA_HOME"), "flashsale")
	case home != "":
		return filepath.Join(home, ".local", "share", "flashsale")
	}
	return filepath.Join(os.TempDir(), "flashsale-"+strconv.Itoa(os.Geteuid()))
}

// makeDataDir creates the folder that holds the service folders. It can be
// entered by others, its service folders cannot.
func makeDataDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("data folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return "", fmt.Errorf("data folder: %w", err)
	}
	return dir, nil
}

func makeTemporaryDir() (string, error) {
	dir, err := os.MkdirTemp("", "flashsale-")
	if err != nil {
		return "", fmt.Errorf("temporary data folder: %w", err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return "", fmt.Errorf("temporary data folder: %w", err)
	}
	return dir, nil
}

// makePrivateDir creates a folder that only its owner (and root) can enter.
func makePrivateDir(dir string, owner *syscall.Credential) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("private folder: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("private folder: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() {
		return fmt.Errorf("private folder: %s is not a folder", dir)
	}
	uid, gid := os.Geteuid(), os.Getegid()
	if owner != nil {
		uid, gid = int(owner.Uid), int(owner.Gid)
	}
	// A folder prepared by somebody else, under /tmp say, is not private.
	if have := int(stat.Uid); have != uid && have != os.Geteuid() {
		return fmt.Errorf("private folder: %s belongs to user %d", dir, have)
	}
	if owner != nil {
		if err := os.Lchown(dir, uid, gid); err != nil {
			return fmt.Errorf("private folder: %w", err)
		}
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("private folder: %w", err)
	}
	return nil
}

// socketDir is the folder for a server's socket: the service folder, or a short
// one under the temporary folder where the path would be too long for a socket.
func socketDir(serviceDir, socket string, owner *syscall.Credential) (string, error) {
	if len(filepath.Join(serviceDir, socket)) <= maxSocketPath {
		return serviceDir, nil
	}
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(serviceDir)) // A hash never returns an error.
	name := fmt.Sprintf("flashsale-%d-%x", os.Geteuid(), sum.Sum64())
	for _, temp := range []string{os.TempDir(), "/tmp"} {
		dir := filepath.Join(temp, name)
		if len(filepath.Join(dir, socket)) <= maxSocketPath {
			return dir, makePrivateDir(dir, owner)
		}
	}
	return "", fmt.Errorf("no folder is short enough for the socket of %s", serviceDir)
}

// lockFile waits for an exclusive lock, at most lockTimeout. Closing the last
// copy of the file, inherited ones included, releases it.
func lockFile(ctx context.Context, path string) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	var file *os.File
	err := poll(ctx, func() (locked bool, err error) {
		file, err = tryLock(path)
		return file != nil, err
	})
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return file, nil
}

// tryLock returns nil without an error while another process holds the lock.
func tryLock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return file, nil
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, file.Close()
	}
	return nil, errors.Join(err, file.Close())
}

// recordOwner leaves our pid in the lock file, for whoever attaches.
func recordOwner(lock *os.File) error {
	pid := strconv.Itoa(os.Getpid())
	if err := lock.Truncate(0); err != nil {
		return fmt.Errorf("owner lock: %w", err)
	}
	if _, err := lock.WriteAt([]byte(pid), 0); err != nil {
		return fmt.Errorf("owner lock: %w", err)
	}
	return nil
}

func recordedOwner(path string) string {
	pid, err := os.ReadFile(path)
	if err != nil || len(pid) == 0 {
		return "another process"
	}
	return "process " + strings.TrimSpace(string(pid))
}
