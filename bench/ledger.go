package bench

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// missingRounds is how many times one after another an order must be missing before it counts as lost.
const missingRounds = 3

// ledgerWatch asks for orders until each has come to an end.
type ledgerWatch struct {
	*sale
	orders    []order
	standings []standing
	missing   []int // rounds one after another
	open      []int // indexes of orders that are not at an end
	elapsed   time.Duration
}

// awaitLedger waits, for at most LedgerWait, until every one of these orders is durable. All of them are asked for.
func (s *sale) awaitLedger(ctx context.Context, orders []order) (*ledgerWatch, error) {
	w := &ledgerWatch{sale: s, orders: orders, standings: make([]standing, len(orders)), missing: make([]int, len(orders))}
	for i := range orders {
		w.open = append(w.open, i)
	}
	begin := time.Now()
	w.watch(ctx)
	w.elapsed = time.Since(begin)
	if err := ctx.Err(); err != nil {
		return w, fmt.Errorf("wait for the ledger: %w", err)
	}
	return w, nil
}

func (w *ledgerWatch) watch(ctx context.Context) {
	shown := showSteps(w.Out, "ledger", len(w.orders), nil)
	defer shown.stop()
	waiting, cancel := context.WithTimeout(ctx, w.LedgerWait)
	defer cancel()
	again := time.NewTicker(pollEvery)
	defer again.Stop()
	for {
		before := len(w.open)
		w.round(waiting)
		shown.add(before - len(w.open))
		if len(w.open) == 0 {
			return
		}
		select {
		case <-waiting.Done():
			return
		case <-again.C:
		}
	}
}

// round asks once for every order that is open and leaves those open that may still change.
func (w *ledgerWatch) round(ctx context.Context) {
	w.inTurn(ctx, len(w.open), func(k, task int) {
		i := w.open[task]
		st, _ := w.lookUp(w.provers[k], &w.orders[i])
		w.note(i, st)
	})
	w.open = slices.DeleteFunc(w.open, w.ended)
}

func (w *ledgerWatch) note(i int, s standing) {
	w.standings[i] = s
	if s == standingMissing {
		w.missing[i]++
	} else {
		w.missing[i] = 0
	}
}

func (w *ledgerWatch) ended(i int) bool {
	switch w.standings[i] {
	case standingDurable, standingOther:
		return true
	case standingMissing:
		return w.missing[i] >= missingRounds
	case standingUnread, standingEarly, standingSold:
	}
	return false
}

func (w *ledgerWatch) count(wanted ...standing) (n int64) {
	for _, s := range w.standings {
		if slices.Contains(wanted, s) {
			n++
		}
	}
	return n
}

// check says what was found, of so many orders that there are.
func (w *ledgerWatch) check(r *rules, placed int64) {
	all := int64(len(w.orders))
	r.scope("%s, looked up one by one", allOf(all, "order"))
	if placed > all {
		r.scope("%s of %s orders, chosen by chance and looked up one by one", grouped(all), grouped(placed))
	}
	missing, other := w.count(standingMissing), w.count(standingOther)
	late := w.count(standingSold, standingUnread, standingEarly)
	r.check(missing == 0, ruleFound, all, w.got(all-missing, standingMissing))
	r.check(other == 0, ruleKept, all, w.got(all-other, standingOther))
	r.check(late == 0, ruleDurable, fmt.Sprintf("%s within %s", grouped(all), w.LedgerWait),
		w.got(all-late, standingSold, standingUnread, standingEarly))
}

// got says how many orders are right and names one that is not.
func (w *ledgerWatch) got(right int64, wrong ...standing) string {
	return fmt.Sprintf("%s, not %s", grouped(right), example(w.orders, w.standings, wrong))
}
