package bench

import (
	"flashsale/bench/load"
)

// orderOnce is one order a visit.
func orderOnce(s *sale, m *load.OrderMaker) func(int) load.Script {
	return func(int) load.Script { return &ordering{sale: s, maker: m} }
}

// ordering is a script that orders, and what others begin with.
type ordering struct {
	sale  *sale
	maker *load.OrderMaker
	judge load.Judge
	body  []byte
	id    []byte // of the order that was placed in this visit; empty = none
}

// Request appends the visit's order.
func (s *ordering) Request(b []byte, visit int64, step int) []byte {
	if step > 0 {
		return b
	}
	return s.order(b, s.orderOf(visit))
}

func (s *ordering) orderOf(visit int64) load.Order {
	return load.Order{Product: s.maker.Product(visit), Buyer: s.maker.Buyer(visit)}
}

func (s *ordering) order(b []byte, o load.Order) []byte {
	b, s.body = s.maker.AppendOrder(b, s.body, o)
	return b
}

// Answer notes what became of it.
func (s *ordering) Answer(visit int64, _ int, a load.Answer, err error) load.Outcome {
	o := s.orderOf(visit)
	return s.note(order{product: o.Product, buyer: o.Buyer, want: statusConfirmed}, a, err)
}

// note judges the answer to an order and writes it into the book; id is set where it was accepted.
func (s *ordering) note(o order, a load.Answer, err error) load.Outcome {
	outcome, id := s.judge.Order(a, err)
	s.id = s.id[:0]
	switch outcome.Fate {
	case load.Accepted:
		s.id = append(s.id, id...)
		s.sale.book.place(id, o)
	case load.Refused:
		s.sale.book.refuse(o.product, o.buyer, outcome.Why)
	case load.Unknown:
		o.id = string(id)
		s.sale.book.doubt(o)
	case load.Failed:
	}
	return outcome
}
