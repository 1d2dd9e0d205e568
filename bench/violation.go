package bench

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Breach is a rule that does not hold, with what it asks for and what was found.
type Breach struct {
	Rule string `json:"rule"`
	Want string `json:"want"`
	Got  string `json:"got"`
}

// String returns the breach in one line.
func (b Breach) String() string { return b.Rule + ": want " + b.Want + ", got " + b.Got }

// Violation is the error of a sale that was not correct.
type Violation struct {
	Broken []Breach // never empty
}

// Error lists every broken rule.
func (v *Violation) Error() string {
	lines := make([]string, len(v.Broken))
	for i, b := range v.Broken {
		lines[i] = b.String()
	}
	return "sale violated: " + strings.Join(lines, "; ")
}

// The rules, in the order in which they are checked.
const (
	ruleInitial   = "initialStock is what was put on sale"
	ruleSum       = "currentStock + heldStock + soldStock = initialStock"
	ruleNegative  = "no stock is below zero"
	ruleOversold  = "no more orders are accepted than there are units"
	ruleSold      = "soldStock = orders accepted"
	ruleCurrent   = "currentStock = units - orders accepted"
	ruleUndersold = "sold_out is said only when nothing is left"
	ruleRefusals  = "who comes once is refused for nothing but sold_out"
	ruleDistinct  = "every order has an id of its own"
	ruleFound     = "every accepted order can be looked up"
	ruleKept      = "every accepted order stays confirmed"
	ruleDurable   = "every accepted order reaches the ledger in time"
)

// span is a count known only within bounds; both are the same where it is known.
type span struct{ least, most int64 }

func (s span) has(n int64) bool { return s.least <= n && n <= s.most }

func (s span) String() string {
	if s.least == s.most {
		return strconv.FormatInt(s.least, 10)
	}
	return fmt.Sprintf("%d to %d", s.least, s.most)
}

// rules collects breaches.
type rules struct{ broken []Breach }

// check notes a breach unless the rule holds.
func (r *rules) check(holds bool, rule string, want, got any) {
	if !holds {
		r.broken = append(r.broken, Breach{Rule: rule, Want: fmt.Sprint(want), Got: fmt.Sprint(got)})
	}
}

// stockBreaches holds the stock against the orders that were accepted, one unit each, and the refusals by code.
func stockBreaches(s *Stock, units int64, accepted span, refused map[string]int64) []Breach {
	var r rules
	left := span{units - accepted.most, units - accepted.least}
	sum := s.Current + s.Held + s.Sold
	lowest := min(s.Initial, s.Current, s.Held, s.Sold)
	r.check(s.Initial == units, ruleInitial, units, s.Initial)
	r.check(sum == s.Initial, ruleSum, s.Initial, fmt.Sprintf("%d + %d + %d = %d", s.Current, s.Held, s.Sold, sum))
	r.check(lowest >= 0, ruleNegative, 0, lowest)
	r.check(accepted.least <= units, ruleOversold, fmt.Sprintf("at most %d", units), accepted.least)
	r.check(accepted.has(s.Sold), ruleSold, accepted, s.Sold)
	r.check(left.has(s.Current), ruleCurrent, left, s.Current)
	soldOut := refused[codeSoldOut]
	r.check(soldOut == 0 || s.Current <= 0, ruleUndersold,
		"0 left after a sold_out", fmt.Sprintf("%d left after %d sold_out", s.Current, soldOut))
	r.check(total(refused) == soldOut, ruleRefusals, fmt.Sprintf("sold_out %d", soldOut), reasonsText(refused))
	return r.broken
}

// distinctBreaches finds ids that two buyers got.
func distinctBreaches(ids []string) []Breach {
	var r rules
	sorted := slices.Sorted(slices.Values(ids))
	distinct := slices.Compact(slices.Clone(sorted))
	twice := ""
	for i := 1; i < len(sorted) && twice == ""; i++ {
		if sorted[i] == sorted[i-1] {
			twice = sorted[i]
		}
	}
	r.check(twice == "", ruleDistinct, fmt.Sprintf("%d ids", len(ids)),
		fmt.Sprintf("%d ids, twice such as %s", len(distinct), twice))
	return r.broken
}

// reasonsText lists what was counted, by name.
func reasonsText(reasons map[string]int64) string {
	parts := make([]string, 0, len(reasons))
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		parts = append(parts, fmt.Sprintf("%s %d", reason, reasons[reason]))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}
