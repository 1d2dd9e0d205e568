package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fastjson"
)

const (
	// listLimit is how many orders of a buyer are asked for at once.
	listLimit = 100
	// maxListPages bounds the pages of one buyer's list; beyond them nothing is said of it.
	maxListPages = 100
)

// emptyHanded returns some buyers who were refused and surely got nothing.
func (s *sale) emptyHanded() []int64 {
	b := s.book
	if s.comeOnce() {
		return b.refused
	}
	if unknown, _ := b.beyond(); b.bought == nil || unknown > 0 {
		return nil // they may have come again, with more luck
	}
	for _, o := range slices.Concat(b.unsure, b.unnamed) {
		b.refused = slices.DeleteFunc(b.refused, func(buyer int64) bool { return buyer == o.buyer })
	}
	b.refused = slices.DeleteFunc(b.refused, b.bought)
	slices.Sort(b.refused)
	return slices.Compact(b.refused)
}

// checkLists asks some buyers for their orders, as they would: who bought finds the order, who was refused finds none.
func (s *sale) checkLists(ctx context.Context, owned []order, r *rules) error {
	owners := choose(owned, s.Seed)
	refused := s.emptyHanded()
	n := len(owners) + len(refused)
	found, failures := make([]string, n), make([]error, n)
	s.inTurn(ctx, n, func(k, i int) {
		if i < len(owners) {
			found[i], failures[i] = s.checkList(s.provers[k], owners[i].buyer, owners[i].id)
			return
		}
		found[i], failures[i] = s.checkList(s.provers[k], refused[i-len(owners)], "")
	})
	if err := firstError(append(failures, ctx.Err())...); err != nil {
		return err
	}
	r.scope("the lists of %d who bought and %d who were refused", len(owners), len(refused))
	for _, breach := range found {
		r.check(breach == "", ruleLists, "what they were told", breach)
	}
	return nil
}

// choose returns buyersKept of them, each with the same chance, or all.
func choose(orders []order, seed uint64) []order {
	if len(orders) <= buyersKept {
		return orders
	}
	random := rand.New(rand.NewPCG(seed, uint64(len(orders))))
	chosen := make([]order, buyersKept)
	for i, at := range random.Perm(len(orders))[:buyersKept] {
		chosen[i] = orders[at]
	}
	return chosen
}

// checkList returns what is wrong with a buyer's list; "" = nothing.
func (s *sale) checkList(c *conn, buyer int64, want string) (string, error) {
	user := s.book.user(buyer)
	list, err := s.listOf(c, user, want)
	if err != nil {
		return "", fmt.Errorf("orders of %s: %w", user, err)
	}
	n := len(list.orders)
	alone := s.scenario.once || s.comeOnce()
	switch {
	case want != "" && !list.more && !list.has(want):
		return user + " has not " + want, nil
	case want != "" && alone && n > 1, want == "" && n > 0:
		return fmt.Sprintf("%s has %s orders, such as %s", user, grouped(int64(n)), list.orders[0].id), nil
	}
	return "", nil
}

// buyerList is what is known of a buyer's list.
type buyerList struct {
	orders []listed // as they come
	more   bool     // there are others, which were not read
	late   bool     // it may lack what the ledger does not have yet
}

// listed is an order in a list.
type listed struct{ id, product string }

func (l *buyerList) has(id string) bool {
	return slices.ContainsFunc(l.orders, func(o listed) bool { return o.id == id })
}

var errNoList = errors.New("GET /orders/user: status 200, but no list in the answer")

// listOf reads a buyer's list page by page, until an order that is wanted is there; "" = none is.
func (s *sale) listOf(c *conn, user, want string) (list buyerList, err error) {
	query := fmt.Sprintf("?limit=%d", listLimit)
	for range maxListPages {
		answer, err := c.get("/orders/user/" + user + query)
		if err == nil {
			err = expect(answer, fasthttp.StatusOK, "GET /orders/user")
		}
		if err != nil {
			return list, err
		}
		if answer.doc == nil || answer.doc.Type() != fastjson.TypeArray {
			return list, errNoList
		}
		for _, o := range answer.doc.GetArray() {
			list.orders = append(list.orders, listed{string(o.GetStringBytes("orderId")), string(o.GetStringBytes("productId"))})
		}
		list.late = list.late || c.isLate()
		if query, list.more = c.nextPage(); !list.more || want != "" && list.has(want) {
			return list, nil
		}
	}
	return list, nil
}
