package engine

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// Action is what is wanted of an order that exists.
type Action byte

// The actions, by their letters in settle.lua.
const (
	ActionConfirm Action = 'c'
	ActionCancel  Action = 'x'
	ActionExtend  Action = 't'
)

// Transition is a request to bring an order to its next state, and after [Engine.Settle] its outcome.
type Transition struct {
	ID       OrderID
	Action   Action
	User     string        // whose order it must be; "" = anybody's
	Quantity int64         // confirm: units, at most what the order has; 0 = all
	HoldFor  time.Duration // extend: from now on

	// Durability is what is asked for, and after Settle what a yes means.
	Durability Durability

	// Known is what the ledger has of an order whose record has left Redis, read while KnownEpoch was in force; nil =
	// not asked.
	Known      *Order
	KnownEpoch uint64

	// Order is the outcome: the order as it is now, also where the transition was refused; nothing where it was not
	// found. Repeated tells that it was so already.
	Order    Order
	Repeated bool

	waiting
	untilMs int64 // extend: the end that is wanted
	tight   bool  // too little stock for a late confirm
}

// NewTransition returns an empty transition.
func NewTransition() *Transition { return &Transition{waiting: newWaiting()} }

func (t *Transition) known() bool { return t.Repeated }

// Settle decides a transition, within the configured timeout counted from now, and returns nil where the order is as wanted.
// ErrNoOrder says that Redis has no record of it: the ledger may. ErrEpochMoved says that nothing was asked. Any error but
// ErrOutcomeUnknown is a definite refusal; asking again is always safe.
func (e *Engine) Settle(t *Transition, now time.Time) error {
	if t.ID.Partition() >= len(e.partitions) {
		return ErrNoOrder
	}
	p := e.partitions[t.ID.Partition()]
	v, err := p.openView()
	if err != nil {
		return err
	}
	if t.Known != nil && v.Number != t.KnownEpoch { // what the ledger said is of another epoch
		return ErrEpochMoved
	}
	if t.Action == ActionExtend { // settled once, so that a repeated attempt asks for the same
		t.untilMs = p.clock.at(now) + t.HoldFor.Milliseconds()
	}
	t.Durability = cmp.Or(t.Durability, e.config.Durability)
	if err := e.admit(p, t.Durability); err != nil {
		return err
	}
	t.deadline, t.mode = now.Add(e.config.Timeout), t.Durability
	if t.mode == DurabilityReplicated {
		return p.fencedSettling.ask(t)
	}
	return p.settling.ask(t)
}

// settleCall is how batches of transitions are asked.
type settleCall struct {
	engine *Engine
	args   []string
}

// mint does nothing: a transition is told by its order.
func (c *settleCall) mint(*partition, []*Transition) {}

func (c *settleCall) run(
	ctx context.Context, conn rueidis.CommandClient, p *partition, v *view, batch []*Transition,
) (replyHead, error) {
	deadline, _ := ctx.Deadline()
	config := &c.engine.config
	c.args = append(c.args[:0], v.Replid, formatUint(p.watermarkIn(v.Number)), strconv.FormatInt(p.clock.at(deadline), 10),
		strconv.FormatInt(config.LateConfirm.Milliseconds(), 10), strconv.Itoa(config.MaxExtensions),
		strconv.FormatInt(config.MaxHoldTotal.Milliseconds(), 10))
	for _, t := range batch {
		c.args = append(c.args, string(t.ID[:]), string(t.Action), strconv.FormatInt(t.amount(), 10), t.User, t.record(v))
	}
	fields, err := settleScript.run(ctx, conn, v.books, c.args)
	if err != nil {
		return replyHead{}, err
	}
	return decodeSettled(batch, fields)
}

func (t *Transition) amount() int64 {
	if t.Action == ActionExtend {
		return t.untilMs
	}
	return t.Quantity
}

// record is what the ledger has of the order, if that was read in the epoch of a view. One read in an earlier epoch says
// nothing: what came after it was in that epoch's log.
func (t *Transition) record(v *view) string {
	if t.Known == nil || t.KnownEpoch != v.Number {
		return ""
	}
	return t.Known.Record()
}

// learn takes down the gate's sign of products that something may have been given back of.
func (c *settleCall) learn(batch []*Transition, _ time.Time) {
	for _, t := range batch {
		if t.err == nil && t.Action != ActionExtend {
			c.engine.shelves.forget(t.Order.Product)
		}
	}
}

func (c *settleCall) short(t *Transition) bool { return t.tight }

// settleErrors maps the letters of settle.lua to outcomes; R and A are no errors.
var settleErrors = map[byte]error{
	'M': ErrNoOrder, 'X': ErrCorruptOrder, 'R': nil, 'V': ErrInvalidState, 'G': ErrHoldExpired, 'Q': ErrMoreThanHeld,
	'S': ErrHoldExpired, 'B': ErrHoldExtended, 'H': ErrHoldTooLong, 'A': nil,
}

func decodeSettled(batch []*Transition, fields []rueidis.RedisMessage) (replyHead, error) {
	r := replyReader{fields: fields}
	head := r.head()
	if r.err != nil || head.guard != GuardOK {
		return head, r.err
	}
	statuses := r.text()
	if r.err == nil && len(statuses) != len(batch) {
		return head, fmt.Errorf("%d statuses for %d orders", len(statuses), len(batch))
	}
	for i, t := range batch {
		if r.err != nil {
			break
		}
		t.decode(statuses[i], &r)
	}
	return head, r.err
}

func (t *Transition) decode(letter byte, reply *replyReader) {
	outcome, known := settleErrors[letter]
	if !known {
		reply.err = fmt.Errorf("status %q is not known", letter)
		return
	}
	t.err, t.Repeated, t.tight = outcome, letter == 'R', letter == 'S'
	if letter == 'G' && t.Action == ActionExtend { // it may yet be confirmed
		t.err = ErrHoldOver
	}
	if letter == 'M' {
		return
	}
	order, err := ParseRecord(t.ID, reply.text())
	if err != nil && t.err == nil { // it is done, and nobody can say what: that is no reason to fail the rest of the batch
		t.err = ErrOutcomeUnknown
	}
	t.Order = order
}
