package faults

import (
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// result is what the books say once all is quiet.
type result struct {
	placed, refused, open int            // purchases by the outcome of their order
	lost                  map[string]int // by mode, and transitions of any
	rows                  int64
	answers               map[string]int // first answers to orders, by mode, status and code
}

func (r result) String() string {
	return fmt.Sprintf("%d orders placed, %d refused, %d never known; %d rows in the ledger; lost: %v; %v",
		r.placed, r.refused, r.open, r.rows, r.lost, r.answers)
}

// row is what the ledger has of one buyer.
type row struct {
	id, product, status string
	quantity            int64
}

// judge holds the ledger against what buyers were told.
func (s *site) judge(c *crowd, worst loss) (r result) {
	r.lost, r.answers = make(map[string]int), make(map[string]int)
	rows := s.rows()
	for _, p := range c.purchases {
		p.settle()
		if len(p.story) > 0 {
			r.answers[p.mode+" "+p.story[0]]++
		}
		found := rows[p.user]
		delete(rows, p.user)
		r.rows += int64(len(found))
		state := absent
		if len(found) > 0 {
			state = found[0].status
			assert.Equal(s.t, row{id: found[0].id, product: p.product, status: state, quantity: p.quantity}, found[0], "another order: %s", p)
		}
		assert.LessOrEqual(s.t, len(found), 1, "placed twice: %s", p)
		switch p.judge(state, worst) {
		case wrong:
			assert.Fail(s.t, "lost or unexpected", "the ledger says %s: %s", state, p)
		case lost:
			r.lost[lostWhat(p, state)]++
		case right:
		}
		switch {
		case p.now[absent] && len(p.now) == 1:
			r.refused++
		case p.now[absent]:
			r.open++
		default:
			r.placed++
		}
	}
	assert.Empty(s.t, rows, "orders that nobody placed")
	s.judgeBooks()
	return r
}

// lostWhat names what is gone: an order of some mode, or only what was done with it later.
func lostWhat(p *purchase, state string) string {
	if state == absent {
		return "orders " + p.mode
	}
	return "transitions"
}

// rows are the orders in the ledger, by buyer.
func (s *site) rows() map[string][]row {
	rows := make(map[string][]row)
	cursor, err := s.pool.Query(s.t.Context(), `SELECT user_id, id::text, product_id, status, quantity FROM orders`)
	require.NoError(s.t, err)
	var user string
	var r row
	_, err = pgx.ForEachRow(cursor, []any{&user, &r.id, &r.product, &r.status, &r.quantity}, func() error {
		rows[user] = append(rows[user], r)
		return nil
	})
	require.NoError(s.t, err)
	return rows
}

// judgeBooks holds the sums against one another, in Redis and in the ledger.
func (s *site) judgeBooks() {
	assert.Zero(s.t, s.count(`SELECT count(*) FROM dead_letters`), "dead letters")
	for _, id := range s.products {
		sold := s.soldInLedger(id)
		assert.Equal(s.t, s.count(`SELECT coalesce(sum(quantity), 0) FROM orders WHERE product_id = $1 AND status = 'confirmed'`, id),
			sold, "%s: sold is the sum of what is confirmed", id)
		assert.LessOrEqual(s.t, sold, int64(unitsOfProduct), "%s: oversold", id)
		for _, n := range s.nodes {
			_, product := n.get("/inventory/" + id)
			got := [...]int64{product.number("initialStock"), product.number("currentStock"), product.number("heldStock"), product.number("soldStock")}
			assert.Equal(s.t, [...]int64{unitsOfProduct, unitsOfProduct - sold, 0, sold}, got, "%s: initial, current, held, sold in Redis", id)
		}
	}
}
