package faults

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The states that a purchase may be in, in the ledger; absent is no row.
const (
	absent    = "absent"
	pending   = "pending"
	confirmed = "confirmed"
	cancelled = "cancelled"
	expired   = "expired"
)

// purchase is what one buyer did, and what of it the ledger may show. Every purchase has a buyer of its own.
type purchase struct {
	user     string
	product  string
	quantity int64
	hold     bool
	mode     string // durability asked for
	orderID  string

	now   states // without a loss, the ledger shows one of these once all is quiet
	past  states // what it may show besides where the last words were lost
	story []string
}

// states is a set.
type states map[string]bool

func setOf(names ...string) states {
	s := make(states, len(names))
	for _, name := range names {
		s[name] = true
	}
	return s
}

func (s states) String() string { return strings.Join(slices.Sorted(maps.Keys(s)), "|") }

func newPurchase(user, product string, quantity int64, hold bool, mode string) *purchase {
	return &purchase{
		user: user, product: product, quantity: quantity, hold: hold, mode: mode,
		now: setOf(absent), past: make(states),
	}
}

// body is the order as it is sent, with more members such as `,"holdSeconds":3`.
func (p *purchase) body(more string) string {
	return fmt.Sprintf(`{"productId":%q,"userId":%q,"quantity":%d,"durability":%q%s}`, p.product, p.user, p.quantity, p.mode, more)
}

// tell notes what was done and what came of it.
func (p *purchase) tell(what string, came outcome, status int, code string) {
	p.story = append(p.story, fmt.Sprintf("%s: %s (%d %s)", what, came, status, code))
}

// placed notes the outcome of the order, all its attempts together.
func (p *purchase) placed(came outcome) {
	state := confirmed
	if p.hold {
		state = pending
	}
	p.become(came, state, absent)
}

// become moves the purchase to a state from those of which that state can come.
func (p *purchase) become(came outcome, state string, from ...string) {
	switch came {
	case no:
	case yes:
		for s := range p.now {
			p.past[s] = true
		}
		p.now = setOf(state)
	case unknown:
		for _, f := range from {
			if p.now[f] {
				p.now[state] = true
			}
		}
	}
}

// settle lets holds run out: what may be pending is expired in the end.
func (p *purchase) settle() {
	for _, s := range []states{p.now, p.past} {
		if s[pending] {
			delete(s, pending)
			s[expired] = true
		}
	}
	if p.now[expired] { // a lost confirm or cancel leaves a hold that runs out
		p.past[expired] = true
	}
}

// verdict says what a state of the ledger means for a purchase.
type verdict int

const (
	right verdict = iota
	lost          // of what the mode did not promise to keep
	wrong
)

// judge holds a row's state against what may be there after the worst that happened.
func (p *purchase) judge(found string, worst loss) verdict {
	switch {
	case p.now[found]:
		return right
	case worst < loses[p.mode] || !p.past[found]:
		return wrong
	}
	return lost
}

// loss is how much of what Redis had is gone.
type loss int

const (
	none   loss = iota
	behind      // what the replica did not have yet
	all         // what the ledger did not have yet
	never
)

// loses says what it takes to lose what was answered in a mode: an order, or what became of it.
var loses = map[string]loss{modeFast: behind, modeReplicated: all, modeLedger: never}

func (p *purchase) String() string {
	return fmt.Sprintf("%s of %s (%s, order %q): may be %s; %s", p.user, p.product, p.mode, p.orderID, p.now,
		strings.Join(p.story, ", "))
}
