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
	standingOther                   // it is there, but not sold: cancelled, failed, for another product
	standingSold                    // confirmed
	standingDurable                 // confirmed, and the ledger has it
)

// statusConfirmed is the state of an order that was sold (DESIGN, Vocabulary).
const statusConfirmed = "confirmed"

func (r *rush) lookUp(c *conn, orderID string) standing {
	answer, err := c.get("/orders/" + orderID)
	switch {
	case err != nil:
		return standingUnread
	case answer.status == fasthttp.StatusNotFound:
		return standingMissing
	case answer.status != fasthttp.StatusOK || answer.doc == nil:
		return standingUnread
	case answer.text("status") != statusConfirmed || answer.text("productId") != r.Product:
		return standingOther
	case answer.doc.GetBool("durable"):
		return standingDurable
	}
	return standingSold
}

// example names one of the orders that stand as they should not, to look for in logs.
func example(ids []string, standings []standing, wrong []standing) string {
	for i, s := range standings {
		if slices.Contains(wrong, s) {
			return ids[i]
		}
	}
	return ""
}
