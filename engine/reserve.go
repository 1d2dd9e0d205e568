package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// Reservation is one request to buy, and after [Engine.Reserve] its outcome. It may be used again after Reset.
type Reservation struct {
	// Product and User have been found valid, and none of the strings may change afterwards: a call given up may still be on
	// its way to Redis.
	Product  string
	User     string
	Quantity int64  // units, 1 to MaxQuantity
	HoldMs   int64  // hold for so long rather than sell; 0 = sell at once
	Key      string // idempotency key; "" = none

	// Durability is what is asked for, and after Reserve what a yes means.
	Durability Durability

	// ID is minted with those of its batch, before the first attempt; zero as long as nothing was asked of Redis. It is what
	// to look up where the outcome is unknown.
	ID OrderID

	// Outcome, filled by Reserve.
	Order        Order   // where it was accepted
	Replayed     bool    // an earlier request with this key was accepted; Order is what was answered then
	Ahead        int64   // orders that the ledger takes before this one
	Left         int64   // units left after the batch; -1 = not known
	First        OrderID // ErrDuplicateOrder: the order that holds the lock
	RetryAtMs    int64   // ErrDuplicateOrder, ErrSaleNotStarted: when it is worth trying again, by the clock of Redis
	RetryAfterMs int64   // the same from now on
	Bought       int64   // ErrLimitExceeded: units that the buyer has
	MaxHoldMs    int64   // ErrHoldTooLong: what the product allows

	waiting
	shelf *shelf
	buyer string // product|user as the script takes it
}

// NewReservation returns an empty reservation.
func NewReservation() *Reservation { return &Reservation{waiting: newWaiting()} }

// Reset empties the reservation for its next use.
func (r *Reservation) Reset() { *r = Reservation{waiting: waiting{done: r.done}} }

func (r *Reservation) known() bool { return r.Replayed }

// Reserve decides a reservation and returns nil where it is accepted. Any error but ErrOutcomeUnknown is a definite
// refusal, and so are ErrRowDecides and ErrEpochDecides to whoever can look into the ledger. It returns within the
// configured timeout, counted from now.
func (e *Engine) Reserve(r *Reservation, now time.Time) error {
	sum := crc16(r.Product)
	p := e.partitions[int(sum)%len(e.partitions)]
	r.shelf = e.shelves.find(r.Product, sum, p)
	if r.Key == "" && r.shelf.refuses(r.Quantity, now) { // the gate never stands before a replay
		e.metrics.gateRefusals.Inc()
		return ErrSoldOut
	}
	if _, err := p.openView(); err != nil {
		return err
	}
	if p.backlog() >= e.config.BacklogCap {
		e.metrics.backlogFull.Inc()
		return ErrBacklogFull
	}
	r.Durability = cmp.Or(r.Durability, e.config.Durability)
	if err := e.admit(p, r.Durability); err != nil {
		return err
	}
	r.buyer = BuyerField(r.Product, r.User)
	r.deadline, r.mode = now.Add(e.config.Timeout), r.Durability
	if r.mode == DurabilityReplicated {
		return p.fenced.ask(r)
	}
	err := p.lane.ask(r)
	if r.mode == DurabilityLedger {
		r.Ahead = 0 // nobody goes before what is there
	}
	return err
}

// reserveCall is how batches of reservations are asked: the products they are for, each once, and the arguments.
type reserveCall struct {
	engine  *Engine
	shelves []*shelf
	left    []int64 // units left of each product, as the last reply said; -1 = nothing that refuses anybody: it is not known, or the sale is shut
	args    []string
}

func newReserveCall(e *Engine) *reserveCall {
	return &reserveCall{engine: e}
}

// mint gives each order of a batch its id, by the wall clock of this process: it orders ids in an index and decides nothing.
func (c *reserveCall) mint(p *partition, batch []*Reservation) {
	mintBatch(batch, p.id, c.engine.wall(), randomBytes)
}

func (c *reserveCall) run(
	ctx context.Context, conn rueidis.CommandClient, p *partition, v *view, batch []*Reservation,
) (replyHead, error) {
	deadline, _ := ctx.Deadline()
	c.build(batch, v.Replid, p.watermarkIn(v.Number), p.clock.at(deadline))
	fields, err := reserveScript.run(ctx, conn, v.reserve, c.args)
	if err != nil {
		return replyHead{}, err
	}
	head, err := c.decode(batch, fields)
	drained := p.watermark.get().Orders
	for _, r := range batch {
		r.Ahead = max(0, r.Ahead-drained)
	}
	return head, err
}

// learn hangs the gate's sign for each product of a batch that was answered.
func (c *reserveCall) learn(_ []*Reservation, asked time.Time) {
	for i, s := range c.shelves {
		if c.left[i] >= 0 {
			s.hang(c.left[i], asked, c.engine.config.GateTTL)
			c.engine.shelves.keep(s)
		}
	}
}

func (c *reserveCall) short(r *Reservation) bool {
	return errors.Is(r.err, ErrSoldOut) || errors.Is(r.err, ErrLimitExceeded)
}

// build makes the arguments of a batch, whose orders it brings into the order of their products: what is wanted of one
// product stays in the order it came in.
func (c *reserveCall) build(batch []*Reservation, replid string, watermark uint64, deadlineMs int64) {
	c.group(batch)
	wishes := 0
	for _, r := range batch {
		if r.wishes() {
			wishes++
		}
	}
	config := &c.engine.config
	c.args = append(c.args[:0], replid, formatUint(watermark), strconv.FormatInt(deadlineMs, 10),
		strconv.FormatInt(config.LockTTL.Milliseconds(), 10), strconv.Itoa(MaxQuantity), strconv.Itoa(len(c.shelves)), strconv.Itoa(wishes),
		joinIDs(batch), runsOf(batch))
	for _, s := range c.shelves {
		c.args = append(c.args, s.product)
	}
	if wishes > 0 {
		c.addWishes(batch)
	}
	for _, r := range batch {
		c.args = append(c.args, r.buyer)
	}
}

// joinIDs returns the token that the ids of a batch share and the rest of each.
func joinIDs(batch []*Reservation) string {
	var b strings.Builder
	b.Grow(tokenSize + len(batch)*(len(OrderID{})-tokenSize))
	b.Write(batch[0].ID[:tokenSize])
	for _, r := range batch {
		b.Write(r.ID[tokenSize:])
	}
	return b.String()
}

// group lists the products of a batch and sorts its orders by them.
func (c *reserveCall) group(batch []*Reservation) {
	c.shelves = c.shelves[:0]
	sorted := true
	for i, r := range batch {
		if i == 0 || r.shelf.product != batch[i-1].shelf.product {
			c.shelves = append(c.shelves, r.shelf)
			sorted = sorted && (i == 0 || batch[i-1].shelf.product < r.shelf.product)
		}
	}
	if sorted || len(c.shelves) < 3 { // two runs are two products
		return
	}
	slices.SortStableFunc(batch, func(a, b *Reservation) int { return strings.Compare(a.shelf.product, b.shelf.product) })
	c.shelves = c.shelves[:0]
	for i, r := range batch {
		if i == 0 || r.shelf.product != batch[i-1].shelf.product {
			c.shelves = append(c.shelves, r.shelf)
		}
	}
}

// runSize is what a run takes among the arguments, in bytes: the place of its product 2, the quantity 3, how many orders 2.
const runSize = 7

// runsOf tells what is wanted: for every product, one after another, the quantities and how many orders in a row want each.
func runsOf(batch []*Reservation) string {
	var b strings.Builder
	b.Grow(runSize) // most batches are one run
	product := 1
	for i := 0; i < len(batch); {
		first, n := batch[i], 1
		if i > 0 && first.shelf.product != batch[i-1].shelf.product {
			product++
		}
		for i+n < len(batch) && batch[i+n].Quantity == first.Quantity && batch[i+n].shelf.product == first.shelf.product {
			n++
		}
		quantity := first.Quantity
		if quantity < 0 || quantity >= 1<<24 { // none that is allowed
			quantity = 0
		}
		b.Write([]byte{
			byte(product >> 8), byte(product), byte(quantity >> 16), byte(quantity >> 8), byte(quantity), byte(n >> 8), byte(n),
		})
		i += n
	}
	return b.String()
}

// wishes tells whether a reservation is more than a plain order: it has arguments of its own then.
func (r *Reservation) wishes() bool { return r.HoldMs != 0 || r.Key != "" }

func (c *reserveCall) addWishes(batch []*Reservation) {
	for i, r := range batch {
		if !r.wishes() {
			continue
		}
		field, request := "", ""
		if r.Key != "" {
			field, request = IdempotencyField(r.Product, r.User, r.Key), RequestText(r.Quantity, r.HoldMs)
		}
		c.args = append(c.args, strconv.Itoa(i+1), strconv.FormatInt(r.HoldMs, 10), field, request, r.Key)
	}
}

// statusErrors maps the letters of reserve.lua to outcomes; R, K and A are no errors.
var statusErrors = map[byte]error{
	'R': nil, 'K': nil, 'A': nil, 'C': ErrKeyConflict, 'H': ErrHoldTooLong,
	'U': ErrUnknownProduct, 'X': ErrCorrupt, 'Q': ErrQuantity, 'I': ErrSaleInactive, 'N': ErrSaleNotStarted,
	'E': ErrSaleEnded, 'D': ErrDuplicateOrder, 'L': ErrLimitExceeded, 'S': ErrSoldOut,
}

// decode reads a reply into the orders of the batch.
func (c *reserveCall) decode(batch []*Reservation, fields []rueidis.RedisMessage) (replyHead, error) {
	r := replyReader{fields: fields}
	head := r.head()
	if r.err != nil || head.guard != GuardOK {
		return head, r.err
	}
	statuses := r.text()
	if r.err == nil && len(statuses) != len(batch) {
		return head, fmt.Errorf("%d statuses for %d orders", len(statuses), len(batch))
	}
	c.left = c.left[:0]
	for range c.shelves {
		c.left = append(c.left, r.number())
	}
	number := head.orders - int64(strings.Count(statuses, "A"))
	place := 0
	for i, o := range batch {
		if r.err != nil {
			break
		}
		if o.shelf.product != c.shelves[place].product {
			place++
		}
		o.Left = c.left[place]
		o.err = o.decodeStatus(statuses[i], &r, head)
		switch statuses[i] {
		case 'A':
			number++
			o.accept(head, number)
			o.Ahead = number - 1
		case 'R', 'K':
			o.Ahead = head.orders
		case 'I', 'N', 'E': // that goes before what is left
			c.left[place] = -1
		}
	}
	return head, r.err
}

// accept fills in the order as the script has written it.
func (r *Reservation) accept(head replyHead, number int64) {
	r.Order = Order{
		ID: r.ID, Product: r.Product, User: r.User, Quantity: r.Quantity, Status: StatusConfirmed, Version: 1,
		CreatedAtMs: head.nowMs, UpdatedAtMs: head.nowMs, Sequence: head.sequence, Number: number,
	}
	r.Order.hold(r.HoldMs)
	if r.Key != "" {
		r.Order.Request, r.Order.IdempotencyKey = RequestText(r.Quantity, r.HoldMs), r.Key
	}
}

// hold makes a new order one that is held.
func (o *Order) hold(forMs int64) {
	if forMs > 0 {
		o.Status, o.ExpiresAtMs = StatusPending, o.CreatedAtMs+forMs
	}
}

// replay fills in what an earlier request with the same key was answered. Its entry is not known: none after the
// reply's is it, so whoever waits until the ledger has that one waits long enough.
func (r *Reservation) replay(value string, head replyHead) error {
	id, createdMs, err := parseIdempotencyValue(value)
	if err != nil {
		return err
	}
	r.Replayed = true
	r.Order = Order{
		ID: id, Product: r.Product, User: r.User, Quantity: r.Quantity, Status: StatusConfirmed, Version: 1,
		CreatedAtMs: createdMs, UpdatedAtMs: createdMs, Sequence: head.sequence,
		Request: RequestText(r.Quantity, r.HoldMs), IdempotencyKey: r.Key,
	}
	r.Order.hold(r.HoldMs)
	return nil
}

// unreadable is the outcome of an order that was decided before, of which Redis has what nobody can read: that is no reason
// to fail the rest of the batch.
func unreadable(err error) error {
	if err != nil {
		return ErrOutcomeUnknown
	}
	return nil
}

// decodeStatus reads the detail that a letter brings and returns the outcome.
func (r *Reservation) decodeStatus(letter byte, reply *replyReader, head replyHead) error {
	if letter == 'A' { // nearly all
		return nil
	}
	outcome, known := statusErrors[letter]
	if !known {
		reply.err = fmt.Errorf("status %q is not known", letter)
		return ErrOutcomeUnknown
	}
	switch letter {
	case 'R':
		order, err := ParseRecord(r.ID, reply.text())
		r.Order = order
		return unreadable(err)
	case 'K':
		return unreadable(r.replay(reply.text(), head))
	case 'H':
		r.MaxHoldMs = reply.number()
	case 'N':
		r.RetryAtMs = reply.number()
		r.RetryAfterMs = r.RetryAtMs - head.nowMs
	case 'D':
		until, first, _ := strings.Cut(reply.text(), ",")
		if err := parseCount(until, &r.RetryAtMs); err != nil && reply.err == nil {
			reply.err = err
		}
		r.RetryAfterMs = r.RetryAtMs - head.nowMs
		copy(r.First[:], first)
	case 'L':
		r.Bought = reply.number()
	}
	return outcome
}
