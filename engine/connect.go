package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// These notice a silent server within half a second instead of five (measured with rueidis 1.0.79).
const (
	keepAlive        = 400 * time.Millisecond
	connWriteTimeout = 500 * time.Millisecond
	dialTimeout      = time.Second
)

// maxLent bounds the connections to one server that are lent: to each worker of the four lanes that a partition has, and to
// whoever leads or repairs one.
const maxLent = (4*maxInFlight + 4) * MaxPartitions

// minRedisMajor is the oldest server that the scripts run on: they begin with #!lua, which Redis knows from 7.0.
const minRedisMajor = 7

var errAddress = errors.New("redis address: not a redis://, rediss:// or unix:// URL; reserved characters of a password are written as %XX")

// Connect opens a client for one Redis, a Redis Cluster or a Sentinel set, as rueidis.ParseURL reads its address.
func Connect(ctx context.Context, url string) (rueidis.Client, error) {
	option, err := rueidis.ParseURL(url)
	if err != nil {
		return nil, errAddress // without the parser's words: they repeat the address, and with it a password
	}
	option.Dialer.KeepAlive = keepAlive
	option.Dialer.Timeout = dialTimeout
	option.ConnWriteTimeout = connWriteTimeout
	option.BlockingPoolSize = maxLent
	option.DisableCache = true
	option.ClientSetInfo = rueidis.DisableClientSetInfo // a Redis 7.0 does not know it, and a user's rights need not have it
	option.DisableRetry = true                          // what may be repeated is decided here, not there
	client, err := newRelay(ctx, &option)
	if err != nil {
		return nil, err
	}
	if err := checkServers(ctx, client, warnUnkept); err != nil {
		client.Close()
		return nil, err
	}
	checkReplay(ctx, client, warnUnread)
	return client, nil
}

func warnUnkept(address string) {
	slog.Warn("redis keeps no append-only file: a crash loses every order that is not in the ledger yet; set appendonly yes",
		"address", address)
}

// checkServers refuses servers that can't keep the promises: too old, or evicting keys. A node of a cluster that is away is
// no reason not to start as long as another one answers. unkept is told of those that keep no append-only file.
func checkServers(ctx context.Context, client rueidis.Client, unkept func(address string)) error {
	var away error
	answered := false
	for address, node := range client.Nodes() {
		err := checkNode(ctx, address, node, unkept)
		switch {
		case err == nil:
			answered = true
		case Away(err):
			away = err
		default:
			return err
		}
	}
	if !answered {
		return away
	}
	return nil
}

func checkNode(ctx context.Context, address string, node rueidis.Client, unkept func(address string)) error {
	info, err := doWithin(ctx, node, node.B().Info().Section("server", "memory", "persistence").Build()).ToString()
	if err != nil {
		return fmt.Errorf("redis %s: %w", address, err)
	}
	if policy := infoField(info, "maxmemory_policy"); policy != "" && policy != "noeviction" {
		return unfit("redis %s has maxmemory-policy %s: it would evict stock; set it to noeviction", address, policy)
	}
	var major int
	version := infoField(info, "redis_version")
	if _, err := fmt.Sscanf(version, "%d.", &major); err != nil || major < minRedisMajor {
		return unfit("redis %s has version %q: %d.0 or later is needed", address, version, minRedisMajor)
	}
	if infoField(info, "aof_enabled") == "0" {
		unkept(address)
	}
	return nil
}

// infoField returns a field of an INFO reply, "" where it is not there.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
