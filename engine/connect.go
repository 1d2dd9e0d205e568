package engine

import (
	"context"
	"errors"
	"fmt"
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
	option.DisableCache = true
	option.DisableRetry = true // what may be repeated is decided here, not there
	client, err := rueidis.NewClient(option)
	if err != nil {
		return nil, fmt.Errorf("connect to redis: %w", err)
	}
	if err := checkServer(ctx, client); err != nil {
		client.Close()
		return nil, err
	}
	return client, nil
}

// checkServer refuses servers that can't keep the promises: too old, or evicting keys.
func checkServer(ctx context.Context, client rueidis.Client) error {
	for address, node := range client.Nodes() {
		info, err := node.Do(ctx, node.B().Info().Section("server", "memory").Build()).ToString()
		if err != nil {
			return fmt.Errorf("redis %s: %w", address, err)
		}
		if policy := infoField(info, "maxmemory_policy"); policy != "" && policy != "noeviction" {
			return fmt.Errorf("redis %s has maxmemory-policy %s: it would evict stock; set it to noeviction", address, policy)
		}
		var major int
		version := infoField(info, "redis_version")
		if _, err := fmt.Sscanf(version, "%d.", &major); err != nil || major < minRedisMajor {
			return fmt.Errorf("redis %s has version %q: %d.0 or later is needed", address, version, minRedisMajor)
		}
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
