package engine

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// relay is a client that can be replaced by a new one under those who use it: after a failover one may be left that never
// finds its way again (rueidis issue 929).
type relay struct {
	option rueidis.ClientOption
	client atomic.Pointer[rueidis.Client]
}

func newRelay(ctx context.Context, option *rueidis.ClientOption) (*relay, error) {
	r := &relay{option: *option}
	client, err := r.dial(ctx)
	if err != nil {
		return nil, err
	}
	r.client.Store(&client)
	return r, nil
}

// dial connects and is back when ctx ends: rueidis tries one address after the other, each for dialTimeout, without asking
// anybody. What it brings then is closed.
func (r *relay) dial(ctx context.Context) (rueidis.Client, error) {
	type dialled struct {
		client rueidis.Client
		err    error
	}
	answer := make(chan dialled, 1)
	go func() {
		client, err := rueidis.NewClient(r.option)
		answer <- dialled{client, err}
	}()
	select {
	case got := <-answer:
		if got.err != nil {
			return nil, fmt.Errorf("connect to redis: %w", got.err)
		}
		return got.client, nil
	case <-ctx.Done():
		go func() {
			if late := <-answer; late.err == nil {
				late.client.Close()
			}
		}()
		return nil, fmt.Errorf("connect to redis: %w", ctx.Err())
	}
}

func (r *relay) now() rueidis.Client { return *r.client.Load() }

// replace puts another client in force. The old one is closed, which waits for what is under way on it.
func (r *relay) replace(client rueidis.Client) {
	old := r.client.Swap(&client)
	go (*old).Close()
}

// What follows is rueidis.Client, by whichever client is in force.

// B makes commands.
func (r *relay) B() rueidis.Builder { return r.now().B() }

// Do runs a command.
func (r *relay) Do(ctx context.Context, cmd rueidis.Completed) rueidis.RedisResult {
	return r.now().Do(ctx, cmd)
}

// DoMulti runs commands that belong together.
func (r *relay) DoMulti(ctx context.Context, multi ...rueidis.Completed) []rueidis.RedisResult {
	return r.now().DoMulti(ctx, multi...)
}

// Receive takes messages in.
func (r *relay) Receive(ctx context.Context, subscribe rueidis.Completed, fn func(rueidis.PubSubMessage)) error {
	return r.now().Receive(ctx, subscribe, fn)
}

// Close ends the client in force.
func (r *relay) Close() { r.now().Close() }

// DoCache runs a command whose reply may come from a cache.
func (r *relay) DoCache(ctx context.Context, cmd rueidis.Cacheable, ttl time.Duration) rueidis.RedisResult {
	return r.now().DoCache(ctx, cmd, ttl)
}

// DoMultiCache is DoCache for several.
func (r *relay) DoMultiCache(ctx context.Context, multi ...rueidis.CacheableTTL) []rueidis.RedisResult {
	return r.now().DoMultiCache(ctx, multi...)
}

// DoStream runs a command whose reply is read piece by piece.
func (r *relay) DoStream(ctx context.Context, cmd rueidis.Completed) rueidis.RedisResultStream {
	return r.now().DoStream(ctx, cmd)
}

// DoMultiStream is DoStream for several.
func (r *relay) DoMultiStream(ctx context.Context, multi ...rueidis.Completed) rueidis.MultiRedisResultStream {
	return r.now().DoMultiStream(ctx, multi...)
}

// Dedicated lends a connection to a function.
func (r *relay) Dedicated(fn func(rueidis.DedicatedClient) error) error { return r.now().Dedicated(fn) }

// Dedicate lends a connection.
func (r *relay) Dedicate() (rueidis.DedicatedClient, func()) { return r.now().Dedicate() }

// Nodes lists a client for each server.
func (r *relay) Nodes() map[string]rueidis.Client { return r.now().Nodes() }

// Mode says what kind of deployment it is.
func (r *relay) Mode() rueidis.ClientMode { return r.now().Mode() }

const (
	// watchInterval is how often the client is asked for a sign of life.
	watchInterval = time.Second
	// brokenAfter is for how long it gives none before another one is tried beside it.
	brokenAfter = 3 * time.Second
	// watchTimeout bounds a sign of life.
	watchTimeout = time.Second
)

// watchClient replaces the client until ctx ends whenever it reaches a partition's server no more and a new one does, all that
// the old one reaches included: a partition that is really away keeps nobody from another one.
func (e *Engine) watchClient(ctx context.Context) {
	r, ok := e.client.(*relay)
	if !ok {
		return
	}
	var since time.Time // when it ceased to answer; zero = it does
	for sleep(ctx, watchInterval) {
		switch {
		case all(e.reached(ctx, r.now())):
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) >= brokenAfter && e.renew(ctx, r):
			e.metrics.clientsRenewed.Inc()
			slog.Warn("the redis client did not find its way back and was replaced", "silent_for", time.Since(since))
			since = time.Time{}
		}
	}
}

// renew puts a new client in force if that reaches more partitions than the one there is, and each that this one does.
func (e *Engine) renew(ctx context.Context, r *relay) bool {
	fresh, err := r.dial(ctx)
	if err != nil {
		return false // the servers are away, and the client is not to blame
	}
	if !better(e.reached(ctx, fresh), e.reached(ctx, r.now())) {
		fresh.Close()
		return false
	}
	r.replace(fresh)
	return true
}

// reached tells, for each partition, whether a client has an answer from its server.
func (e *Engine) reached(ctx context.Context, client rueidis.Client) []bool {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	answered := make([]bool, len(e.partitions))
	var asked sync.WaitGroup
	for id := range e.partitions { // each by itself: a server that says nothing is not to be waited for by the others
		asked.Go(func() {
			exists := client.B().Exists().Key(anchorKey(e.config.Prefix, id)).Build()
			answered[id] = doWithin(ctx, client, exists).Error() == nil
		})
	}
	asked.Wait()
	return answered
}

func all(answered []bool) bool { return !slices.Contains(answered, false) }

// better tells whether one client reaches all partitions that another does, and more.
func better(one, other []bool) bool {
	more := false
	for id := range one {
		if other[id] && !one[id] {
			return false
		}
		more = more || one[id] && !other[id]
	}
	return more
}
