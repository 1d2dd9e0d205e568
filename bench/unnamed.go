package bench

import (
	"context"
	"slices"
)

// askForNames asks buyers for their lists where an order of theirs has no outcome and no id. What is in a list and nobody was
// told of is that order, which is looked up from then on; where the whole list has no such order, it was not placed.
func (s *sale) askForNames(ctx context.Context, settled *settlement) {
	if len(s.book.unnamed) == 0 {
		return
	}
	waiting := s.unnamedByBuyer()
	isKnown := s.knownOrders()
	lists, failures := make([]buyerList, len(waiting)), make([]error, len(waiting))
	for i := range failures {
		failures[i] = errNoList // where ctx ends before it is asked for
	}
	s.inTurn(ctx, len(waiting), func(k, i int) {
		lists[i], failures[i] = s.listOf(s.provers[k], s.book.user(waiting[i][0].buyer), "")
	})
	s.book.unnamed = nil
	for i, doubts := range waiting {
		isWhole := failures[i] == nil && !lists[i].more && !lists[i].late && (s.book.unkept() == 0 || s.comeOnce())
		s.name(doubts, slices.DeleteFunc(lists[i].orders, func(o listed) bool { return !isWhole || isKnown(o.id) }))
		if !isWhole {
			settled.leaveOpen(doubts)
			settled.untold = s.book.user(doubts[0].buyer)
		}
	}
}

// unnamedByBuyer gathers what is to be asked for.
func (s *sale) unnamedByBuyer() (all [][]order) {
	at := map[int64]int{}
	for _, o := range s.book.unnamed {
		i, asked := at[o.buyer]
		if !asked {
			i = len(all)
			at[o.buyer] = i
			all = append(all, nil)
		}
		all[i] = append(all[i], o)
	}
	return all
}

// knownOrders tells orders that buyers were told of, or that are looked up anyway. It holds until orders are named.
func (s *sale) knownOrders() func(id string) bool {
	b := s.book
	slices.Sort(b.ids)
	looked := map[string]bool{}
	for i := range b.unsure {
		looked[b.unsure[i].id] = true
	}
	return func(id string) bool {
		_, told := slices.BinarySearch(b.ids, b.fingerprint([]byte(id)))
		return told || looked[id]
	}
}

// name gives a buyer's doubts the ids of orders that nobody was told of. Who is left without one is asked for again if there is
// another look: the order may still be on its way.
func (s *sale) name(doubts []order, fresh []listed) {
	for _, o := range doubts {
		at := slices.IndexFunc(fresh, func(l listed) bool { return l.product == s.products[o.product] })
		if at < 0 {
			s.book.unnamed = append(s.book.unnamed, o)
			continue
		}
		o.id = fresh[at].id
		fresh = slices.Delete(fresh, at, at+1)
		s.book.unsure = append(s.book.unsure, o)
	}
}

// leaveOpen widens what is known by orders of which nothing is.
func (t *settlement) leaveOpen(doubts []order) {
	for _, o := range doubts {
		t.unresolved++
		t.placed[o.product].most++
		t.sold[o.product].most++
	}
}
