package main

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tally counts answers by status and code, and keeps the ids of accepted orders.
type tally struct {
	mu      sync.Mutex
	answers map[string]int
	ids     map[string]int
}

func newTally() *tally { return &tally{answers: make(map[string]int), ids: make(map[string]int)} }

func (c *tally) add(status int, a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := fmt.Sprint(status)
	if code, ok := a["code"].(string); ok {
		key += " " + code
	}
	c.answers[key]++
	if id, ok := a["orderId"].(string); ok && status == http.StatusCreated {
		c.ids[id]++
	}
}

func (c *tally) accepted() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answers["201"]
}

func TestFiveHundredBuyersForAHundredUnits(t *testing.T) {
	for _, processes := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d processes", processes), func(t *testing.T) {
			s := newStores(t)
			var shop []*process
			for range processes {
				shop = append(shop, start(t, nil, s.env()...))
			}
			shop[0].product("console", 100)
			got := newTally()
			var crowd sync.WaitGroup
			for i := range 500 {
				crowd.Go(func() { got.add(shop[i%processes].order("console", fmt.Sprint("buyer-", i))) })
			}
			crowd.Wait()
			require.Equal(t, map[string]int{"201": 100, "409 sold_out": 400}, got.answers)
			require.Len(t, got.ids, 100, "order ids are distinct")

			for _, p := range shop {
				_, product := p.get("/inventory/console")
				require.EqualValues(t, 0, product["currentStock"])
				require.EqualValues(t, 100, product["soldStock"])
			}
			eventually(t, "100 rows", func() bool { return s.count(t, `SELECT count(*) FROM orders`) >= 100 })
			require.EqualValues(t, 100, s.count(t, `SELECT count(*) FROM orders WHERE status = 'confirmed'`))
			require.EqualValues(t, 100, s.count(t, `SELECT sum(quantity) FROM orders`))
			require.EqualValues(t, 100, s.count(t, `SELECT sold FROM products`))
		})
	}
}

// TestAServerKilledInTheMiddleOfTheDrain holds the product's row, so that the drainer stands in the middle of its
// transaction when it is killed.
func TestAServerKilledInTheMiddleOfTheDrain(t *testing.T) {
	s := newStores(t)
	first := start(t, nil, s.env()...)
	first.product("console", 10_000)
	for i := range 50 {
		status, _ := first.order("console", fmt.Sprint("early-", i))
		require.Equal(t, http.StatusCreated, status)
	}
	eventually(t, "the drain to be under way", func() bool { return s.count(t, `SELECT count(*) FROM orders`) == 50 })

	block, err := s.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = block.Exec(t.Context(), `SELECT 1 FROM products FOR UPDATE`)
	require.NoError(t, err)
	got := newTally()
	var crowd sync.WaitGroup
	for worker := range 16 {
		crowd.Go(func() {
			for i := 0; ; i++ {
				status, a := first.order("console", fmt.Sprintf("buyer-%d-%d", worker, i))
				if status == 0 {
					return // killed
				}
				got.add(status, a)
			}
		})
	}
	eventually(t, "the drainer to wait for the row, with a backlog behind it", func() bool {
		const waiting = `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`
		return got.accepted() > 500 && s.count(t, waiting) > 0
	})
	first.kill()
	crowd.Wait()
	require.NoError(t, block.Rollback(t.Context()))

	second := start(t, nil, s.env()...)
	_, product := second.get("/inventory/console")
	sold, ok := product["soldStock"].(float64)
	require.True(t, ok, "%v", product)
	require.GreaterOrEqual(t, int(sold), 50+got.accepted(), "Redis has every order that was answered")
	eventually(t, "the ledger to catch up", func() bool { return s.count(t, `SELECT count(*) FROM orders`) >= int64(sold) })
	require.EqualValues(t, sold, s.count(t, `SELECT count(*) FROM orders WHERE status = 'confirmed'`), "nothing twice")
	require.EqualValues(t, sold, s.count(t, `SELECT sold FROM products`))
	for id := range got.ids {
		require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM orders WHERE id = $1`, id), "order %s", id)
	}
	require.EqualValues(t, 0, s.count(t, `SELECT count(*) FROM dead_letters`))
}

// closedInput runs the program that follows with its standard input closed, as some supervisors do.
var closedInput = []string{"/bin/sh", "-c", `exec "$@" <&-`, "sh"}

func TestAnInterruptedServerAnswersAndDrains(t *testing.T) {
	for name, c := range map[string]struct {
		signal os.Signal
		caller []string
	}{
		"SIGINT":                         {syscall.SIGINT, nil},
		"SIGTERM":                        {syscall.SIGTERM, nil},
		"SIGTERM, standard input closed": {syscall.SIGTERM, closedInput},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStores(t)
			p := startAs(t, append(slices.Clone(c.caller), binary), nil, s.env()...)
			p.product("console", 100_000)
			got, crowd := newTally(), sync.WaitGroup{}
			for worker := range 16 {
				crowd.Go(func() {
					for i := 0; ; i++ {
						status, a := p.order("console", fmt.Sprintf("buyer-%d-%d", worker, i))
						if status == 0 {
							return // the door is shut
						}
						got.add(status, a)
					}
				})
			}
			eventually(t, "sales to be under way", func() bool { return got.accepted() > 500 })
			took := p.end(c.signal)
			crowd.Wait()
			require.Less(t, took, 5*time.Second)
			require.Equal(t, map[string]int{"201": got.accepted()}, got.answers, "everything in flight was answered")
			require.EqualValues(t, got.accepted(), s.count(t, `SELECT count(*) FROM orders`), "the log is drained when the process ends")
		})
	}
}

// TestAnInterruptedServerDrainsItsBacklog holds the product's row, so that orders wait in the log when the server is told to
// stop.
func TestAnInterruptedServerDrainsItsBacklog(t *testing.T) {
	s := newStores(t)
	p := start(t, nil, s.env()...)
	p.product("console", 1000)
	block, err := s.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = block.Exec(t.Context(), `SELECT 1 FROM products FOR UPDATE`)
	require.NoError(t, err)
	for i := range 100 {
		status, a := p.order("console", fmt.Sprint("buyer-", i))
		require.Equal(t, http.StatusCreated, status, "%v", a)
	}
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGINT))
	eventually(t, "the door to shut", func() bool { return strings.Contains(p.output.String(), "draining the log") })
	require.NoError(t, block.Rollback(t.Context()))
	<-p.ended
	require.True(t, p.cmd.ProcessState.Success(), "ended with %s", p.cmd.ProcessState)
	require.EqualValues(t, 100, s.count(t, `SELECT count(*) FROM orders`))
}
