package persist

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
)

// planNode is what EXPLAIN says of a step of a plan that was carried out.
type planNode struct {
	Index string     `json:"Index Name"`
	Rows  float64    `json:"Actual Rows"`
	Loops float64    `json:"Actual Loops"`
	Plans []planNode `json:"Plans"`
}

// read is how many rows the plan read by an index.
func (n *planNode) read(index string) (rows float64) {
	if n.Index == index {
		rows = n.Rows * n.Loops
	}
	for i := range n.Plans {
		rows += n.Plans[i].read(index)
	}
	return rows
}

// A shop's till may be one user with more orders than anybody wants sorted for a page.
func TestAPageReadsHardlyMoreOrdersThanItHas(t *testing.T) {
	pool := ledger(t, 100)
	const insert = `
INSERT INTO orders (id, partition, product_id, user_id, quantity, status, version, epoch, sequence, idx, created_at, updated_at)
SELECT gen_random_uuid(), 0, 'lamp', 'till', 1, 'confirmed', 1, 1, 1, n, 'epoch'::timestamptz + n / 2 * interval '1 ms', 'epoch'
  FROM generate_series(1, 20000) n`
	exec(t, pool, insert)
	exec(t, pool, `ANALYZE orders`)
	const limit = 20
	for name, since := range map[string]time.Time{"the first page": endOfTime, "one from the middle": time.UnixMilli(5000)} {
		t.Run(name, func(t *testing.T) {
			var plans []struct{ Plan planNode }
			explain := `EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) ` + selectUserOrders
			require.NoError(t, pool.QueryRow(t.Context(), explain, "till", since, engine.OrderID{}, limit).Scan(&plans))
			require.Len(t, plans, 1)
			read := plans[0].Plan.read("orders_of_user")
			require.GreaterOrEqual(t, read, float64(limit))
			require.Less(t, read, float64(5*limit), "%+v", plans[0].Plan)
		})
	}
}
