package faults

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"flashsale/internal/pause"
)

const (
	linearUnits   = 60
	linearWorkers = 6
	linearSteps   = 60 // of each worker that taught something
	linearTries   = 10 * linearSteps
	linearFault   = 300 * time.Millisecond
	// checkTimeout bounds the search for an order of events; a history of this size takes milliseconds.
	checkTimeout = 30 * time.Second
)

// deed is one thing that a client did to the product, and what it was told.
type deed struct {
	take int64 // units ordered; negative: given back by a cancel
	sees int64 // a look at the stock found so many
	look bool
}

// shelf is a product as one counter: what is left.
var shelf = porcupine.Model{
	Init: func() any { return int64(linearUnits) },
	Step: func(state, input, output any) (bool, any) {
		left, d, told := state.(int64), input.(deed), output.(outcome)
		switch {
		case d.look:
			return left == d.sees, left
		case told == no: // refused for stock
			return left < d.take, left
		default:
			return left >= d.take, left - d.take
		}
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v %s", input, output) },
}

// recorder keeps what clients did, in the order of one clock.
type recorder struct {
	began time.Time
	mu    sync.Mutex
	ops   []porcupine.Operation
	open  []openDeed
}

// openDeed is one whose outcome its client never knew; the ledger does, in the end.
type openDeed struct {
	op   porcupine.Operation
	user string
}

func (r *recorder) now() int64 { return int64(time.Since(r.began)) }

func (r *recorder) add(worker int, call int64, d deed, told outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, porcupine.Operation{ClientId: worker, Input: d, Call: call, Output: told, Return: r.now()})
}

func (r *recorder) leaveOpen(worker int, call int64, d deed, user string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	op := porcupine.Operation{ClientId: worker, Input: d, Call: call, Output: yes, Return: math.MaxInt64}
	r.open = append(r.open, openDeed{op, user})
}

// TestOneProductsHistoryIsLinear: whatever happens to replies and processes, there is one order of all orders, cancels and
// looks at the stock in which each was told the truth, and in which nothing happens before it was asked for or after it was
// answered.
func TestOneProductsHistoryIsLinear(t *testing.T) {
	t.Parallel()
	p := newPlan(t, none)
	s := newSite(t, 2)
	s.products = []string{"vase"}
	s.product("vase", linearUnits)
	r := &recorder{began: time.Now()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var all sync.WaitGroup
		for worker := range linearWorkers {
			all.Go(func() { r.shop(s, worker, rand.New(rand.NewPCG(p.seed, uint64(worker)))) })
		}
		all.Wait()
	}()
	disturb(s, p.seed, done)
	s.quiet()
	r.close(s)
	require.Greater(t, len(r.ops), linearWorkers*linearSteps/3, "a history worth checking")
	result, _ := porcupine.CheckOperationsVerbose(shelf, r.ops, checkTimeout)
	require.Equal(t, porcupine.Ok, result, "seed %d, %d events", p.seed, len(r.ops))
	t.Logf("seed %d: %d events, %d of them open", p.seed, len(r.ops), len(r.open))
}

// disturb robs processes of replies and freezes them until the clients are done.
func disturb(s *site, seed uint64, done <-chan struct{}) {
	rng := rand.New(rand.NewPCG(seed, math.MaxUint64))
	gentle := []func(*site, *rand.Rand) func(){
		poison(toRedis, `{"name":"drop","type":"timeout","stream":"downstream","attributes":{"timeout":100}}`),
		poison(toRedis, `{"name":"limit","type":"limit_data","stream":"downstream","attributes":{"bytes":3000}}`),
		freezeNode, freezeRedis, killRedis,
	}
	for {
		heal := gentle[rng.IntN(len(gentle))](s, rng)
		pause.For(s.t.Context(), between(rng, leastFault, linearFault))
		heal()
		select {
		case <-done:
			return
		case <-time.After(between(rng, leastFault, linearFault)):
		}
	}
}

// shop has one client order, look, and give some back.
func (r *recorder) shop(s *site, worker int, rng *rand.Rand) {
	for step, told := 0, 0; told < linearSteps && step < linearTries; step++ {
		before := r.events()
		n := s.nodes[rng.IntN(len(s.nodes))]
		if rng.IntN(4) == 0 {
			r.look(worker, n)
		} else {
			user, units := fmt.Sprintf("client-%d-%d", worker, step), 1+rng.Int64N(3)
			if id := r.order(worker, n, user, units); id != "" && rng.IntN(2) == 0 {
				r.giveBack(worker, n, user, id, units)
			}
		}
		if r.events() > before {
			told++
		} else { // shut, or away: nothing to be learnt now
			pause.For(s.t.Context(), mostPatience)
		}
	}
}

// events is how many there are so far, of all clients.
func (r *recorder) events() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ops) + len(r.open)
}

func (r *recorder) look(worker int, n *node) {
	call := r.now()
	if status, a := n.get("/inventory/vase"); status == http.StatusOK {
		r.add(worker, call, deed{look: true, sees: a.number("currentStock")}, yes)
	}
}

// order places one with a key, which the sold-out gate lets pass: refusals are Redis' own then.
func (r *recorder) order(worker int, n *node, user string, units int64) (id string) {
	d, call := deed{take: units}, r.now()
	status, a := n.post("/orders", fmt.Sprintf(`{"productId":"vase","userId":%q,"quantity":%d}`, user, units), "key-of-"+user)
	switch {
	case outcomeOf(status) == yes:
		r.add(worker, call, d, yes)
		return a.text("orderId")
	case outcomeOf(status) == unknown:
		r.leaveOpen(worker, call, d, user)
	case a.text("code") == "sold_out":
		r.add(worker, call, d, no)
	}
	return "" // any other refusal changed nothing and says nothing about the stock
}

func (r *recorder) giveBack(worker int, n *node, user, id string, units int64) {
	d, call := deed{take: -units}, r.now()
	switch status, _ := n.post("/orders/"+id+"/cancel", "{}", ""); outcomeOf(status) {
	case yes:
		r.add(worker, call, d, yes)
	case unknown:
		r.leaveOpen(worker, call, d, user)
	case no:
	}
}

// close asks the ledger what became of what clients never knew: it happened some time, or never.
func (r *recorder) close(s *site) {
	rows := s.rows()
	for _, o := range r.open {
		found := rows[o.user]
		switch d := o.op.Input.(deed); {
		case len(found) == 0:
		case d.take > 0, found[0].status == cancelled:
			r.ops = append(r.ops, o.op)
		}
	}
}

// TestTheModelOfAShelfRefusesLies: a check that lets everything pass would prove nothing.
func TestTheModelOfAShelfRefusesLies(t *testing.T) {
	at := func(call, end int64, d deed, told outcome) porcupine.Operation {
		return porcupine.Operation{Input: d, Call: call, Output: told, Return: end}
	}
	all := deed{take: linearUnits}
	lies := map[string][]porcupine.Operation{
		"sold twice":                 {at(0, 1, all, yes), at(2, 3, deed{take: 1}, yes)},
		"refused though it was left": {at(0, 1, deed{take: 1}, no)},
		"a look into the past":       {at(0, 1, all, yes), at(2, 3, deed{look: true, sees: linearUnits}, yes)},
		"given back before it was sold": {
			at(0, 1, all, yes), at(2, 3, deed{take: 1}, yes), at(4, 5, deed{take: -linearUnits}, yes),
		},
	}
	for name, history := range lies {
		require.Equal(t, porcupine.Illegal, porcupine.CheckOperationsTimeout(shelf, history, checkTimeout), name)
	}
}
