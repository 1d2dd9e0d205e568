package devstack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// startTimeout covers crash recovery of a well-filled ledger.
	startTimeout = 60 * time.Second
	// killAfter bounds a shutdown; two of these steps stay under five seconds.
	killAfter = 2 * time.Second
	// lockTimeout is longer than a watchdog needs to end a server.
	lockTimeout    = 10 * time.Second
	logTailBytes   = 2048
	serverLogName  = "server.log"
	serverLockName = "server.lock"
)

// childSpec says how to run one private server.
type childSpec struct {
	argv       []string
	dir        string              // service folder: server.lock and server.log are in it
	credential *syscall.Credential // nil: as ourselves
	orphaned   string              // signal name the watchdog sends when we are gone
	removeDir  bool                // the watchdog removes dir after that
	stop       []syscall.Signal    // sent in turn, killAfter apart; SIGKILL follows
	ready      func(context.Context) error
}

// child is a running private server. Its process group is its own, so that a
// Ctrl-C in the terminal reaches us alone and the shutdown stays in order.
type child struct {
	spec childSpec
	cmd  *exec.Cmd
	done chan struct{} // closed when the server has ended and err is set
	err  error
}

// startChild runs the server and waits until it is ready.
func startChild(ctx context.Context, spec childSpec) (*child, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	lock, err := lockFile(ctx, filepath.Join(spec.dir, serverLockName))
	if err != nil {
		return nil, fmt.Errorf("wait for the previous %s to end: %w", filepath.Base(spec.argv[0]), err)
	}
	defer lock.Close() // The server keeps its inherited copy, and with it the lock.
	c, err := launch(ctx, spec, lock)
	if err != nil {
		return nil, err
	}
	if err := c.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, c.kill())
	}
	return c, nil
}

func launch(ctx context.Context, spec childSpec, lock *os.File) (*child, error) {
	log, err := os.Create(filepath.Join(spec.dir, serverLogName))
	if err != nil {
		return nil, fmt.Errorf("server log: %w", err)
	}
	defer log.Close()
	gate, open, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("server gate: %w", err)
	}
	defer gate.Close()
	defer open.Close()

	// The server outlives the call that starts it.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "/bin/sh",
		append([]string{"-c", gateScript, "flashsale-gate"}, spec.argv...)...)
	cmd.Dir = spec.dir
	cmd.Env = serverEnv()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = gate, log, log
	cmd.ExtraFiles = []*os.File{lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: spec.credential}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.argv[0], err)
	}
	removeDir := ""
	if spec.removeDir {
		removeDir = spec.dir
	}
	dog, err := startWatchdog(ctx, spec.orphaned, strconv.Itoa(cmd.Process.Pid), removeDir)
	if err != nil {
		_ = open.Close() // The closed gate ends the waiting shell.
		return nil, errors.Join(err, cmd.Wait())
	}
	c := &child{spec: spec, cmd: cmd, done: make(chan struct{})}
	go c.reap(dog)
	if _, err := open.WriteString("\n"); err != nil {
		return nil, errors.Join(fmt.Errorf("open the server gate: %w", err), c.kill())
	}
	return c, nil
}

// reap waits for the server. The zombie keeps its pid until Wait returns, and
// the watchdog acts only when we are gone, so it never signals a stranger.
func (c *child) reap(dog *watchdog) {
	err := c.cmd.Wait()
	c.err = errors.Join(err, dog.dismiss())
	close(c.done)
}

func (c *child) awaitReady(ctx context.Context) error {
	err := poll(ctx, func() (bool, error) {
		err := c.spec.ready(ctx)
		if err != nil && c.ended() {
			return false, fmt.Errorf("ended while starting: %w", c.err)
		}
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w; its log ends:\n%s", c.spec.argv[0], err, c.logTail())
	}
	return nil
}

func (c *child) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// runTool runs a program to its end under the same protection as a server.
func runTool(ctx context.Context, spec childSpec) error {
	lock, err := lockFile(ctx, filepath.Join(spec.dir, serverLockName))
	if err != nil {
		return err
	}
	defer lock.Close()
	c, err := launch(ctx, spec, lock)
	if err != nil {
		return err
	}
	select {
	case <-c.done:
		err = c.err
	case <-ctx.Done():
		err = errors.Join(ctx.Err(), c.kill())
	}
	if err != nil {
		return fmt.Errorf("%s: %w; it said:\n%s", spec.argv[0], err, c.logTail())
	}
	return nil
}

func (c *child) logTail() string {
	log, err := os.ReadFile(filepath.Join(c.spec.dir, serverLogName))
	if err != nil {
		return err.Error()
	}
	if cut := len(log) - logTailBytes; cut > 0 {
		log = log[cut:]
	}
	return string(bytes.TrimSpace(log))
}

// shutdown asks the server to end and insists until it does.
func (c *child) shutdown() error {
	for _, signal := range c.spec.stop {
		if err := c.signal(signal); err != nil {
			return err
		}
		select {
		case <-c.done:
			return nil
		case <-time.After(killAfter):
		}
	}
	return c.kill()
}

// kill ends the server at once and waits for it. A server that has ended
// already is no error.
func (c *child) kill() error {
	if c.ended() {
		return nil
	}
	// What it forked too, such as a Redis that sends its data to a replica.
	if err := syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill %s: %w", c.spec.argv[0], err)
	}
	<-c.done
	return nil
}

func (c *child) signal(signal syscall.Signal) error {
	err := c.cmd.Process.Signal(signal)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to %s: %w", signal, c.spec.argv[0], err)
	}
	return nil
}

// serverEnv is our environment without what would redirect a Postgres program,
// and with messages and sorting that do not depend on the machine.
func serverEnv() []string {
	env := []string{"LC_ALL=C"}
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "PG") && !strings.HasPrefix(pair, "LC_") && !strings.HasPrefix(pair, "LANG=") {
			env = append(env, pair)
		}
	}
	return env
}
