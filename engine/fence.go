package engine

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// fence is the connection of one worker of mode replicated: scripts run on it, and WAIT on the same one then tells how
// many replicas have what they wrote. On another connection WAIT would answer at once, for that one has written nothing.
type fence struct {
	*ownConn
	partition *partition
}

// wait blocks until the replicas have all that the server with a history had written when it was called, for at most limit.
// written tells that the last script on this connection wrote something.
func (f *fence) wait(ctx context.Context, replid string, limit time.Duration, written bool) error {
	err := f.ask(ctx, replid, limit, written)
	f.partition.owing.Store(err != nil)
	return err
}

func (f *fence) ask(ctx context.Context, replid string, limit time.Duration, written bool) error {
	conn, err := f.connFor(ctx, replid, written)
	if err != nil {
		return err
	}
	if !written { // WAIT counts from the last write of its own connection
		key := fenceKey(f.engine.config.Prefix, f.partition.id)
		mark := conn.B().Hset().Key(key).FieldValue().FieldValue("at", strconv.FormatInt(time.Now().UnixMilli(), 10)).Build()
		if err := doWithin(ctx, conn, mark).Error(); err != nil {
			f.drop()
			return fmt.Errorf("fence: %w", err)
		}
	}
	needed := f.engine.config.Replicas
	wait := conn.B().Wait().Numreplicas(int64(needed)).Timeout(max(1, limit.Milliseconds())).Build()
	have, err := doWithin(ctx, conn, wait).AsInt64()
	if err != nil {
		f.drop()
		return fmt.Errorf("fence: %w", err)
	}
	if have < int64(needed) {
		return fmt.Errorf("fence: %d of %d replicas in time", have, needed)
	}
	return nil
}

// connFor returns the connection that something was written on, and no other: there WAIT would answer at once. Where nothing
// was, any to the server will do.
func (f *fence) connFor(ctx context.Context, replid string, written bool) (rueidis.CommandClient, error) {
	if !written {
		return f.open(ctx, replid)
	}
	if conn := f.current(); conn != nil {
		return conn, nil
	}
	return nil, fmt.Errorf("fence: the connection is gone: %w", errNotSent)
}

// replicasAgain tells whether the replicas have what the batches before this one wrote, and finishes it where they don't:
// every order of it would be another one of which nobody can tell the outcome.
func (s *sender[R]) replicasAgain(ctx context.Context, v *view) bool {
	if s.fence == nil || !s.partition.owing.Load() {
		return true
	}
	deadline, _ := ctx.Deadline()
	if s.fence.wait(ctx, v.Replid, time.Until(deadline)/2, false) == nil {
		return true
	}
	s.finishAll(ErrReplicasBehind)
	return false
}

// connect returns where the batch is to be sent. What is asked again goes by the client's own connection, which follows a
// partition to another server; only a fence has to stay.
func (s *sender[R]) connect(ctx context.Context, v *view) (rueidis.CommandClient, error) {
	if s.fence == nil && s.again {
		return s.engine.client, nil
	}
	return s.own.open(ctx, v.Replid)
}

// disconnect gives up the connection: the next one may lead to another server. lost tells that a script may have written
// something.
func (s *sender[R]) disconnect(lost bool) {
	s.own.drop()
	if s.fence != nil && lost {
		s.partition.owing.Store(true)
	}
}

// secure brings what a reply granted to what its mode promises.
func (s *sender[R]) secure(ctx context.Context, v *view, sequence uint64) {
	if s.fence != nil {
		s.awaitReplicas(ctx, v)
	} else {
		s.park(v, sequence)
	}
	clear(s.granted)
	s.granted = s.granted[:0]
}

// park leaves the batch to whoever hears of the ledger's commits.
func (s *sender[R]) park(v *view, sequence uint64) {
	group := parkedGroup{epoch: v.Number, replid: v.Replid, sequence: sequence, refused: s.refused}
	for _, r := range s.granted {
		group.waiting = append(group.waiting, parkedRequest{r.wait(), r.known()})
	}
	s.partition.parked.add(&s.partition.watermark, group)
}

// awaitReplicas finishes the batch when the replicas have it. Where they don't in time nobody knows what a failover would
// make of it.
func (s *sender[R]) awaitReplicas(ctx context.Context, v *view) {
	written := false
	for _, r := range s.granted {
		written = written || !r.known()
	}
	deadline, _ := ctx.Deadline()
	err := s.fence.wait(ctx, v.Replid, time.Until(deadline)-shortestAttempt, written && !s.unknown)
	if err != nil {
		s.engine.metrics.shortFences.Inc()
	}
	for _, r := range s.granted {
		if err != nil {
			r.wait().finish(ErrOutcomeUnknown)
		} else {
			r.wait().finish(nil)
		}
	}
}
