package bench

import (
	"bytes"

	"github.com/valyala/fastjson"

	"flashsale/bench/load"
)

// Operations of the scenario mixed, as it lists them.
const (
	opOrder = iota
	opReadOrder
	opReadStock
)

// orderAndRead orders in every third visit and reads the order back; the others look at the stock.
func orderAndRead(s *sale, m *load.OrderMaker) func(int) load.Script {
	heads := make([][]byte, len(s.products))
	for i, id := range s.products {
		heads[i] = s.target.Head("GET", "/inventory/"+id)
	}
	auth := load.Authorization(s.Token)
	return func(int) load.Script {
		return &reading{ordering: ordering{sale: s, maker: m}, stock: heads, auth: auth}
	}
}

type reading struct {
	ordering
	stock  [][]byte // heads of requests
	auth   []string
	parser fastjson.Parser
}

func (s *reading) orders(visit int64) bool { return s.sale.chance.At(visit)%3 == 0 }

// Request appends a look at the stock, or an order and then a look at it.
func (s *reading) Request(b []byte, visit int64, step int) []byte {
	switch {
	case step == 0 && s.orders(visit):
		return s.order(b, s.orderOf(visit))
	case step == 0:
		return load.AppendEmpty(b, s.stock[s.maker.Product(visit)])
	case step == 1 && s.orders(visit) && len(s.id) > 0:
		return load.AppendEmpty(b, s.sale.target.Head("GET", "/orders/"+string(s.id), s.auth...))
	}
	return b
}

// Answer judges what was read, too.
func (s *reading) Answer(visit int64, step int, a load.Answer, err error) load.Outcome {
	if s.orders(visit) && step == 0 {
		return s.ordering.Answer(visit, step, a, err)
	}
	outcome := s.judge.Read(a, err)
	if s.orders(visit) {
		outcome.Op = opReadOrder
		s.checkOrder(a, outcome)
		return outcome
	}
	outcome.Op = opReadStock
	if outcome.Fate == load.Accepted {
		s.checkStock(a.Body)
	}
	return outcome
}

// checkOrder: who was answered 201 can look the order up at once.
func (s *reading) checkOrder(a load.Answer, o load.Outcome) {
	sold := string(load.TextMember(a.Body, "status")) == statusConfirmed && bytes.Equal(load.TextMember(a.Body, "orderId"), s.id)
	if a.Status == 404 || o.Fate == load.Accepted && !sold {
		s.sale.book.contradict(ruleReadable)
	}
}

func (s *reading) checkStock(body []byte) {
	doc, err := s.parser.ParseBytes(body)
	if err != nil {
		s.sale.book.contradict(ruleReads)
		return
	}
	if stock := stockOf(doc); !stock.sound() {
		s.sale.book.contradict(ruleReads)
	}
}
