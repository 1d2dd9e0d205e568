package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// rewritePoll is how often a running rewrite is looked at.
const rewritePoll = 5 * time.Millisecond

// errNotRewritten is what EnsureRewrite returns where the server could not write its file anew.
var errNotRewritten = errors.New("the append-only file was not written anew; the server's log says why")

// unwrittenReason is what the state of a partition says that waits for it.
const unwrittenReason = "Redis was started and could not write its append-only file anew: its own log says why"

// EnsureRewrite returns once the server has written its append-only file anew since it was started: a file that was torn by
// a crash can split a script's effects at the restart after the next (measured on Redis 7.0.15). One rewrite does for all
// partitions of a server, for as long as it runs; a replica that was promoted has had its own when it came in step. One that
// is under way is waited for. It does nothing where there is no such file.
func (l *Link) EnsureRewrite(ctx context.Context) error {
	err := l.ensureRewrite(ctx)
	if err == nil || errors.Is(err, errNotRewritten) { // anything else says nothing about the file
		l.unwritten.Store(err != nil)
	}
	return err
}

func (l *Link) ensureRewrite(ctx context.Context) error {
	for asked := false; ; {
		info, err := l.info(ctx, "persistence")
		switch {
		case err != nil:
			return err
		case infoField(info, "aof_enabled") != "1":
			return nil
		case rewriting(info): // also after another: a file that was started at run time is there at the end of it
		case rewritten(info):
			return nil
		case asked:
			return errNotRewritten
		default:
			if err := l.beginRewrite(ctx); err != nil {
				return err
			}
			asked = true
		}
		if !sleep(ctx, rewritePoll) {
			return ctx.Err()
		}
	}
}

// rewritten tells whether a server has ended a rewrite since it was started, and the last one well.
func rewritten(info string) bool {
	seconds := infoField(info, "aof_last_rewrite_time_sec") // -1 = none yet
	return seconds != "" && seconds != "-1" && infoField(info, "aof_last_bgrewrite_status") == "ok"
}

func rewriting(info string) bool {
	return infoField(info, "aof_rewrite_in_progress") == "1" || infoField(info, "aof_rewrite_scheduled") == "1"
}

// beginRewrite asks for one. Where the server can't even begin it, as without room for a file, that is errNotRewritten, too.
func (l *Link) beginRewrite(ctx context.Context) error {
	err := l.client.Do(ctx, l.client.B().Bgrewriteaof().Build()).Error()
	switch {
	case err == nil || strings.Contains(err.Error(), "already in progress"): // by another partition's link
		return nil
	case strings.HasPrefix(err.Error(), "Can't execute"):
		return errNotRewritten
	}
	return fmt.Errorf("rewrite the append-only file: %w", err)
}
