package engine

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// Link is a connection of its own to the server that holds a partition: everything asked through it is answered by
// that one server, also on a cluster. It is for one goroutine at a time.
type Link struct {
	partition int
	client    rueidis.DedicatedClient
	release   func()
	anchor    string // a key of the partition
	reply     time.Duration
	unwritten *atomic.Bool // whether the server could not write its append-only file anew
}

// linkReplyTimeout bounds every question that is not meant to block.
const linkReplyTimeout = 2 * time.Second

// Connect opens a link to the server that holds a partition.
func (e *Engine) Connect(ctx context.Context, partition int) (*Link, error) {
	client, release := e.client.Dedicate()
	l := &Link{
		partition: partition, client: client, release: release, reply: linkReplyTimeout,
		anchor: anchorKey(e.config.Prefix, partition), unwritten: &e.partitions[partition].unwritten,
	}
	ctx, cancel := context.WithTimeout(ctx, l.reply)
	defer cancel()
	// The first command with a key settles which server of a cluster this is.
	if err := client.Do(ctx, client.B().Exists().Key(l.anchor).Build()).Error(); err != nil {
		release()
		return nil, fmt.Errorf("link to partition %d: %w", partition, err)
	}
	return l, nil
}

// Close gives the connection back.
func (l *Link) Close() { l.release() }

// Replid returns the master_replid of the server, which names its history, and fails unless it is a primary.
func (l *Link) Replid(ctx context.Context) (string, error) {
	info, err := l.info(ctx, "replication")
	if err != nil {
		return "", err
	}
	if role := infoField(info, "role"); role != "master" {
		return "", fmt.Errorf("server of partition %d has the role %s", l.partition, role)
	}
	replid := infoField(info, "master_replid")
	if !replidPattern.MatchString(replid) {
		return "", fmt.Errorf("server of partition %d says %q where its master_replid should be", l.partition, replid)
	}
	return replid, nil
}

// Replicas returns how many replicas of the server are online.
func (l *Link) Replicas(ctx context.Context) (int, error) {
	info, err := l.info(ctx, "replication")
	return onlineIn(info), err
}

// onlineIn counts the replicas in an INFO reply that have all that the server has, but for what is on its way.
func onlineIn(info string) int { return strings.Count(info, ",state=online,") }

// replidPattern is what names a server's history: without it nobody could tell one server from another.
var replidPattern = regexp.MustCompile(`^[0-9a-f]{40}$`)

func (l *Link) info(ctx context.Context, section string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, l.reply)
	defer cancel()
	info, err := l.client.Do(ctx, l.client.B().Info().Section(section).Build()).ToString()
	if err != nil {
		return "", fmt.Errorf("info %s: %w", section, err)
	}
	return info, nil
}

// Logged returns how far a log has come: its last entry, and the running count of orders with that, over all epochs.
func (l *Link) Logged(ctx context.Context, keys Keys) (sequence uint64, orders int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.reply)
	defer cancel()
	meta, err := l.client.Do(ctx, l.client.B().Hmget().Key(keys.Meta).Field("sequence", "orders").Build()).AsStrSlice()
	if err == nil {
		sequence, err = strconv.ParseUint(meta[0], 10, 64)
	}
	if err == nil {
		err = parseCount(meta[1], &orders)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("how far the log has come: %w", err)
	}
	return sequence, orders, nil
}
