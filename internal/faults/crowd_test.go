package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"flashsale/internal/pause"
)

// The durability modes of orders.
const (
	modeFast       = "fast"
	modeReplicated = "replicated"
	modeLedger     = "ledger"
)

var modes = [...]string{modeFast, modeReplicated, modeLedger}

const (
	workers = 8
	// maxAttempts bounds how often a buyer repeats an order whose outcome is not known; the key makes that safe.
	maxAttempts = 4
	// mostPatience is for how long a refused buyer keeps away, at the most.
	mostPatience = 20 * time.Millisecond
	// maxHoldSeconds keeps the wait for the last hold to run out short.
	maxHoldSeconds = 3
)

// crowd are buyers who order, hold, confirm and cancel without a pause, each at whichever process chance sends them to.
type crowd struct {
	site *site

	mu        sync.Mutex
	purchases []*purchase
	accepted  atomic.Int64 // orders answered with yes
	next      atomic.Int64
}

// run keeps buyers coming until ctx ends.
func (c *crowd) run(ctx context.Context, seed uint64) {
	var all sync.WaitGroup
	for worker := range workers {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(worker)))
			for ctx.Err() == nil {
				c.buy(ctx, rng)
			}
		})
	}
	all.Wait()
}

// buy has one buyer come: place an order, and with a hold decide on it a little later.
func (c *crowd) buy(ctx context.Context, rng *rand.Rand) {
	p := newPurchase(fmt.Sprintf("buyer-%d", c.next.Add(1)), c.site.products[rng.IntN(len(c.site.products))],
		1+rng.Int64N(3), rng.IntN(2) == 0, modes[rng.IntN(len(modes))])
	c.come(p)
	if came := c.place(ctx, rng, p); came == no || p.orderID == "" {
		pause.For(ctx, between(rng, 0, mostPatience))
		return
	}
	switch rng.IntN(4) {
	case 0:
		c.settle(rng, p, "cancel", cancelled, pending, confirmed)
	case 1, 2:
		if p.hold {
			c.settle(rng, p, "confirm", confirmed, pending, expired)
		}
	}
}

// come counts a purchase among those that will be judged.
func (c *crowd) come(p *purchase) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.purchases = append(c.purchases, p)
}

func (c *crowd) anyNode(rng *rand.Rand) *node { return c.site.nodes[rng.IntN(len(c.site.nodes))] }

// place repeats the order until its outcome is known or patience runs out. A no after an attempt that may have happened is
// no certainty.
func (c *crowd) place(ctx context.Context, rng *rand.Rand, p *purchase) outcome {
	hold := ""
	if p.hold {
		hold = fmt.Sprintf(`,"holdSeconds":%d`, 1+rng.IntN(maxHoldSeconds))
	}
	body := p.body(hold)
	came := no
	for range maxAttempts {
		status, a := c.anyNode(rng).post("/orders", body, "key-of-"+p.user)
		this := outcomeOf(status)
		p.tell("order", this, status, a.text("code"))
		if this == no && came == unknown {
			continue // overloaded or shut this time
		}
		came = this
		if id := a.text("orderId"); id != "" {
			p.orderID = id
		}
		if came != unknown || ctx.Err() != nil {
			break
		}
	}
	if came == yes {
		c.accepted.Add(1)
	}
	p.placed(came)
	return came
}

// settle asks once for a transition; what can't be known stays so.
func (c *crowd) settle(rng *rand.Rand, p *purchase, action, becomes string, from ...string) {
	status, a := c.anyNode(rng).post("/orders/"+p.orderID+"/"+action, fmt.Sprintf(`{"durability":%q}`, p.mode), "")
	came := outcomeOf(status)
	p.tell(action, came, status, a.text("code"))
	p.become(came, becomes, from...)
}

// acceptedWithin waits until one more order is accepted and tells how long that took.
func (c *crowd) acceptedWithin(patience time.Duration) (took time.Duration, ok bool) {
	began, before := time.Now(), c.accepted.Load()
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	for time.Since(began) < patience {
		<-ticker.C
		if c.accepted.Load() > before {
			return time.Since(began), true
		}
	}
	return time.Since(began), false
}

const probeInterval = 5 * time.Millisecond

// product puts a product on sale.
func (s *site) product(id string, units int64) {
	body := fmt.Sprintf(`{"id":%q,"name":%q,"price":1,"initialStock":%d}`, id, id, units)
	status, a := s.nodes[0].post("/inventory", body, "")
	if status != http.StatusCreated {
		s.t.Fatalf("product %s: %d %v", id, status, a)
	}
}
