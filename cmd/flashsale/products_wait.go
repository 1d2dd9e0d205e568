package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"flashsale/engine"
	"flashsale/internal/pause"
	"flashsale/persist"
)

// untakenPoll is how often the ledger is asked which products no server has taken yet.
const untakenPoll = 250 * time.Millisecond

// awaitTaken waits until servers have taken all products and says what is on sale. They are recorded by now, so it is no
// failure if none does in time.
func awaitTaken(ctx context.Context, pool *pgxpool.Pool, products []engine.NewProduct, limit time.Duration) error {
	if limit == 0 {
		say(os.Stdout, "They are on sale a moment after a server runs.\n")
		return nil
	}
	left := make([]string, len(products))
	for i := range products {
		left[i] = products[i].ID
	}
	show := takenShower(os.Stderr, len(products))
	deadline := time.Now().Add(limit)
	for len(left) > 0 && time.Now().Before(deadline) && pause.For(ctx, untakenPoll) {
		now, err := persist.Untaken(ctx, pool, left)
		switch {
		case err == nil:
			left = now
			show(len(products) - len(left))
		case ctx.Err() == nil: // else somebody has waited enough
			return fmt.Errorf("the products are recorded, but the ledger does not say which are taken: %w", err)
		}
	}
	say(os.Stdout, "%s\n", describeSale(products, left, time.Now()))
	return nil
}

// describeSale says what can be bought now and what can't, and why.
func describeSale(products []engine.NewProduct, untaken []string, now time.Time) string {
	waiting := make(map[string]bool, len(untaken))
	for _, id := range untaken {
		waiting[id] = true
	}
	counts := map[string]int{}
	for i := range products {
		counts[saleState(&products[i], waiting, now)]++
	}
	var parts []string
	for _, state := range []string{stateOnSale, stateInactive, stateNotStarted, stateEnded, stateUntaken} {
		if counts[state] > 0 || state == stateOnSale {
			parts = append(parts, fmt.Sprintf("%d %s", counts[state], state))
		}
	}
	return fmt.Sprintf("Of %s: %s.", countText(len(products), "product"), strings.Join(parts, "; "))
}

// What is said of products.
const (
	stateOnSale     = "are on sale"
	stateInactive   = "are switched off (flashSaleActive)"
	stateNotStarted = "wait for their startsAt"
	stateEnded      = "are past their endsAt"
	stateUntaken    = "are recorded, but no server has taken them: they are on sale when a server runs (flashsale serve)"
)

func saleState(p *engine.NewProduct, untaken map[string]bool, now time.Time) string {
	switch {
	case untaken[p.ID]:
		return stateUntaken
	case !p.Terms.Active:
		return stateInactive
	case now.Before(p.Terms.StartsAt):
		return stateNotStarted
	case !p.Terms.EndsAt.IsZero() && !now.Before(p.Terms.EndsAt):
		return stateEnded
	}
	return stateOnSale
}

// takenLine is how often a line is printed where there is no terminal to paint on.
const takenLine = time.Second

// takenShower returns what shows how many products are taken: a bar on a terminal, lines now and then elsewhere.
func takenShower(out *os.File, all int) func(taken int) {
	if term.IsTerminal(int(out.Fd())) {
		bar := progressbar.NewOptions(all,
			progressbar.OptionSetWriter(out), progressbar.OptionSetDescription("taken by a server"), progressbar.OptionShowCount(),
			progressbar.OptionOnCompletion(func() { say(out, "\n") }))
		return func(taken int) { _ = bar.Set(taken) } // as with say
	}
	return lines(out, all)
}

func lines(out io.Writer, all int) func(taken int) {
	var last time.Time
	return func(taken int) {
		if taken == all || time.Since(last) >= takenLine {
			last = time.Now()
			say(out, "taken by a server: %d of %d\n", taken, all)
		}
	}
}
