package persist_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
)

// mostShut is within what time a partition takes orders again after its primary was killed: the cluster or the Sentinels
// find out within two seconds or so, the rest is ours.
const mostShut = 15 * time.Second

// rush is a crowd that buys through several processes until it is told to stop, and remembers what it was told.
type rush struct {
	stop    atomic.Bool
	buyers  sync.WaitGroup
	mu      sync.Mutex
	granted map[engine.Durability][]engine.OrderID
	last    map[int]time.Time // partition -> the last order granted
}

// rushOn has buyers of modes fast and ledger order products through nodes, one each at a time.
func rushOn(nodes []*node, products []string) *rush {
	r := &rush{granted: map[engine.Durability][]engine.OrderID{}, last: map[int]time.Time{}}
	for i := range 2 * len(products) {
		mode := []engine.Durability{engine.DurabilityFast, engine.DurabilityLedger}[i/len(products)]
		r.buyers.Go(func() {
			for k := 0; !r.stop.Load(); k++ {
				order, err := nodes[k%len(nodes)].buyAs(mode, products[i%len(products)], fmt.Sprintf("buyer-%d-%d", i, k), "")
				if err == nil {
					r.note(mode, order.Order.ID)
				} else {
					pause()
				}
			}
		})
	}
	return r
}

// pause keeps a buyer who was refused from asking again at once.
func pause() { <-time.After(2 * time.Millisecond) }

func (r *rush) note(mode engine.Durability, id engine.OrderID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.granted[mode] = append(r.granted[mode], id)
	r.last[id.Partition()] = time.Now()
}

// since tells whether an order of every partition was granted after an instant.
func (r *rush) since(instant time.Time, partitions int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range partitions {
		if !r.last[p].After(instant) {
			return false
		}
	}
	return true
}

// overtaken kills a primary under a rush, waits until every partition sells again by itself, and holds what the buyers were
// told against the ledger and against Redis.
func (s *stack) overtaken(t *testing.T, kill func() error) {
	t.Helper()
	nodes := []*node{s.start(t), s.start(t)}
	var products []string
	for p := range s.config.Partitions {
		product := productIn(nodes[0], p)
		nodes[0].product(t, product, 1_000_000, onSale)
		products = append(products, product)
	}
	crowd := rushOn(nodes, products)
	began := time.Now()
	eventually(t, "orders on every partition", func() bool { return crowd.since(began, len(products)) })
	killed := time.Now()
	require.NoError(t, kill())
	devtest.Eventually(t, mostShut, "every partition to sell again", func() bool {
		return crowd.since(killed.Add(time.Second), len(products))
	})
	t.Logf("all partitions sell again %s after the kill", time.Since(killed).Round(time.Millisecond))
	crowd.stop.Store(true)
	crowd.buyers.Wait()

	sure, hoped := crowd.granted[engine.DurabilityLedger], crowd.granted[engine.DurabilityFast]
	require.EqualValues(t, len(sure), s.rows(t, sure), "rows of what mode ledger answered")
	var lost int64
	eventually(t, "the ledger to have what Redis has", func() bool {
		lost = int64(len(hoped)) - s.rows(t, hoped)
		return s.inLine(t, nodes[0], products)
	})
	t.Logf("%d orders of mode ledger, all there; %d of mode fast, %d of them lost", len(sure), len(hoped), lost)
	require.EqualValues(t, 0, s.count(t, `SELECT count(*) FROM products WHERE sold > initial_stock`))
}

// inLine tells whether Redis and the ledger agree on what was sold of each product, and the sums add up.
func (s *stack) inLine(t *testing.T, n *node, products []string) bool {
	t.Helper()
	for _, product := range products {
		stock, found, err := n.Stock(t.Context(), product)
		if err != nil || !found {
			return false
		}
		require.Equal(t, stock.Initial, stock.Current+stock.Held+stock.Sold, product)
		sum := s.count(t, `SELECT coalesce(sum(quantity), 0) FROM orders WHERE status = 'confirmed' AND product_id = $1`, product)
		if sold := s.count(t, `SELECT sold FROM products WHERE id = $1`, product); sold != sum || sold != stock.Sold {
			return false
		}
	}
	return true
}

// productIn makes up a product that lives in a partition.
func productIn(n *node, partition int) string {
	for i := 0; ; i++ {
		if id := fmt.Sprint("product-", i); n.PartitionOf(id) == partition {
			return id
		}
	}
}

// Promise 8 on a cluster: a primary is killed, its replica takes over.
func TestAClusterFailsOver(t *testing.T) {
	t.Parallel()
	cluster := devtest.ReplicatedCluster(t, 3)
	nodes := cluster.Addresses()
	s := newStack(t, fmt.Sprintf("redis://%s?addr=%s", nodes[0], strings.Join(nodes[1:], "&addr=")))
	s.config.Partitions, s.config.Timeout = 3, 2*time.Second
	s.overtaken(t, func() error {
		_, err := cluster.KillOwner(t.Context(), "fs:{p00}:meta")
		return err
	})
}

// Promise 8 with Sentinel.
func TestSentinelsFailOver(t *testing.T) {
	t.Parallel()
	group := devtest.Sentinel(t)
	s := newStack(t, group.URL())
	s.config.Partitions, s.config.Timeout = 2, 2*time.Second
	s.overtaken(t, func() error {
		primary, err := group.Primary(t.Context())
		if err != nil {
			return err
		}
		return primary.Kill()
	})
}

// Promise 9: a primary that has lost its replicas stops selling within the time that it is set to, and goes on when they are
// back.
func TestACutOffPrimaryStopsSellingByItself(t *testing.T) {
	t.Parallel()
	group := devtest.Sentinel(t, "min-replicas-to-write 1", "min-replicas-max-lag 1")
	s := newStack(t, group.URL())
	s.config.Partitions = 1
	n := s.start(t)
	n.product(t, "lamp", 1000, onSale)
	replica, err := group.Replica(t.Context())
	require.NoError(t, err)
	require.NoError(t, replica.Pause())
	devtest.Eventually(t, 4*time.Second, "the primary to stop selling", func() bool {
		_, err := n.buyAs(engine.DurabilityFast, "lamp", fmt.Sprint(time.Now().UnixNano()), "")
		return errors.Is(err, engine.ErrUnavailable)
	})
	require.NoError(t, replica.Resume())
	eventually(t, "it to go on", func() bool {
		_, err := n.buyAs(engine.DurabilityLedger, "lamp", fmt.Sprint(time.Now().UnixNano()), "")
		return err == nil
	})
}
