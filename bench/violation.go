package bench

import (
	"fmt"
	"maps"
	"slices"
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

// Claim is a rule that was checked, and on what.
type Claim struct {
	Rule    string `json:"rule"`
	Scope   string `json:"scope"` // what it was checked on: all of it, or how much
	Holds   bool   `json:"holds"`
	Skipped bool   `json:"skipped,omitempty"` // it was not checked: a rule before it was broken
}

// The rules, in the order in which they are checked.
const (
	ruleInitial   = "initialStock is what was put on sale"
	ruleSum       = "currentStock + heldStock + soldStock = initialStock"
	ruleNegative  = "no stock is below zero"
	ruleOversold  = "no more orders are confirmed than there are units"
	ruleSold      = "soldStock = orders confirmed"
	ruleHeld      = "no unit stays held"
	ruleCurrent   = "currentStock = units - orders confirmed"
	ruleUndersold = "sold_out is said only when nothing is left"
	ruleSumAlways = "the stock adds up whenever it is read"
	ruleRefusals  = "nobody is refused without a reason that the sale gives"
	ruleOnce      = "no buyer gets more than the limit"
	ruleKey       = "one key has one effect, and the same answer each time"
	ruleReplayed  = "a repeated answer says that it is one"
	ruleReads     = "the stock adds up for everyone who reads it"
	ruleReadable  = "an order that was accepted can be read at once"
	ruleDistinct  = "every order has an id of its own"
	ruleFound     = "every accepted order can be looked up"
	ruleKept      = "every accepted order ends as its buyer was told"
	ruleDurable   = "every accepted order reaches the ledger in time"
	ruleLists     = "buyers' lists have what they were told, and nothing else"
	ruleCounts    = "the ledger counts as many orders of each state as there are"
	ruleRows      = "every accepted order is one row of the ledger, as its buyer was told"
	ruleStray     = "the ledger has no order of this sale that nobody was told of"
	ruleRowsSold  = "the ledger's sold units are its confirmed rows, and Redis' too"
	ruleDead      = "no order of this sale is a dead letter"
)

// span is a count known only within bounds; both are the same where it is known.
type span struct{ least, most int64 }

func (s span) has(n int64) bool { return s.least <= n && n <= s.most }

func (s span) String() string {
	if s.least == s.most {
		return grouped(s.least)
	}
	return grouped(s.least) + " to " + grouped(s.most)
}

// rules collects what was checked.
type rules struct {
	claims []Claim
	broken []Breach
	on     string // scope of what is checked next
}

func (r *rules) scope(format string, values ...any) { r.on = fmt.Sprintf(format, values...) }

// check notes a rule, and a breach unless it holds. Checked again, it is the same claim, which holds if it always does;
// only the first breach is told.
func (r *rules) check(holds bool, rule string, want, got any) {
	at := slices.IndexFunc(r.claims, func(c Claim) bool { return c.Rule == rule })
	if at < 0 {
		at = len(r.claims)
		r.claims = append(r.claims, Claim{Rule: rule, Scope: r.on, Holds: true})
	}
	if holds {
		return
	}
	if r.claims[at].Holds {
		r.broken = append(r.broken, Breach{Rule: rule, Want: shown(want), Got: shown(got)})
	}
	r.claims[at].Holds = false
}

// shown writes one side of a rule for people.
func shown(side any) string {
	switch n := side.(type) {
	case int:
		return grouped(int64(n))
	case int64:
		return grouped(n)
	}
	return fmt.Sprint(side)
}

func (r *rules) add(other *rules) {
	r.claims = append(r.claims, other.claims...)
	r.broken = append(r.broken, other.broken...)
}

// checkStock holds the stock of one product against what its buyers were told.
func (r *rules) checkStock(name string, s *Stock, units int64, placed, sold span, soldOut int64) {
	where := func(text string) string {
		if name == "" {
			return text
		}
		return text + " (" + name + ")"
	}
	number := func(n int64) string { return where(grouped(n)) }
	left := span{units - sold.most, units - sold.least}
	sum := s.Current + s.Held + s.Sold
	lowest := min(s.Initial, s.Current, s.Held, s.Sold)
	r.check(s.Initial == units, ruleInitial, units, number(s.Initial))
	r.check(sum == s.Initial, ruleSum, s.Initial, where(fmt.Sprintf("%s = %s", s.parts(), grouped(sum))))
	r.check(lowest >= 0, ruleNegative, 0, number(lowest))
	r.check(sold.least <= units, ruleOversold, "at most "+grouped(units), number(sold.least))
	r.check(sold.has(s.Sold), ruleSold, sold, number(s.Sold))
	r.check(s.Held == 0, ruleHeld, 0, number(s.Held))
	r.check(left.has(s.Current), ruleCurrent, left, number(s.Current))
	r.check(soldOut == 0 || placed.most >= units, ruleUndersold,
		"0 left after a sold_out", where(fmt.Sprintf("%s left after %s sold_out", grouped(units-placed.most), grouped(soldOut))))
}

// reasonsText lists what was counted, by name.
func reasonsText(reasons map[string]int64) string {
	parts := make([]string, 0, len(reasons))
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		parts = append(parts, reason+" "+grouped(reasons[reason]))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}
