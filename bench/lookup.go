package bench

import (
	"slices"

	"github.com/valyala/fasthttp"
)

// standing is what the server says about an order when it is asked again.
type standing int

const (
	standingUnread  standing = iota // no answer that says anything
	standingMissing                 // there is no such order
	standingOther                   // it is there, but not as it must be: in another state, for another product, of another buyer
	standingEarly                   // it is there, and on its way to where it must be
	standingSold                    // as it must be
	standingDurable                 // as it must be, and the ledger has it
)

// States of orders (DESIGN, Vocabulary).
const (
	statusPending   = "pending"
	statusConfirmed = "confirmed"
	statusCancelled = "cancelled"
	statusExpired   = "expired"
)

// lookUp asks for an order; state is the one it is in.
func (s *sale) lookUp(c *conn, o *order) (st standing, state string) {
	answer, err := c.get("/orders/" + o.id)
	switch {
	case err != nil:
		return standingUnread, ""
	case answer.status == fasthttp.StatusNotFound:
		return standingMissing, ""
	case answer.status != fasthttp.StatusOK || answer.doc == nil:
		return standingUnread, ""
	}
	state = answer.text("status")
	switch {
	case answer.text("productId") != s.products[o.product], answer.text("userId") != s.book.user(o.buyer):
		return standingOther, state
	case state == statusPending && o.want != statusPending:
		return standingEarly, state
	case o.want != "" && state != o.want, o.tried != "" && state != o.tried && state != statusExpired:
		return standingOther, state
	case answer.doc.GetBool("durable"):
		return standingDurable, state
	}
	return standingSold, state
}

// example names one of the orders that stand as they should not, to look for in logs.
func example(orders []order, standings []standing, wrong []standing) string {
	for i, s := range standings {
		if slices.Contains(wrong, s) {
			return orders[i].id
		}
	}
	return ""
}
