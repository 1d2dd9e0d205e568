package load

import (
	"strconv"
)

// Orders are POST /orders, one a visit: who orders what follows from the visit's number and the seed.
type Orders struct {
	Products   []string // ids; at least one
	Zipf       float64  // exponent of [NewPicker] over the products in their order; 0 = all alike
	Users      string   // prefix of user ids, fit for JSON as it is; a number follows
	Buyers     int64    // how many users there are; in a random order, and again when all have been. 0 = each visit another
	Quantity   int      // of each order; default 1
	Durability string   // sent only if it is set
	Token      string   // for `Authorization: Bearer`; "" = none
	Path       string   // default /orders
	Seed       uint64

	// Placed is told about every accepted order, if it is set, by several goroutines at once. The id holds until it returns.
	Placed func(visit int64, orderID []byte)
}

// OrderMaker makes the requests of [Orders]. It may be used by several goroutines at once.
type OrderMaker struct {
	orders   Orders
	head     []byte
	buyers   Shuffle
	products Picker
}

// NewOrderMaker prepares orders for a target. An error wraps [ErrOptions].
func NewOrderMaker(target *Target, o *Orders) (*OrderMaker, error) {
	m := &OrderMaker{orders: *o, buyers: NewShuffle(o.Buyers, o.Seed)}
	if o.Path == "" {
		m.orders.Path = "/orders"
	}
	if o.Quantity == 0 {
		m.orders.Quantity = 1
	}
	m.head = target.Head("POST", m.orders.Path, Authorization(o.Token)...)
	var err error
	m.products, err = NewPicker(len(o.Products), o.Zipf, o.Seed)
	return m, err
}

// Authorization returns the header lines for a token; none for "".
func Authorization(token string) []string {
	if token == "" {
		return nil
	}
	return []string{"Authorization: Bearer " + token}
}

// Buyer returns the number of the user who comes in a visit.
func (m *OrderMaker) Buyer(visit int64) int64 {
	if m.orders.Buyers == 0 {
		return visit
	}
	return m.buyers.At(visit)
}

// Product returns the index of what is ordered in a visit.
func (m *OrderMaker) Product(visit int64) int { return m.products.At(visit) }

// Order is one order as it is sent.
type Order struct {
	Product     int   // index
	Buyer       int64 // number of the user
	HoldSeconds int   // 0 = not a hold
	Key         int64 // number of the Idempotency-Key; 0 = none
}

// AppendOrder appends an order as a whole HTTP request. The scratch is for its body and comes back to be used again.
func (m *OrderMaker) AppendOrder(b, scratch []byte, o Order) (request, used []byte) {
	body := scratch[:0]
	body = append(body, `{"productId":"`...)
	body = append(body, m.orders.Products[o.Product]...)
	body = append(body, `","userId":"`...)
	body = append(body, m.orders.Users...)
	body = strconv.AppendInt(body, o.Buyer, 10)
	body = append(body, `","quantity":`...)
	body = strconv.AppendInt(body, int64(m.orders.Quantity), 10)
	if o.HoldSeconds > 0 {
		body = append(body, `,"holdSeconds":`...)
		body = strconv.AppendInt(body, int64(o.HoldSeconds), 10)
	}
	if m.orders.Durability != "" {
		body = append(body, `,"durability":"`...)
		body = append(body, m.orders.Durability...)
		body = append(body, '"')
	}
	body = append(body, '}')
	b = append(b, m.head...)
	if o.Key != 0 {
		b = append(b, "Idempotency-Key: "...)
		b = append(b, m.orders.Users...)
		b = strconv.AppendInt(b, o.Key, 10)
		b = append(b, "\r\n"...)
	}
	return AppendJSON(b, nil, body), body
}

// Script returns a script that orders once a visit, for [New].
func (m *OrderMaker) Script(int) Script { return &orderScript{maker: m} }

type orderScript struct {
	maker *OrderMaker
	judge Judge
	body  []byte
}

// Request appends the visit's order.
func (s *orderScript) Request(b []byte, visit int64, step int) []byte {
	if step > 0 {
		return b
	}
	b, s.body = s.maker.AppendOrder(b, s.body, Order{Product: s.maker.Product(visit), Buyer: s.maker.Buyer(visit)})
	return b
}

// Answer judges it.
func (s *orderScript) Answer(visit int64, _ int, a Answer, err error) Outcome {
	outcome, id := s.judge.Order(a, err)
	if outcome.Fate == Accepted && s.maker.orders.Placed != nil {
		s.maker.orders.Placed(visit, id)
	}
	return outcome
}
