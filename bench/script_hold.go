package bench

import (
	"flashsale/bench/load"
)

// Operations of the scenario holds, as it lists them.
const (
	opHold = iota
	opConfirm
	opCancel
)

// Of ten who hold, so many confirm, and so many cancel; the rest let it expire.
const (
	ofTenConfirm = 5
	ofTenCancel  = 1
)

// holdAndDecide reserves, and does one of three things then.
func holdAndDecide(s *sale, m *load.OrderMaker) func(int) load.Script {
	auth := load.Authorization(s.Token)
	return func(int) load.Script {
		return &holding{ordering: ordering{sale: s, maker: m}, auth: auth}
	}
}

type holding struct {
	ordering
	auth []string
	held bool
}

// decision is what a visitor does with a hold: the operation, or opHold for nothing.
func (s *holding) decision(visit int64) int {
	switch tenth := s.sale.chance.At(visit) % 10; {
	case tenth < ofTenConfirm:
		return opConfirm
	case tenth < ofTenConfirm+ofTenCancel:
		return opCancel
	}
	return opHold
}

var verbs = map[int]string{opConfirm: "confirm", opCancel: "cancel"}

// ends are the states that follow from a decision that went through.
var ends = map[int]string{opHold: statusExpired, opConfirm: statusConfirmed, opCancel: statusCancelled}

// Request appends the hold, then what the visitor decided.
func (s *holding) Request(b []byte, visit int64, step int) []byte {
	if step == 0 {
		o := s.orderOf(visit)
		o.HoldSeconds = s.sale.HoldSeconds
		return s.order(b, o)
	}
	verb, decided := verbs[s.decision(visit)]
	if step > 1 || !s.held || !decided {
		return b
	}
	head := s.sale.target.Head("POST", "/orders/"+string(s.id)+"/"+verb, s.auth...)
	return load.AppendJSON(b, head, []byte("{}"))
}

// Answer notes the hold when it is decided what it must end as.
func (s *holding) Answer(visit int64, step int, a load.Answer, err error) load.Outcome {
	o := s.orderOf(visit)
	placed := order{product: o.Product, buyer: o.Buyer, want: statusExpired}
	if step == 0 {
		return s.noteHold(visit, placed, a, err)
	}
	outcome := s.judge.Change(a, err)
	outcome.Op = s.decision(visit)
	switch outcome.Fate {
	case load.Accepted:
		placed.want = ends[outcome.Op]
		s.sale.book.place(s.id, placed)
	case load.Unknown:
		placed.want = ""
		s.sale.book.place(s.id, placed)
		placed.id, placed.placed, placed.tried = string(s.id), true, ends[outcome.Op]
		s.sale.book.doubt(placed)
	case load.Refused, load.Failed:
		s.sale.book.place(s.id, placed)
	}
	return outcome
}

func (s *holding) noteHold(visit int64, o order, a load.Answer, err error) load.Outcome {
	outcome, id := s.judge.Order(a, err)
	s.held = outcome.Fate == load.Accepted
	switch outcome.Fate {
	case load.Accepted:
		s.id = append(s.id[:0], id...)
		if s.decision(visit) == opHold {
			s.sale.book.place(id, o)
		}
	case load.Refused:
		s.sale.book.refuse(o.product, o.buyer, outcome.Why)
	case load.Unknown:
		o.id = string(id)
		s.sale.book.doubt(o)
	case load.Failed:
	}
	return outcome
}
