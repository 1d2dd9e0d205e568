package engine

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// Reservation is one request to buy, and after [Engine.Reserve] its outcome. It may be used again after Reset.
type Reservation struct {
	// ID is minted by [Engine.NewOrderID] before the first attempt. Product and User have been found valid, and none
	// of the strings may change afterwards: a call given up may still be on its way to Redis.
	ID       OrderID
	Product  string
	User     string
	Quantity int64 // units, 1 to MaxQuantity

	// Outcome, filled by Reserve.
	Order        Order   // where it was accepted
	Ahead        int64   // orders that the ledger takes before this one
	Left         int64   // units left after the batch; -1 = not known
	First        OrderID // ErrDuplicateOrder: the order that holds the lock
	RetryAtMs    int64   // ErrDuplicateOrder, ErrSaleNotStarted: when it is worth trying again, by the clock of Redis
	RetryAfterMs int64   // the same from now on
	Bought       int64   // ErrLimitExceeded: units that the buyer has

	shelf    *shelf
	wire     string // id and product|user as the script takes them, in one allocation
	deadline time.Time
	err      error
	done     chan struct{}
}

// NewReservation returns an empty reservation.
func NewReservation() *Reservation { return &Reservation{done: make(chan struct{}, 1)} }

// Reset empties the reservation for its next use.
func (r *Reservation) Reset() { *r = Reservation{done: r.done} }

func (r *Reservation) finish(err error) {
	r.err = err
	r.done <- struct{}{}
}

// encode joins what the script takes as strings.
func (r *Reservation) encode() {
	var b strings.Builder
	b.Grow(len(r.ID) + len(r.Product) + 1 + len(r.User))
	b.Write(r.ID[:])
	b.WriteString(r.Product)
	b.WriteByte(joint)
	b.WriteString(r.User)
	r.wire = b.String()
}

func (r *Reservation) wireID() string    { return r.wire[:len(r.ID)] }
func (r *Reservation) wireBuyer() string { return r.wire[len(r.ID):] }

// NewOrderID mints the id of an order for a product.
func (e *Engine) NewOrderID(product string, now time.Time) OrderID {
	return NewOrderID(e.PartitionOf(product), now)
}

// Reserve decides a reservation and returns nil where it is accepted. Any error but ErrOutcomeUnknown is a definite
// refusal. It returns within the configured timeout, counted from now.
func (e *Engine) Reserve(r *Reservation, now time.Time) error {
	sum := crc16(r.Product)
	p := e.partitions[int(sum)%len(e.partitions)]
	r.shelf = e.shelves.find(r.Product, sum, p)
	if r.shelf.refuses(r.Quantity, now) {
		e.metrics.gateRefusals.Inc()
		return ErrSoldOut
	}
	if v := p.view.Load(); v.guard != GuardOK || v.Held != "" {
		p.raise()
		return ErrPartitionClosed
	}
	if p.backlog() >= e.config.BacklogCap {
		e.metrics.shed.Inc()
		return ErrBacklogFull
	}
	r.encode()
	r.deadline = now.Add(e.config.Timeout)
	if !p.lane.push(r) {
		e.metrics.shed.Inc()
		return ErrQueueFull
	}
	<-r.done
	return r.err
}

// reserveCall is one batch on its way: the orders, and the products they are for, each once.
type reserveCall struct {
	orders  []*Reservation
	shelves []*shelf
	places  map[string]int // product -> 1-based place among shelves
	left    []int64        // units left of each product, as the last reply said; -1 = not known
	args    []string
}

func (c *reserveCall) build(replid string, watermark uint64, deadlineMs int64, config *Config) {
	c.shelves = c.shelves[:0]
	clear(c.places)
	for _, r := range c.orders {
		if c.places[r.shelf.product] == 0 {
			c.shelves = append(c.shelves, r.shelf)
			c.places[r.shelf.product] = len(c.shelves)
		}
	}
	c.args = append(c.args[:0], replid, formatUint(watermark), strconv.FormatInt(deadlineMs, 10),
		strconv.FormatInt(config.LockTTL.Milliseconds(), 10), strconv.Itoa(MaxQuantity), strconv.Itoa(len(c.shelves)))
	for _, s := range c.shelves {
		c.args = append(c.args, s.product)
	}
	for _, r := range c.orders {
		c.args = append(c.args, r.wireID(), strconv.Itoa(c.places[r.shelf.product]), r.wireBuyer(),
			strconv.FormatInt(r.Quantity, 10))
	}
}

// reserveReply is the head of a reply of reserve.lua.
type reserveReply struct {
	guard    Guard
	nowMs    int64
	sequence uint64
	orders   int64 // running count after the batch
}

// statusErrors maps the letters of reserve.lua to outcomes; R and A are no errors.
var statusErrors = map[byte]error{
	'R': nil, 'A': nil,
	'U': ErrUnknownProduct, 'X': ErrCorrupt, 'Q': ErrQuantity, 'I': ErrSaleInactive, 'N': ErrSaleNotStarted,
	'E': ErrSaleEnded, 'D': ErrDuplicateOrder, 'L': ErrLimitExceeded, 'S': ErrSoldOut,
}

// decode reads a reply into the orders of the call, up to but without finishing them.
func (c *reserveCall) decode(fields []rueidis.RedisMessage) (reserveReply, error) {
	r := replyReader{fields: fields}
	reply := reserveReply{guard: Guard(r.text()), nowMs: r.number()}
	if r.err != nil || reply.guard != GuardOK {
		return reply, r.err
	}
	reply.sequence = uint64(r.number())
	reply.orders = r.number()
	statuses := r.text()
	if r.err == nil && len(statuses) != len(c.orders) {
		return reply, fmt.Errorf("%d statuses for %d orders", len(statuses), len(c.orders))
	}
	c.left = c.left[:0]
	for range c.shelves {
		c.left = append(c.left, r.number())
	}
	accepted := strings.Count(statuses, "A")
	position := 0
	for i, o := range c.orders {
		if r.err != nil {
			break
		}
		o.Left = c.left[c.places[o.shelf.product]-1]
		o.err = o.decodeStatus(statuses[i], &r, reply.nowMs)
		switch statuses[i] {
		case 'A':
			o.accept(reply, position)
			o.Ahead = reply.orders - int64(accepted-position)
			position++
		case 'R':
			o.Ahead = reply.orders
		}
	}
	return reply, r.err
}

// accept fills in the order as the script has written it.
func (r *Reservation) accept(reply reserveReply, index int) {
	r.Order = Order{
		ID: r.ID, Product: r.Product, User: r.User, Quantity: r.Quantity, Status: StatusConfirmed, Version: 1,
		CreatedAtMs: reply.nowMs, UpdatedAtMs: reply.nowMs, Sequence: reply.sequence, Index: index,
	}
}

// decodeStatus reads the detail that a letter brings and returns the outcome.
func (r *Reservation) decodeStatus(letter byte, reply *replyReader, nowMs int64) error {
	outcome, known := statusErrors[letter]
	if !known {
		reply.err = fmt.Errorf("status %q is not known", letter)
		return ErrOutcomeUnknown
	}
	switch letter {
	case 'R':
		order, err := ParseRecord(r.ID, reply.text())
		if err != nil {
			reply.err = err
		}
		r.Order = order
	case 'N':
		r.RetryAtMs = reply.number()
		r.RetryAfterMs = r.RetryAtMs - nowMs
	case 'D':
		until, first, _ := strings.Cut(reply.text(), ",")
		if err := parseCount(until, &r.RetryAtMs); err != nil && reply.err == nil {
			reply.err = err
		}
		r.RetryAfterMs = r.RetryAtMs - nowMs
		copy(r.First[:], first)
	case 'L':
		r.Bought = reply.number()
	}
	return outcome
}

// call runs the batch once.
func (c *reserveCall) call(ctx context.Context, e *Engine, v *view) (reserveReply, error) {
	fields, err := reserveScript.run(ctx, e.client, v.reserve, c.args)
	if err != nil {
		return reserveReply{}, err
	}
	return c.decode(fields)
}
