package engine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// partition is what a process knows of one unit of Redis placement.
type partition struct {
	id        int
	view      atomic.Pointer[view]
	clock     redisClock
	watermark watermarkBoard
	end       atomic.Pointer[logEnd] // of the log, as far as Redis has told; nil = it has not yet
	lag       lagMarks
	lane      *lane[*Reservation]
	settling  *lane[*Transition]
	parked    parked       // requests that wait for the ledger
	replicas  replicaCount // of the server that it lives on

	owing          atomic.Bool         // something was written of which it is not known whether the replicas have it
	fenced         *lane[*Reservation] // the lanes of mode replicated, so that a slow replica stalls nobody else
	fencedSettling *lane[*Transition]

	unwritten atomic.Bool // its server could not write its append-only file anew, when this process asked for it last

	fault    atomic.Pointer[fault] // why the last batch failed; nil = it did not
	failedAt atomic.Int64          // when the last one did, on the monotonic clock, in ns
	alarm    chan struct{}         // has a token when a script was refused or an answer was lost
}

// view is an epoch together with what was last heard of it. It is replaced as a whole, never changed.
type view struct {
	Epoch
	keys    Keys
	reserve []string // the keys of reserve.lua, in order
	books   []string // those of settle.lua and expire.lua
	guard   Guard    // GuardOK = open
}

func newPartition(id int) *partition {
	p := &partition{id: id, alarm: make(chan struct{}, 1), parked: parked{wanted: make(chan struct{}, 1)}}
	p.view.Store(&view{guard: GuardMissing})
	return p
}

// raise tells whoever watches the partition that something is wrong with it.
func (p *partition) raise() {
	select {
	case p.alarm <- struct{}{}:
	default:
	}
}

// openView returns the view in which requests may be asked, or ErrPartitionClosed, which has the partition looked at.
func (p *partition) openView() (*view, error) {
	v := p.view.Load()
	if v.guard != GuardOK || v.Held != "" {
		p.raise()
		return nil, ErrPartitionClosed
	}
	return v, nil
}

// hear takes in what the guard said of a view, unless another epoch is installed by now.
func (p *partition) hear(v *view, guard Guard) {
	if guard != v.guard {
		heard := *v
		heard.guard = guard
		p.view.CompareAndSwap(v, &heard)
	}
	if guard != GuardOK {
		p.raise()
		return
	}
	if p.unwritten.Load() { // another process has brought it in line
		p.unwritten.Store(false)
	}
}

// hearUnlessLate is hear where a call that came too late says nothing about the partition.
func (p *partition) hearUnlessLate(v *view, guard Guard) {
	if guard != GuardLate {
		p.hear(v, guard)
	}
}

// Install puts an epoch in force for a partition, as the ledger names it. The partition stays shut until a [Engine.Check]
// has found it open.
func (e *Engine) Install(partition int, epoch Epoch) error {
	p := e.partitions[partition]
	old := p.view.Load()
	if old.Epoch == epoch {
		return nil
	}
	if epoch.Namespace == "" {
		p.view.Store(&view{Epoch: epoch, guard: GuardMissing})
		return nil
	}
	keys, err := NewKeys(e.config.Prefix, partition, epoch.Namespace)
	if err != nil {
		return err
	}
	if old.Replid != epoch.Replid {
		p.clock.reset()
		p.lag.restart()
	}
	guard := GuardClosed
	if old.Number == epoch.Number && old.Namespace == epoch.Namespace {
		guard = old.guard
	}
	books := []string{keys.Meta, keys.Stock, keys.Terms, keys.Buyers, keys.Orders, keys.Log, keys.Expiry}
	reserve := append(slices.Clone(books), keys.Even, keys.Odd)
	p.view.Store(&view{Epoch: epoch, keys: keys, guard: guard, reserve: reserve, books: books})
	return nil
}

// Check asks Redis whether the partition's epoch takes orders and remembers the answer.
func (e *Engine) Check(ctx context.Context, partition int) (Guard, error) {
	p := e.partitions[partition]
	v := p.view.Load()
	if v.Namespace == "" {
		return GuardMissing, nil
	}
	watermark := p.watermarkIn(v.Number)
	fields, err := checkScript.run(ctx, e.client, []string{v.keys.Meta}, []string{v.Replid, formatUint(watermark)})
	if err != nil {
		return "", err
	}
	r := replyReader{fields: fields}
	guard := Guard(r.text())
	p.clock.observe(r.number(), time.Now())
	if guard == GuardOK {
		sequence := uint64(r.number())
		p.logged(v, sequence, r.number(), time.Now())
		p.replicas.learn(r.number(), e.config.Replicas)
	}
	if r.err != nil {
		return "", fmt.Errorf("check.lua: %w", r.err)
	}
	p.hear(v, guard)
	return guard, nil
}

// Alarm returns a channel that has a token after a script of the partition was refused or its answer was lost.
func (e *Engine) Alarm(partition int) <-chan struct{} { return e.partitions[partition].alarm }

// LedgerWanted returns a channel that has a token after somebody in this process began to wait for the ledger of a
// partition: whoever drains it, here or elsewhere, has no reason to let more orders gather.
func (e *Engine) LedgerWanted(partition int) <-chan struct{} {
	return e.partitions[partition].parked.wanted
}

// Advance shows how far the ledger has come with a partition.
func (e *Engine) Advance(partition int, w Watermark) {
	p := e.partitions[partition]
	p.watermark.advance(w)
	p.parked.release(p.watermark.get())
}

// Watermark returns how far the ledger has come with a partition, as far as this process knows.
func (e *Engine) Watermark(partition int) Watermark { return e.partitions[partition].watermark.get() }

// DrainRate returns how many orders a second of a partition reach the ledger; 0 = not measured yet.
func (e *Engine) DrainRate(partition int) float64 {
	return e.partitions[partition].watermark.drainRate()
}

// WaitDurable blocks until an entry of a partition's epoch is in the ledger. If the watermark that it returns is of a
// later epoch, the entry's fate is in the ledger's rows.
func (e *Engine) WaitDurable(ctx context.Context, partition int, epoch, sequence uint64) (Watermark, error) {
	p := e.partitions[partition]
	if now := p.watermark.get(); !now.covers(epoch, sequence) {
		p.parked.want()
	}
	return p.watermark.wait(ctx, epoch, sequence)
}

// PartitionState is what a process knows of a partition.
type PartitionState struct {
	Partition int
	Epoch     Epoch
	Open      bool
	Reason    string        // why it is shut
	Status    string        // one of PartitionStatuses
	Backlog   int64         // orders that wait for the ledger
	Entries   int64         // log entries that wait for the ledger
	Queued    int           // orders that wait for Redis in this process
	Lag       time.Duration // for which the oldest of the Backlog has been logged, or known here; 0 = none waits
	Watermark Watermark
}

// State returns what the process knows of a partition, without asking anybody.
func (e *Engine) State(partition int) PartitionState {
	p := e.partitions[partition]
	v := p.view.Load()
	s := PartitionState{
		Partition: partition, Epoch: v.Epoch, Open: v.guard == GuardOK, Reason: guardReasons[v.guard],
		Status: guardStatuses[v.guard], Backlog: p.backlog(), Entries: p.entriesBehind(v), Queued: p.queued(), Watermark: p.watermark.get(),
		Lag: p.lagNow(),
	}
	if p.unwritten.Load() && !s.Open {
		s.Reason = unwrittenReason
	}
	if e.unfit.Load() && s.Open {
		s.Reason = unfitReason
	}
	if fault := p.fault.Load(); fault != nil && s.Open {
		s.Reason = fault.reason()
	}
	if v.Held != "" {
		s.Open, s.Status, s.Reason = false, statusHeld, "held by an operator: "+v.Held
	}
	return s
}

// workLane is what the lanes of a partition have in common.
type workLane interface {
	work()
	close()
	length() int
}

func (p *partition) lanes() []workLane {
	return []workLane{p.lane, p.settling, p.fenced, p.fencedSettling}
}

// queued is how many requests wait for Redis.
func (p *partition) queued() (n int) {
	for _, l := range p.lanes() {
		n += l.length()
	}
	return n
}

// backlog estimates how many orders Redis has logged that the ledger does not have.
func (p *partition) backlog() int64 {
	return max(0, p.logEnd().orders-p.watermark.get().Orders)
}

// watermarkIn returns the sequence of the watermark if it is of the epoch, else 0.
func (p *partition) watermarkIn(epoch uint64) uint64 {
	if w := p.watermark.get(); w.Epoch == epoch {
		return w.Sequence
	}
	return 0
}

func formatUint(n uint64) string { return strconv.FormatUint(n, 10) }

// openPoll is how often AwaitOpen looks.
const openPoll = 5 * time.Millisecond

// AwaitOpen blocks until a partition takes orders or ctx ends.
func (e *Engine) AwaitOpen(ctx context.Context, partition int) error {
	for !e.State(partition).Open {
		if !sleep(ctx, openPoll) {
			return ctx.Err()
		}
	}
	return nil
}
