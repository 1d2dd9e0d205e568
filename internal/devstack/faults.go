package devstack

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// AppendOnlyFile is where the server writes what it does, on a Redis that has rewritten its file as on one that has not.
func (s *RedisServer) AppendOnlyFile() (string, error) {
	found, err := filepath.Glob(filepath.Join(s.redis.dir, "appendonlydir", "appendonly.aof.*.incr.aof"))
	if err != nil {
		return "", fmt.Errorf("append-only file: %w", err)
	}
	if len(found) == 0 {
		return "", fmt.Errorf("no append-only file in %s", s.redis.dir)
	}
	newest, number := "", -1
	for _, file := range found {
		fields := strings.Split(filepath.Base(file), ".")
		if n, err := strconv.Atoi(fields[2]); err == nil && n > number {
			newest, number = file, n
		}
	}
	return newest, nil
}

// Socket is the unix socket that the server listens on; it stays the same over restarts.
func (s *PostgresServer) Socket() string { return filepath.Join(s.postgres.socket, postgresSocket) }

// Pause freezes the server and all its sessions with SIGSTOP.
func (s *PostgresServer) Pause() error { return s.signalAll(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *PostgresServer) Resume() error { return s.signalAll(syscall.SIGCONT) }

// signalAll reaches the postmaster first: frozen, it starts no sessions that would be missed.
func (s *PostgresServer) signalAll(signal syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.server.signal(signal); err != nil {
		return err
	}
	sessions, err := children(context.Background(), s.server.cmd.Process.Pid)
	if err != nil {
		return err
	}
	for _, pid := range sessions {
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) { // it may have ended
			return fmt.Errorf("send %s to session %d: %w", signal, pid, err)
		}
	}
	return nil
}

// children are the processes that a process has started itself.
func children(ctx context.Context, parent int) (pids []int, err error) {
	out, err := exec.CommandContext(ctx, "ps", "-A", "-o", "ppid=,pid=").Output()
	if err != nil {
		return nil, fmt.Errorf("ps: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		var of, pid int
		if _, err := fmt.Sscan(line, &of, &pid); err == nil && of == parent {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
