package bench

import (
	"context"
	"fmt"
	"slices"

	"flashsale/bench/load"
)

// prove checks everything that must hold after a sale and notes it in the report.
func (s *sale) prove(ctx context.Context, result *load.Result, before orderCounts, all *rules, report *Report) error {
	settled, err := s.settle(ctx)
	if err != nil {
		return err
	}
	report.settle(&settled)
	all.add(&settled.rules)
	s.checkAnswers(result, all)
	owned := s.owned(&settled)
	if s.book.placed == 0 && len(settled.found) == 0 && len(all.broken) == 0 {
		return fmt.Errorf("%w: %s", ErrNoSale, report.reasons())
	}
	err = s.proveLedger(ctx, before, &settled, owned, all, report)
	report.Claims, report.Violations = all.claims, append(report.Violations, all.broken...)
	if err != nil {
		return err
	}
	if len(report.Violations) > 0 {
		return &Violation{Broken: report.Violations}
	}
	if untold := report.untold(); untold > 0 {
		report.Checked = true
		return fmt.Errorf("%w %s%s", ErrUntold, ordersText(untold), settled.whose())
	}
	report.Checked, report.Proven = true, true
	return nil
}

// owned are the orders that are looked up one by one: a sample, and all whose outcome was not known.
func (s *sale) owned(settled *settlement) []order {
	owned := slices.Concat(settled.found, s.book.sample)
	sampled := make(map[string]bool, len(s.book.sample))
	for i := range s.book.sample {
		sampled[s.book.sample[i].id] = true
	}
	for i := range s.book.unsure {
		if o := s.book.unsure[i]; o.placed && !sampled[o.id] {
			owned = append(owned, o)
		}
	}
	return owned
}

// proveLedger checks what was sold against what the ledger has.
func (s *sale) proveLedger(
	ctx context.Context, before orderCounts, settled *settlement, owned []order, all *rules, report *Report,
) error {
	ledger, err := s.awaitLedger(ctx, owned)
	report.LookedUp = int64(len(owned))
	report.Durable, report.LedgerSeconds = ledger.count(standingDurable), ledger.elapsed.Seconds()
	if err != nil {
		return err
	}
	ledger.check(all, s.book.placed+int64(len(settled.found)))
	if len(all.broken) > 0 {
		all.skip(before != nil, ruleCounts)
		all.skip(true, ruleLists)
		s.skipRows(all)
		return nil // waiting for figures that can't come right would only take long
	}
	if err := s.awaitCounts(ctx, before, settled, all); err != nil {
		return err
	}
	if err := s.checkLists(ctx, owned, all); err != nil {
		return err
	}
	if len(all.broken) > 0 {
		s.skipRows(all)
		return nil
	}
	if s.DatabaseURL == "" {
		return nil
	}
	err = s.checkRows(ctx, settled, all)
	report.RowsRead, report.RowsUnread = err == nil, s.book.unkept()
	return err
}

// skip notes rules that would have been checked, had none before them been broken.
func (r *rules) skip(wanted bool, names ...string) {
	for _, rule := range names {
		if wanted {
			r.claims = append(r.claims, Claim{Rule: rule, Scope: "not checked, as a rule before was broken", Skipped: true})
		}
	}
}

func (s *sale) skipRows(r *rules) {
	r.skip(s.DatabaseURL != "", ruleRows, ruleStray, ruleRowsSold, ruleDead)
}

// checkAnswers holds answers against each other.
func (s *sale) checkAnswers(result *load.Result, r *rules) {
	refused, allowed := map[string]int64{}, map[string]int64{}
	for i := range result.Ops {
		counts := result.Ops[i].Everything()
		for why, n := range counts.Refused {
			refused[why] += n
			if slices.Contains(s.refusals(i), why) {
				allowed[why] += n
			}
		}
	}
	r.scope("%s", allOf(load.Total(refused), "refusal"))
	r.check(load.Total(refused) == load.Total(allowed), ruleRefusals, reasonsText(allowed), reasonsText(refused))
	for _, rule := range s.scenario.answerRules {
		r.scope("all answers")
		n := s.book.errors[rule]
		r.check(n == 0, rule, "always", grouped(n)+" otherwise")
	}
	s.checkDistinct(r)
}

// refusals returns the codes that an operation may be refused with.
func (s *sale) refusals(op int) []string {
	if s.scenario.holds && op != opHold {
		return []string{"hold_expired", "invalid_state", codeSoldOut}
	}
	return s.scenario.mayRefuse(&s.Options)
}

// checkDistinct finds ids that two orders got.
func (s *sale) checkDistinct(r *rules) {
	r.scope("%s", allOf(s.book.placed, "order"))
	if int64(len(s.book.ids)) < s.book.placed {
		r.scope("the first %s of %s orders", grouped(int64(len(s.book.ids))), grouped(s.book.placed))
	}
	slices.Sort(s.book.ids)
	distinct := len(slices.Compact(slices.Clone(s.book.ids)))
	r.check(distinct == len(s.book.ids), ruleDistinct, grouped(int64(len(s.book.ids)))+" ids",
		grouped(int64(distinct))+" ids"+s.twice())
}

// twice names an id that two orders got, where it is among those that were kept.
func (s *sale) twice() string {
	seen := map[string]bool{}
	for i := range s.book.sample {
		id := s.book.sample[i].id
		if seen[id] {
			return ", twice such as " + id
		}
		seen[id] = true
	}
	return ""
}
