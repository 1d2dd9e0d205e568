package bench

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// missingRounds is how many times one after another an order must be missing before it counts as lost.
const missingRounds = 3

// ledgerResult is what became of the accepted orders after the sale.
type ledgerResult struct {
	durable  int64         // orders that the ledger has
	elapsed  time.Duration // from the first look to the last
	breaches []Breach
}

// ledgerWatch asks for orders until each has come to an end.
type ledgerWatch struct {
	*rush
	ids       []string
	standings []standing
	missing   []int // rounds one after another
	open      []int // indexes of orders that are not at an end
}

// awaitLedger waits, for at most LedgerWait, until every order is durable. All of them are asked for, by their ids.
func (r *rush) awaitLedger(ctx context.Context, ids []string) (ledgerResult, error) {
	w := &ledgerWatch{rush: r, ids: ids, standings: make([]standing, len(ids)), missing: make([]int, len(ids))}
	for i := range ids {
		w.open = append(w.open, i)
	}
	shown := showProgress(r.Out, "ledger", len(ids))
	begin := time.Now()
	w.watch(ctx, shown)
	elapsed := time.Since(begin)
	shown.stop()
	result := ledgerResult{durable: w.count(standingDurable), elapsed: elapsed}
	if err := ctx.Err(); err != nil {
		return result, fmt.Errorf("wait for the ledger: %w", err)
	}
	result.breaches = w.breaches()
	return result, nil
}

func (w *ledgerWatch) watch(ctx context.Context, shown *progress) {
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
		w.note(i, w.lookUp(w.conns[k], w.ids[i]))
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
	case standingUnread, standingSold:
	}
	return false
}

func (w *ledgerWatch) count(wanted standing) (n int64) {
	for _, s := range w.standings {
		if s == wanted {
			n++
		}
	}
	return n
}

func (w *ledgerWatch) breaches() []Breach {
	var r rules
	all := int64(len(w.ids))
	missing, other := w.count(standingMissing), w.count(standingOther)
	late := w.count(standingSold) + w.count(standingUnread)
	r.check(missing == 0, ruleFound, all, w.got(all-missing, standingMissing))
	r.check(other == 0, ruleKept, all, w.got(all-other, standingOther))
	r.check(late == 0, ruleDurable, fmt.Sprintf("%d within %s", all, w.LedgerWait),
		w.got(all-late, standingSold, standingUnread))
	return r.broken
}

// got says how many orders are right and names one that is not.
func (w *ledgerWatch) got(right int64, wrong ...standing) string {
	return fmt.Sprintf("%d, not %s", right, example(w.ids, w.standings, wrong))
}
