package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/valyala/fasthttp"
)

// orderCounts are the orders that the ledger has, by state.
type orderCounts map[string]int64

// errEarlierOrders is why a sale is not begun: what the ledger takes meanwhile would be counted as this sale's.
var errEarlierOrders = errors.New("the ledger is still taking orders that were placed before: wait until it has them, or say --shared")

// countsAtRest returns the counts once the ledger has what was placed before, for which it waits for at most LedgerWait; nil
// where they would say nothing.
func (s *sale) countsAtRest(ctx context.Context) (orderCounts, error) {
	if s.Shared {
		return nil, nil //nolint:nilnil // there is nothing to compare with
	}
	waiting, cancel := context.WithTimeout(ctx, s.LedgerWait)
	defer cancel()
	again := time.NewTicker(pollEvery)
	defer again.Stop()
	for atRest := false; ; {
		counts, underWay, err := s.orderCounts()
		if err != nil || underWay == 0 && atRest {
			return counts, err
		}
		if atRest = underWay == 0; atRest {
			continue // what was on its way may have been counted before it came: once more
		}
		select {
		case <-waiting.Done():
			return nil, firstError(ctx.Err(), errEarlierOrders)
		case <-again.C:
		}
	}
}

var errNoCounts = errors.New("GET /orders/admin/metrics: status 200, but no counts in the answer")

// orderCounts asks for them; underWay are the changes of orders that the ledger does not have yet.
func (s *sale) orderCounts() (counts orderCounts, underWay int64, err error) {
	answer, err := s.provers[0].getAs("/orders/admin/metrics", s.AdminToken)
	if err == nil {
		err = expect(answer, fasthttp.StatusOK, "GET /orders/admin/metrics")
	}
	if err == nil && answer.doc.GetObject() == nil {
		err = errNoCounts
	}
	if err != nil {
		return nil, 0, fmt.Errorf("count orders: %w", err)
	}
	counts = orderCounts{}
	for _, state := range []string{statusPending, statusConfirmed, statusCancelled, statusExpired, "failed"} {
		counts[state] = answer.doc.GetInt64(state + "Orders")
	}
	return counts, answer.doc.GetInt64("queueStats", "waiting") + answer.doc.GetInt64("queueStats", "active"), nil
}

// awaitCounts waits, for at most LedgerWait, until the ledger has as many orders more of each state as there must be.
func (s *sale) awaitCounts(ctx context.Context, before orderCounts, settled *settlement, r *rules) error {
	if before == nil {
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, s.LedgerWait)
	defer cancel()
	again := time.NewTicker(pollEvery)
	defer again.Stop()
	want := s.wantedCounts(settled)
	var shown *progress
	defer func() { shown.stop() }()
	for {
		now, _, err := s.orderCounts()
		broken := brokenCounts(before, now, want)
		if err == nil && broken == "" || waiting.Err() != nil {
			r.scope("%s", allOf(want.total, "order"))
			r.check(broken == "", ruleCounts, want, broken+others(before, now, want))
			return firstError(ctx.Err(), err)
		}
		if shown == nil {
			shown = showSteps(s.Out, "counts of the ledger", int(want.total), nil)
		}
		shown.done.Store(min(came(before, now), want.total))
		select {
		case <-waiting.Done():
		case <-again.C:
		}
	}
}

// came is how many orders came on top.
func came(before, now orderCounts) (n int64) {
	for state := range now {
		n += now[state] - before[state]
	}
	return n
}

// others is a hint where more was sold than this sale can have.
func others(before, now orderCounts, want wantedCounts) string {
	if now[statusConfirmed]-before[statusConfirmed] > want.least[statusConfirmed]+want.slack {
		return " (does someone else order? --shared)"
	}
	return ""
}

// wantedCounts is what must have come on top.
type wantedCounts struct {
	least map[string]int64
	slack int64 // orders that may be of any state, or not be
	total int64
}

// String lists it.
func (w wantedCounts) String() string {
	if w.slack > 0 {
		return fmt.Sprintf("%s, and up to %s more", reasonsText(w.least), grouped(w.slack))
	}
	return reasonsText(w.least)
}

func (s *sale) wantedCounts(settled *settlement) wantedCounts {
	w := wantedCounts{least: maps.Clone(s.book.ends), slack: settled.unresolved + settled.undecided}
	delete(w.least, "") // settled.ends has those that are known by now
	for state, n := range settled.ends {
		w.least[state] += n
	}
	for _, n := range w.least {
		w.total += n
	}
	return w
}

// brokenCounts lists what came on top, where that is not what must have; else "".
func brokenCounts(before, now orderCounts, want wantedCounts) string {
	came, surplus, short := map[string]int64{}, int64(0), false
	for _, state := range slices.Sorted(maps.Keys(now)) {
		if n := now[state] - before[state]; n != 0 {
			came[state] = n
		}
		extra := now[state] - before[state] - want.least[state]
		surplus += extra
		short = short || extra < 0
	}
	if short || surplus > want.slack || now == nil {
		return reasonsText(came)
	}
	return ""
}
