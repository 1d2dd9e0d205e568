package persist_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
)

func TestOnAClusterOfThreePrimaries(t *testing.T) {
	primaries := devtest.Cluster(t, 3)
	s := newStack(t, fmt.Sprintf("redis://%s?addr=%s", primaries[0], strings.Join(primaries[1:], "&addr=")))
	s.config.Partitions = 6
	nodes := []*node{s.start(t), s.start(t)}
	products := make([]string, 12)
	for i := range products {
		products[i] = fmt.Sprint("product-", i)
		nodes[0].product(t, products[i], 20, onSale)
	}

	var sold, soldOut atomic.Int64
	var crowd sync.WaitGroup
	for i := range 600 {
		crowd.Go(func() {
			_, err := nodes[i%2].buy(products[i%len(products)], fmt.Sprint("buyer-", i), 1)
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
	require.EqualValues(t, 240, sold.Load())
	require.EqualValues(t, 360, soldOut.Load())
	for _, product := range products {
		s.awaitLedger(t, nodes[0], product, 20)
	}
	totals, err := nodes[1].store.StockTotals(t.Context())
	require.NoError(t, err)
	require.Equal(t, engine.StockTotals{Products: 12, OutOfStock: 12, Initial: 240}, totals)
	nodes[0].product(t, "encore", 20, onSale)
	r, err := nodes[0].buy("encore", "fan", 1)
	require.NoError(t, err)
	page, err := nodes[1].store.OrdersOf(t.Context(), "fan", engine.OrderPlace{}, 10)
	require.NoError(t, err)
	require.Zero(t, page.LagMs)
	require.Equal(t, []engine.OrderID{r.ID}, listedIDs(page.Orders))
	require.Len(t, nodesWithKeys(t, primaries), 3, "the partitions are spread over all primaries")
}

// nodesWithKeys lists the primaries that hold keys.
func nodesWithKeys(t *testing.T, primaries []string) []string {
	t.Helper()
	c := client(t, "redis://"+primaries[0])
	var holding []string
	for address, node := range c.Nodes() {
		n, err := node.Do(t.Context(), node.B().Dbsize().Build()).AsInt64()
		require.NoError(t, err)
		if n > 0 {
			holding = append(holding, address)
		}
	}
	return holding
}
