package compare

import (
	"fmt"
	"strings"

	"flashsale/bench"
)

// Verdict says in one line how the engine did at one of the report's loads, beside each rival.
func (r *Report) Verdict(l *Load) string {
	return r.verdict(l, func(*Row) bool { return true })
}

// shortVerdict says it beside those rivals alone that the engine is least ahead of at any load: at all loads beside the same.
func (r *Report) shortVerdict(l *Load) string {
	closest := make(map[string]bool)
	for i := range r.Loads {
		if row := r.Loads[i].closest(); row != nil {
			closest[row.Name] = true
		}
	}
	return r.verdict(l, func(row *Row) bool { return closest[row.Name] })
}

// closest is the rival that the engine is least ahead of; nil = none sold anything.
func (l *Load) closest() (least *Row) {
	for i := range l.Rows {
		if row := &l.Rows[i]; row.compared() && (least == nil || row.EngineTimes < least.EngineTimes) {
			least = row
		}
	}
	return least
}

func (r *Report) verdict(l *Load, named func(*Row) bool) string {
	engine := l.Engine()
	switch {
	case !engine.SoldExactly:
		return "NOT PROVEN: the engine did not sell exactly, or the comparison did not come to its end"
	case r.Rate > 0:
		return r.verdictOnLatency(engine)
	}
	return l.verdictOnRate(named)
}

// verdictOnRate compares with the rivals that sold, and says by how much with those that are to be named.
func (l *Load) verdictOnRate(named func(*Row) bool) string {
	var times []string
	behind, sold, rivals := 0, 0, 0
	for i := range l.Rows {
		row := &l.Rows[i]
		if row.Role != RoleRival {
			continue
		}
		rivals++
		if !row.compared() {
			continue
		}
		sold++
		if named(row) {
			times = append(times, fmt.Sprintf("%s × %s", figure(row.EngineTimes), row.Name))
		}
		if row.EngineTimes <= 1 {
			behind++
		}
	}
	switch said := strings.Join(times, ", "); {
	case sold == 0:
		return "the engine sold exactly; there is no rival that sold anything to compare it with"
	case behind > 0:
		return fmt.Sprintf("the engine is behind %d of %d: %s", behind, sold, said)
	case sold < rivals:
		return fmt.Sprintf("the engine is ahead of the %d of %d that sold: %s", sold, rivals, said)
	default:
		return "the engine is ahead of all: " + said
	}
}

// compared is true of a rival that sold: beside it an engine with a ratio of 0 is behind, not without a ratio.
func (row *Row) compared() bool { return row.Role == RoleRival && row.AcceptedPerSecond > 0 }

// keptUp is the part of a rate that has to be accepted for latencies at that rate to mean anything.
const keptUp = 0.98

// verdictOnLatency compares with the floor: at a rate that is given nobody accepts more than that.
func (r *Report) verdictOnLatency(engine *Row) string {
	if engine.Dropped > 0 || engine.AcceptedPerSecond < keptUp*r.Rate {
		return fmt.Sprintf("the engine did not keep up with %.0f a second: %.0f accepted", r.Rate, engine.AcceptedPerSecond)
	}
	verdict := fmt.Sprintf("at %.0f a second the engine's p99 is %s × the floor's", r.Rate, figure(engine.P99TimesFloor))
	if float64(engine.LateP99Us) > bench.MaxLateShare*float64(engine.P99Us) {
		verdict += fmt.Sprintf("; but its orders were begun up to %s ms late (p99): too few connections, or too small a machine for both", bench.Milliseconds(engine.LateP99Us))
	}
	return verdict
}
