package engine

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/rueidis"
)

// rightsKey is a key that nothing is written to.
func rightsKey(prefix string) string { return prefix + ":{p00}:rights" }

// rights are the commands that the engine, its scripts and a reconciliation need, each as it may be called on a key. A script that may not run
// one would find out after it had written.
func rights(key string) [][]string {
	return [][]string{
		{"PING"},
		{"TIME"},
		{"INFO", "replication"},
		{"BGREWRITEAOF"},
		{"WAIT", "1", "1"},
		{"EVAL", "return 0", "1", key},
		{"EVALSHA", strings.Repeat("0", 40), "1", key},
		{"EXISTS", key},
		{"UNLINK", key},
		{"HDEL", key, "f"},
		{"HEXISTS", key, "f"},
		{"HGET", key, "f"},
		{"HMGET", key, "f"},
		{"HSCAN", key, "0"},
		{"HSET", key, "f", "v"},
		{"HSETNX", key, "f", "v"},
		{"XADD", key, "1-0", "f", "v"},
		{"XRANGE", key, "-", "+"},
		{"XREAD", "STREAMS", key, "0"},
		{"XTRIM", key, "MINID", "1"},
		{"ZADD", key, "1", "m"},
		{"ZCARD", key},
		{"ZRANGE", key, "0", "1"},
		{"ZREM", key, "m"},
		{"ZSCAN", key, "0"},
	}
}

// CheckRights fails where the user of the connection may not run a command that is needed, or may not touch the keys. It
// asks inside a transaction that is thrown away: Redis says no when a command is queued, and runs none of them.
func (e *Engine) CheckRights(ctx context.Context) error {
	conn, err := dedicate(ctx, e.client, &e.loose)
	if err != nil {
		return fmt.Errorf("rights: %w", err)
	}
	defer conn.Close()
	key := rightsKey(e.config.Prefix)
	if err := doWithin(ctx, conn, conn.B().Exists().Key(key).Build()).Error(); err != nil && !isNoPermission(err) { // settles which server
		return fmt.Errorf("rights: %w", err)
	}
	if err := doWithin(ctx, conn, conn.B().Multi().Build()).Error(); err != nil {
		if isNoPermission(err) {
			return unfit("the Redis user lacks +multi and +discard, by which its rights are looked at")
		}
		return fmt.Errorf("rights: %w", err)
	}
	return e.missingRights(ctx, conn, key)
}

func (e *Engine) missingRights(ctx context.Context, conn rueidis.CommandClient, key string) error {
	var lacking []string
	for _, command := range rights(key) {
		err := doWithin(ctx, conn, conn.B().Arbitrary(command...).Build()).Error()
		switch {
		case err == nil:
		case isNoPermission(err) && strings.Contains(err.Error(), "key"):
			return unfit("the Redis user may not use the keys of this service: it needs ~%s:*", e.config.Prefix)
		case isNoPermission(err):
			lacking = append(lacking, "+"+strings.ToLower(command[0]))
		default:
			return fmt.Errorf("rights: %s: %w", command[0], err)
		}
	}
	if err := doWithin(ctx, conn, conn.B().Discard().Build()).Error(); isNoPermission(err) {
		lacking = append(lacking, "+discard")
	}
	if len(lacking) > 0 {
		return unfit("the Redis user lacks %s", strings.Join(lacking, " "))
	}
	return nil
}

func isNoPermission(err error) bool {
	reply, ok := rueidis.IsRedisErr(err)
	return ok && strings.HasPrefix(reply.Error(), "NOPERM")
}
