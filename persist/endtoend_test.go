package persist_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
)

func TestAnOrderReachesTheLedger(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	n := s.start(t)
	p := n.product(t, "sneaker", 10, onSale)
	require.Equal(t, engine.Stock{Current: 10, Initial: 10, Change: 1}, p.Stock)

	r, err := n.buy("sneaker", "ann", 2)
	require.NoError(t, err)
	require.EqualValues(t, 8, r.Left)
	eventually(t, "the order to be durable", func() bool {
		view, err := n.store.Order(t.Context(), r.ID)
		require.NoError(t, err)
		require.Equal(t, engine.StatusConfirmed, view.Status)
		return view.Durable
	})
	require.EqualValues(t, 2, s.count(t, `SELECT sum(quantity) FROM orders WHERE product_id = 'sneaker' AND status = 'confirmed'`))
	require.EqualValues(t, 2, s.count(t, `SELECT sold FROM products WHERE id = 'sneaker'`))
}

func TestManyBuyersGetExactlyWhatThereIs(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	nodes := []*node{s.start(t), s.start(t)}
	nodes[0].product(t, "console", 100, onSale)

	var sold, soldOut atomic.Int64
	var crowd sync.WaitGroup
	for i := range 500 {
		crowd.Go(func() {
			_, err := nodes[i%2].buy("console", fmt.Sprintf("buyer-%d", i), 1)
			switch {
			case err == nil:
				sold.Add(1)
			case errors.Is(err, engine.ErrSoldOut):
				soldOut.Add(1)
			default:
				t.Errorf("buyer %d: %v", i, err)
			}
		})
	}
	crowd.Wait()
	require.EqualValues(t, 100, sold.Load())
	require.EqualValues(t, 400, soldOut.Load())
	eventually(t, "100 rows", func() bool { return s.count(t, `SELECT count(*) FROM orders`) == 100 })
	require.EqualValues(t, 100, s.count(t, `SELECT sum(quantity) FROM orders`))
	require.EqualValues(t, 100, s.count(t, `SELECT sold FROM products`))
	stock, found, err := nodes[1].Stock(t.Context(), "console")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, engine.Stock{Sold: 100, Initial: 100, Change: 1}, stock)
}
