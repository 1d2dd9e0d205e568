package bench

import (
	"bytes"
	"sync/atomic"

	"flashsale/bench/load"
)

// Operations of the scenario duplicates, as it lists them.
const (
	opClick = iota
	opReplay
	opBeyond
)

// Requests of a visit that replays: the order, and again.
const replays = 3

// orderTwice has every buyer come twice, at about the same time, as two connections take the two visits: a third click
// twice, a third send the same key from both and again, a third want another order under another key.
func orderTwice(s *sale, m *load.OrderMaker) func(int) load.Script {
	t := &twice{bought: make([]atomic.Uint64, s.Buyers)}
	s.book.bought = func(buyer int64) bool { return t.bought[buyer].Load() != 0 }
	return func(int) load.Script { return &insisting{ordering: ordering{sale: s, maker: m}, twice: t} }
}

// twice is what all connections know: the order that each buyer has, as a fingerprint; 0 = none.
type twice struct{ bought []atomic.Uint64 }

type insisting struct {
	ordering
	twice *twice
	first []byte // id that the visit's first request got; empty = none
}

func (s *insisting) buyer(visit int64) int64 { return s.maker.Buyer(visit / 2) }

// kind is the operation that both visits of a buyer are.
func (s *insisting) kind(visit int64) int { return s.sale.chance.At(visit/2) % 3 }

// Request appends an order of the buyer: without a key, under one key again and again, or under a key of each visit.
func (s *insisting) Request(b []byte, visit int64, step int) []byte {
	o := load.Order{Product: s.maker.Product(visit / 2), Buyer: s.buyer(visit)}
	switch s.kind(visit) {
	case opClick:
		if step > 0 {
			return b
		}
	case opReplay:
		if step >= replays {
			return b
		}
		o.Key = 3*o.Buyer + 1
	case opBeyond:
		if step > 0 {
			return b
		}
		o.Key = 3*o.Buyer + 2 + visit%2
	}
	return s.order(b, o)
}

// Answer holds an acceptance against what the buyer has already.
func (s *insisting) Answer(visit int64, step int, a load.Answer, err error) load.Outcome {
	o := order{product: s.maker.Product(visit / 2), buyer: s.buyer(visit), want: statusConfirmed}
	outcome, id := s.judge.Order(a, err)
	outcome.Op = s.kind(visit)
	if step == 0 {
		s.first = s.first[:0]
	}
	switch outcome.Fate {
	case load.Accepted:
		s.accept(o, outcome.Op, id, len(a.Header("Idempotent-Replayed")) > 0)
		s.first = append(s.first[:0], id...)
	case load.Refused:
		if outcome.Why == codeSoldOut {
			s.sale.book.refuse(o.product, o.buyer, outcome.Why)
		}
		if len(s.first) > 0 {
			s.sale.book.contradict(ruleKey)
		}
	case load.Unknown:
		o.id = string(id)
		s.sale.book.doubt(o)
	case load.Failed:
	}
	return outcome
}

// accept notes a buyer's first order; any other must be the same, under the same key.
func (s *insisting) accept(o order, kind int, id []byte, replayed bool) {
	mine := max(1, s.sale.book.fingerprint(id))
	bought := &s.twice.bought[o.buyer]
	switch isFirst := bought.CompareAndSwap(0, mine); {
	case isFirst:
		s.sale.book.place(id, o)
	case bought.Load() != mine && kind == opReplay:
		s.sale.book.contradict(ruleKey)
		s.sale.book.place(id, o)
	case bought.Load() != mine:
		s.sale.book.contradict(ruleOnce)
		s.sale.book.place(id, o)
	case kind != opReplay:
		s.sale.book.contradict(ruleOnce)
	case !replayed && len(s.first) > 0 && bytes.Equal(s.first, id):
		s.sale.book.contradict(ruleReplayed)
	}
}
