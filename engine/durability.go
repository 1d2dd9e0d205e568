package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Durability is what a yes means (DESIGN, "Durability").
type Durability byte

// The modes, each with all that those before it promise, but for replicated: the ledger has what it has whatever becomes
// of Redis, so ledger does not wait for replicas.
const (
	DurabilityDefault    Durability = iota // as the engine is set
	DurabilityFast                         // the script ran
	DurabilityReplicated                   // and Config.Replicas replicas have what it wrote
	DurabilityLedger                       // and it is committed in Postgres
)

var durabilityNames = [...]string{"", "fast", "replicated", "ledger"}

// String returns the name that clients use; "" for DurabilityDefault.
func (d Durability) String() string {
	if int(d) < len(durabilityNames) {
		return durabilityNames[d]
	}
	return fmt.Sprintf("durability %d", byte(d))
}

// ParseDurability is the inverse of String, for the three modes.
func ParseDurability(name []byte) (d Durability, ok bool) {
	for i := DurabilityFast; i <= DurabilityLedger; i++ {
		if string(name) == durabilityNames[i] {
			return i, true
		}
	}
	return DurabilityDefault, false
}

// The outcomes that only the slower modes have. ErrRowDecides and ErrEpochDecides have the code of an unknown outcome,
// which is what they are to whoever can't look into the ledger.
var (
	ErrLedgerBehind   = &Error{Code: CodeOverloaded, Detail: "the ledger is further behind than an order that waits for it may take", RetryAfter: retrySoon}
	ErrReplicasBehind = &Error{Code: CodeUnavailable, Detail: "too few replicas of Redis keep up right now for durability replicated", RetryAfter: retrySoon}

	// ErrRowDecides says that the ledger has come past the request, and refused orders meanwhile or before.
	ErrRowDecides = &Error{Code: CodeOutcomeUnknown, Detail: "the ledger has the last word on the order; look it up by its id"}
	// ErrEpochDecides says that the epoch in which the request was granted is over: without a row it did not happen.
	ErrEpochDecides = &Error{Code: CodeOutcomeUnknown, Detail: "Redis and the ledger were brought in line meanwhile; look the order up by its id"}
)

func notOffered(replicas int) *Error {
	return Invalid("durability", fmt.Sprintf("replicated is not to be had here: Redis has not had %d online at once (REPLICAS); fast and ledger are", replicas))
}

// admit refuses, before anything is asked of Redis, what can't be had in the mode wanted.
func (e *Engine) admit(p *partition, mode Durability) error {
	switch mode {
	case DurabilityDefault, DurabilityFast:
	case DurabilityReplicated:
		return p.replicas.admit(e.notOffered)
	case DurabilityLedger:
		if p.parked.length() >= e.config.QueueLength || p.ledgerDelay(time.Now()) > e.config.Timeout {
			e.metrics.ledgerBehind.Inc()
			return ErrLedgerBehind
		}
	}
	return nil
}

// ledgerDelay estimates how long what is logged now takes until the ledger has it. The age of the oldest order that waits
// says how long those took that are there now. Once the drainer has been at it without a pause for as long as its rate is
// measured, that rate is what it can do, and the backlog says the rest.
func (p *partition) ledgerDelay(now time.Time) time.Duration {
	w := p.watermark.get()
	age := p.lag.since(p.view.Load().Number, w.Orders, now)
	if age < rateWindow {
		return age
	}
	rate := p.watermark.drainRate()
	if rate <= 0 {
		return age
	}
	seconds := float64(p.logEnd().orders-w.Orders) / rate
	return max(age, time.Duration(min(seconds, maxDelaySeconds)*float64(time.Second)))
}

// maxDelaySeconds keeps an estimate within what a Duration can say.
const maxDelaySeconds = 1e6

// replicaCount is what is known of the replicas of a partition's server.
type replicaCount struct {
	enough atomic.Bool // as of the last look
	ever   atomic.Bool // since this process started
}

// learn takes in how many are online of how many that are needed.
func (c *replicaCount) learn(online int64, needed int) {
	enough := online >= int64(needed)
	c.enough.Store(enough)
	if enough {
		c.ever.Store(true)
	}
}

// admit refuses while there are too few replicas, and for good where there never were enough.
func (c *replicaCount) admit(never *Error) error {
	switch {
	case c.enough.Load():
		return nil
	case c.ever.Load():
		return ErrReplicasBehind
	default:
		return never
	}
}

// Durability returns the mode of requests that name none.
func (e *Engine) Durability() Durability { return e.config.Durability }

// RequireReplicas fails unless every partition's server has as many replicas online as mode replicated needs. It gives
// them a few seconds to attach: servers that start together are ready one after the other.
func (e *Engine) RequireReplicas(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, replicaPatience)
	defer cancel()
	for partition := range e.partitions {
		if err := e.awaitReplicas(ctx, partition); err != nil {
			return err
		}
	}
	return nil
}

const (
	replicaPatience = 5 * time.Second
	replicaPoll     = 50 * time.Millisecond
)

// replicasOf asks once, on a link of its own: one that a deadline broke off is of no use any more.
func (e *Engine) replicasOf(ctx context.Context, partition int) (int, error) {
	link, err := e.Connect(ctx, partition)
	if err != nil {
		return 0, err
	}
	defer link.Close()
	return link.Replicas(ctx)
}

func (e *Engine) awaitReplicas(ctx context.Context, partition int) error {
	online, answered := 0, false
	for {
		now, err := e.replicasOf(ctx, partition)
		if err == nil {
			online, answered = now, true
		}
		switch {
		case err == nil && online >= e.config.Replicas:
			return nil
		case err != nil && (!answered || !errors.Is(err, context.DeadlineExceeded)): // one that has answered may be slow for once
			return err
		case !sleep(ctx, replicaPoll):
			return unfit("durability replicated needs %d replicas online, the server of partition %d has %d: "+
				"attach more, lower REPLICAS, or set DURABILITY to fast or ledger", e.config.Replicas, partition, online)
		}
	}
}
