package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/redis/rueidis"
)

// Config are the settings of an engine. Zero values become the defaults.
type Config struct {
	Prefix      string        // of every key; default "fs"
	Partitions  int           // units of placement, fixed when the keyspace is first used; default 4
	BatchSize   int           // orders a script call; default 128
	InFlight    int           // calls a lane keeps under way; default 2
	QueueLength int           // orders a lane holds at the most; default 16384
	Timeout     time.Duration // within which an order is decided; default 2 s
	LockTTL     time.Duration // buyer lock; 0 = off
	GateTTL     time.Duration // how long the sold-out gate believes Redis; default and most 50 ms
	BacklogCap  int64         // orders a partition may have waiting for the ledger; default 5,000,000

	MaxHold       time.Duration // longest hold; default 15 min
	LateConfirm   time.Duration // for how long after its time a hold may still be confirmed; 0 = not at all
	MaxExtensions int           // of one hold; 0 = none
	MaxHoldTotal  time.Duration // from the making of a hold to its end, extensions included; default and least MaxHold
	KeyTTL        time.Duration // how long an idempotency key is kept at the least, twice that at the most; default 24 h

	Durability Durability // of requests that name none; default DurabilityFast
	Replicas   int        // that an order of mode replicated must be on; default 1

	Metrics *metrics.Set // where the engine's metrics are made; nil = a set of its own
}

const (
	defaultPrefix      = "fs"
	defaultPartitions  = 4
	defaultBatchSize   = 128
	defaultInFlight    = 2
	defaultQueueLength = 16 << 10
	defaultTimeout     = 2 * time.Second
	maxGateTTL         = 50 * time.Millisecond
	defaultBacklogCap  = 5_000_000
	defaultMaxHold     = 15 * time.Minute
	defaultKeyTTL      = 24 * time.Hour
	defaultReplicas    = 1

	// maxInFlight is more than a server that runs one call at a time can make use of.
	maxInFlight = 16

	// maxBatchSize keeps the arguments of one call well below what Lua's unpack takes (7,900).
	maxBatchSize = 1024
)

func (c Config) withDefaults() Config {
	c.Prefix = cmp.Or(c.Prefix, defaultPrefix)
	c.Partitions = cmp.Or(c.Partitions, defaultPartitions)
	c.BatchSize = cmp.Or(c.BatchSize, defaultBatchSize)
	c.InFlight = cmp.Or(c.InFlight, defaultInFlight)
	c.QueueLength = cmp.Or(c.QueueLength, defaultQueueLength)
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	c.GateTTL = cmp.Or(c.GateTTL, maxGateTTL)
	c.BacklogCap = cmp.Or(c.BacklogCap, defaultBacklogCap)
	c.MaxHold = cmp.Or(c.MaxHold, defaultMaxHold)
	c.MaxHoldTotal = max(c.MaxHoldTotal, c.MaxHold)
	c.KeyTTL = cmp.Or(c.KeyTTL, defaultKeyTTL)
	c.Durability = cmp.Or(c.Durability, DurabilityFast)
	c.Replicas = cmp.Or(c.Replicas, defaultReplicas)
	if c.Metrics == nil {
		c.Metrics = metrics.NewSet()
	}
	return c
}

func (c *Config) validate() error {
	switch {
	case c.Partitions < 1 || c.Partitions > MaxPartitions:
		return fmt.Errorf("partitions: %d is not from 1 to %d", c.Partitions, MaxPartitions)
	case c.BatchSize < 1 || c.BatchSize > maxBatchSize:
		return fmt.Errorf("batch size: %d is not from 1 to %d", c.BatchSize, maxBatchSize)
	case c.InFlight < 1 || c.InFlight > maxInFlight:
		return fmt.Errorf("in-flight calls: %d is not from 1 to %d", c.InFlight, maxInFlight)
	case c.QueueLength < 1 || c.Timeout < time.Millisecond || c.BacklogCap < 1 || c.LockTTL < 0:
		return errors.New("queue length, timeout and backlog cap must be positive, the lock not negative")
	case c.Replicas < 1 || c.Durability > DurabilityLedger:
		return errors.New("an unknown durability, or fewer than one replica")
	case c.GateTTL < 0 || c.GateTTL > maxGateTTL:
		return fmt.Errorf("gate: %s is negative or above %s", c.GateTTL, maxGateTTL)
	}
	return c.validateHolds()
}

// MinKeyTTL is longer than any client goes on repeating one request.
const MinKeyTTL = time.Minute

func (c *Config) validateHolds() error {
	switch {
	case c.MaxHold < time.Second || c.MaxHold > MaxHoldSeconds*time.Second:
		return fmt.Errorf("longest hold: %s is not from 1s to %s", c.MaxHold, MaxHoldSeconds*time.Second)
	case c.LateConfirm < 0 || c.MaxExtensions < 0:
		return errors.New("late confirm and extensions must not be negative")
	case c.KeyTTL < MinKeyTTL:
		return fmt.Errorf("idempotency keys: %s is less than %s", c.KeyTTL, MinKeyTTL)
	}
	return nil
}

// Engine decides reservations. It is safe for concurrent use.
type Engine struct {
	config     Config
	client     rueidis.Client
	partitions []*partition
	shelves    shelves
	metrics    *engineMetrics
	loose      loose
	unfit      atomic.Bool      // a server may forget what it has
	wall       func() time.Time // this process's clock, by which ids are minted

	notOffered *Error // answers orders of mode replicated where there never were enough replicas
}

// New returns an engine on a client made by [Connect]. Its partitions are shut until an epoch is installed and checked.
func New(client rueidis.Client, config Config) (*Engine, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	if _, err := NewKeys(config.Prefix, 0, NewNamespace(0)); err != nil {
		return nil, err
	}
	e := &Engine{
		config: config, client: client, metrics: newEngineMetrics(config.Metrics, config.BacklogCap), notOffered: notOffered(config.Replicas),
		wall: time.Now,
	}
	for id := range config.Partitions {
		p := newPartition(id)
		reserve := func() call[*Reservation] { return newReserveCall(e) }
		settle := func() call[*Transition] { return &settleCall{engine: e} }
		p.lane, p.settling = newLane(e, p, reserve), newLane(e, p, settle)
		p.fenced, p.fencedSettling = newLane(e, p, reserve), newLane(e, p, settle)
		p.fenced.fenced, p.fencedSettling.fenced = true, true
		e.partitions = append(e.partitions, p)
	}
	return e, nil
}

// Run keeps the lanes working and expires holds until ctx ends; then it decides what is queued and returns.
func (e *Engine) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	for _, p := range e.partitions {
		for range e.config.InFlight {
			for _, l := range p.lanes() {
				workers.Go(l.work)
			}
		}
		workers.Go(func() { e.sweep(ctx, p) })
	}
	workers.Go(func() { e.watchClient(ctx) })
	workers.Go(func() { e.watchFitness(ctx) })
	<-ctx.Done()
	for _, p := range e.partitions {
		for _, l := range p.lanes() {
			l.close()
		}
	}
	workers.Wait()
	for _, p := range e.partitions {
		p.parked.giveUp()
	}
	e.loose.wait(looseWait)
	return nil
}

// Partitions returns how many partitions there are.
func (e *Engine) Partitions() int { return len(e.partitions) }

// PartitionOf returns the partition that a product lives in.
func (e *Engine) PartitionOf(product string) int { return PartitionOf(product, len(e.partitions)) }

// MaxHold returns how long a hold may be asked for.
func (e *Engine) MaxHold() time.Duration { return e.config.MaxHold }

// Timeout returns within what time a reservation is decided.
func (e *Engine) Timeout() time.Duration { return e.config.Timeout }

// Ping asks Redis for a sign of life.
func (e *Engine) Ping(ctx context.Context) error {
	if err := e.client.Do(ctx, e.client.B().Ping().Build()).Error(); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	return nil
}

// ClaimKeyspace records in Redis how many partitions the keyspace has, and refuses where it was first used with
// another number: products would be looked for in the wrong place.
func (e *Engine) ClaimKeyspace(ctx context.Context) error {
	key, want := keyspaceKey(e.config.Prefix), strconv.Itoa(len(e.partitions))
	if err := e.client.Do(ctx, e.client.B().Hsetnx().Key(key).Field("partitions").Value(want).Build()).Error(); err != nil {
		return fmt.Errorf("claim keyspace: %w", err)
	}
	have, err := e.client.Do(ctx, e.client.B().Hget().Key(key).Field("partitions").Build()).ToString()
	if err != nil {
		return fmt.Errorf("claim keyspace: %w", err)
	}
	if have != want {
		return unfit("this Redis was first used with %s partitions, the setting says %s: use %s, or a Redis of its own", have, want, have)
	}
	return nil
}
