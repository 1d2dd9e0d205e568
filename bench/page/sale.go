package page

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"flashsale/bench"
	"flashsale/bench/load"
)

// Sale shows one sale.
func Sale(r *bench.Report) Section {
	s := Section{
		ID: "sale-" + r.Scenario, Title: r.Scenario, Lead: r.About, OK: r.Proven, Verdict: r.Verdict(),
		Tiles: saleTiles(r), Proof: proofOf(r.Claims), Facts: saleFacts(r),
	}
	for _, b := range r.Violations {
		s.Wrong = append(s.Wrong, b.String())
	}
	for _, line := range r.Explained() {
		if !strings.Contains(s.Verdict, line) {
			s.Notes = append(s.Notes, line)
		}
	}
	if late := r.Overrun(); late != "" {
		s.Notes = append(s.Notes, "the schedule was not kept: "+late)
	}
	for i := range r.Ops {
		s.Shares = append(s.Shares, shareOf(&r.Ops[i]))
	}
	if len(r.Slots) > 0 {
		s.Charts = []Chart{throughput(r)}
	}
	if len(curves(r)) > 0 {
		s.Charts = append(s.Charts, latency(r))
	}
	if len(r.Timeline) > 1 {
		s.Charts = append(s.Charts, stockLeft(r), ledgerLag(r))
	}
	if t := latencies(r); len(t.Rows) > 0 {
		s.Tables = []Table{t}
	}
	return s
}

func saleTiles(r *bench.Report) []Tile {
	tiles := []Tile{
		{Name: "accepted orders", Value: count(int64(r.AcceptedPerSecond + 0.5)), Unit: "/s", Note: count(r.Accepted) + " in " + trim(r.Seconds) + " s"},
		{Name: "all requests", Value: count(int64(r.RequestsPerSecond + 0.5)), Unit: "/s", Note: "refused ones too"},
		latencyTile("p50", r, r.Latency.P50Us), latencyTile("p99", r, r.Latency.P99Us), latencyTile("p99.99", r, r.Latency.P9999Us),
		{Name: "ledger behind", Value: "–", Note: "not known"},
	}
	if r.LagKnown() {
		tiles[len(tiles)-1] = Tile{
			Name: "ledger behind", Value: trim(r.LagAtEnd.LagSeconds), Unit: "s", Note: count(r.LagAtEnd.LagOrders) + " orders at the end",
		}
	}
	return tiles
}

// latencyTile shows a percentile; without an answer there is none.
func latencyTile(name string, r *bench.Report, us int64) Tile {
	if r.Accepted+load.Total(r.Refused) == 0 {
		return Tile{Name: name, Value: "–", Note: "no order was answered"}
	}
	value, unit := duration(us)
	note := "orders"
	if load.Total(r.Refused) > 0 {
		note = "refused orders too"
	}
	return Tile{Name: name, Value: value, Unit: unit, Note: note}
}

// duration writes µs in the unit that fits.
func duration(us int64) (value, unit string) {
	switch {
	case us >= 1_000_000:
		return trim(float64(us) / 1e6), "s"
	case us >= 1000:
		return trim(float64(us) / 1e3), "ms"
	}
	return fmt.Sprint(us), "µs"
}

// count writes a whole number with its thousands apart.
func count(n int64) string {
	digits := fmt.Sprint(n)
	for at := len(digits) - 3; at > 0 && digits[at-1] != '-'; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

func saleFacts(r *bench.Report) []Fact {
	s := &r.Settings
	facts := []Fact{
		{"Target", r.Target},
		{"Loop", "closed: each connection sends when it has its answer"},
		{"Connections", fmt.Sprint(s.Connections)},
		{"Buyers", orWords(s.Buyers, "each visit another")},
		{"Products", fmt.Sprintf("%s × %s units", count(int64(s.Products)), count(s.Units))},
		{"Measured", trim(r.Seconds) + " s after " + trim(r.WarmupSeconds) + " s of warm-up"},
		{"Durability", words(s.Durability, "as the service is set")},
		{"Seed", fmt.Sprint(s.Seed)},
	}
	if r.Late != nil {
		late, unit := duration(r.Late.P99Us)
		facts[1].Value = fmt.Sprintf("open: %s/s by schedule; begun late by %s %s at p99; dropped %s",
			trim(s.Rate), late, unit, count(r.Late.Dropped))
	}
	if s.Zipf > 0 {
		facts = append(facts, Fact{"Zipf", trim(s.Zipf)})
	}
	if s.HoldSeconds > 0 {
		facts = append(facts, Fact{"Holds", fmt.Sprintf("%d s", s.HoldSeconds)})
	}
	return append(facts, stolenFacts(r.Stolen)...)
}

// stolenFacts are there where enough was stolen to matter.
func stolenFacts(share float64) []Fact {
	note := bench.StolenNote(share)
	if note == "" {
		return nil
	}
	return []Fact{{"Host", note}}
}

func orWords(n int64, none string) string {
	if n == 0 {
		return none
	}
	return count(n)
}

func words(text, none string) string {
	if text == "" {
		return none
	}
	return text
}

// proofOf gathers claims by what they were checked on.
func proofOf(claims []bench.Claim) (proof []Proof) {
	for _, group := range bench.Gather(claims) {
		p := Proof{Scope: group[0].Scope}
		for _, c := range group {
			p.Rules = append(p.Rules, Rule{Text: c.Rule, Holds: c.Holds, Skipped: c.Skipped})
		}
		proof = append(proof, p)
	}
	return proof
}

func shareOf(op *bench.OpReport) Share {
	share := Share{Name: op.Name}
	total := op.Accepted + load.Total(op.Refused) + load.Total(op.Failed)
	part := func(class, name string, n int64) {
		if n > 0 {
			percent := 100 * float64(n) / float64(total)
			share.Parts = append(share.Parts, Part{
				Class: class, Name: name, Count: count(n), Percent: math.Max(percent, 0.4), Text: trim(math.Round(percent*10)/10) + " %",
			})
		}
	}
	part("accepted", "accepted", op.Accepted)
	for i, why := range slices.Sorted(maps.Keys(op.Refused)) {
		part("refused r"+fmt.Sprint(i%3), strings.ReplaceAll(why, "_", " "), op.Refused[why])
	}
	for _, why := range slices.Sorted(maps.Keys(op.Failed)) {
		part("failed", why, op.Failed[why])
	}
	return share
}

// maxColumns is how many columns a chart over time has at the most.
const maxColumns = 90

// throughput draws answers per second over time, one on the other.
func throughput(r *bench.Report) Chart {
	slots, seconds := joined(r)
	highest := 0.0
	for _, s := range slots {
		highest = math.Max(highest, float64(s.Accepted+s.Refused+s.Failed)/seconds)
	}
	values := ticks(highest, 4)
	end := math.Max(seconds*float64(len(slots)), lastLook(r))
	c := newCanvas("answers per second over time", end, values[len(values)-1])
	c.gridY(values, short)
	if r.WarmupSeconds > 0 {
		c.shade(0, r.WarmupSeconds, "warm-up")
	}
	for i, s := range slots {
		from, low := float64(i)*seconds, 0.0
		for _, part := range []struct {
			class string
			n     int64
		}{{"accepted", s.Accepted}, {"refused", s.Refused}, {"failed", s.Failed}} {
			if part.n == 0 {
				continue
			}
			rate := float64(part.n) / seconds
			c.column(part.class, from, from+seconds, low, low+rate, fmt.Sprintf("%s %s/s at %s s", part.class, short(rate), trim(from)))
			low += rate
		}
	}
	c.labelsX(within(ticks(end, 5), end), secondsText, false)
	return Chart{
		Title: "Answers per second", Note: fmt.Sprintf("in steps of %s", durationText(seconds)), SVG: c.done(),
		Legend: []Mark{{Class: "accepted", Name: "accepted"}, {Class: "refused", Name: "refused"}, {Class: "failed", Name: "failed"}},
	}
}

// joined has the slots of a run as columns that can be told apart. The last, if it is cut short, is left out where there
// are others: its rate would be too low.
func joined(r *bench.Report) (slots []load.Slot, seconds float64) {
	each := (len(r.Slots) + maxColumns - 1) / maxColumns
	for i := 0; i < len(r.Slots); i += each {
		var sum load.Slot
		for _, s := range r.Slots[i:min(i+each, len(r.Slots))] {
			sum.Accepted += s.Accepted
			sum.Refused += s.Refused
			sum.Failed += s.Failed
		}
		slots = append(slots, sum)
	}
	seconds = float64(each) * r.SlotSeconds
	whole := int((r.WarmupSeconds + r.Seconds) / seconds)
	if whole >= 8 && whole < len(slots) {
		slots = slots[:whole]
	}
	return slots, seconds
}

func secondsText(v float64) string { return trim(v) + " s" }

func durationText(seconds float64) string {
	value, unit := duration(int64(seconds*1e6 + 0.5))
	return value + " " + unit
}

// within leaves out what is above the highest.
func within(values []float64, highest float64) []float64 {
	return slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return v > highest*1.0001 })
}

// curve is a latency distribution to be drawn.
type curve struct {
	class, name string
	latency     *bench.Latency
}

// curves are those of the operations that happened, at most four.
func curves(r *bench.Report) (all []curve) {
	for i := range r.Ops {
		op := &r.Ops[i]
		class := fmt.Sprintf("s%d", i%4)
		if len(op.AcceptedLatency.Curve) > 0 {
			all = append(all, curve{class, op.Name + " accepted", &op.AcceptedLatency})
		}
		if len(op.RefusedLatency.Curve) > 0 {
			all = append(all, curve{class + " dashed", op.Name + " refused", &op.RefusedLatency})
		}
	}
	if r.Late != nil && len(r.Late.Curve) > 0 {
		all = append(all, curve{"s3 dashed", "begun late by", &r.Late.Latency})
	}
	return all[:min(len(all), 6)]
}

// nines puts a percentile where the tail has as much room as the rest.
func nines(percentile float64) float64 { return -math.Log10(1 - percentile/100) }

// latency draws the distributions, both axes by powers of ten.
func latency(r *bench.Report) Chart {
	all := curves(r)
	low, high := math.Inf(1), 1.0
	for _, one := range all {
		low = math.Min(low, math.Max(1, float64(one.latency.Curve[0])))
		high = math.Max(high, float64(one.latency.Curve[len(one.latency.Curve)-1]))
	}
	if len(all) == 0 {
		low = 1
	}
	first, last := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high)+0.0001)
	c := newCanvas("latency by percentile", nines(99.99), last-first)
	var decades []float64
	for d := first; d <= last; d++ {
		decades = append(decades, d-first)
	}
	c.gridY(decades, func(v float64) string {
		value, unit := duration(int64(math.Round(math.Pow(10, v+first))))
		return value + " " + unit
	})
	shown := []float64{50, 90, 99, 99.9, 99.99}
	at := make([]float64, len(shown))
	for i, p := range shown {
		at[i] = nines(p)
	}
	c.labelsX(at, func(v float64) string { return trimPercent(100 * (1 - math.Pow(10, -v))) }, true)
	chart := Chart{Title: "Latency by percentile", Note: "from the intended start to the whole answer; both axes by powers of ten"}
	if r.Late == nil {
		chart.Note = "from sending to the whole answer; both axes by powers of ten"
	}
	for _, one := range all {
		points := make([]point, len(one.latency.Curve))
		for i, us := range one.latency.Curve {
			points[i] = point{nines(bench.CurvePercentiles[i]), math.Log10(math.Max(1, float64(us))) - first}
		}
		c.line(one.class, points)
		for i := range points {
			value, unit := duration(one.latency.Curve[i])
			c.dot(one.class, points[i], fmt.Sprintf("%s, %s: %s %s", one.name, trimPercent(bench.CurvePercentiles[i]), value, unit))
		}
		chart.Legend = append(chart.Legend, Mark{Class: one.class, Name: one.name})
	}
	chart.SVG = c.done()
	return chart
}

func trimPercent(p float64) string {
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.3f", p), "0"), ".") + " %"
}

// overTime draws one figure of the moments.
func overTime(r *bench.Report, label, class string, figure func(*bench.Moment) float64) *canvas {
	highest := 0.0
	points := make([]point, len(r.Timeline))
	for i := range r.Timeline {
		m := &r.Timeline[i]
		points[i] = point{m.Seconds, figure(m)}
		highest = math.Max(highest, figure(m))
	}
	values := ticks(highest, 4)
	end := math.Max(lastLook(r), r.WarmupSeconds+r.Seconds) // as the rates over time have it
	c := newCanvas(label, end, values[len(values)-1])
	c.gridY(values, short)
	c.labelsX(within(ticks(end, 5), end), secondsText, false)
	c.area(class, points)
	c.line(class, points)
	return c
}

// lastLook is when the stock and the ledger were looked at last, in seconds.
func lastLook(r *bench.Report) float64 {
	if len(r.Timeline) == 0 {
		return 0
	}
	return r.Timeline[len(r.Timeline)-1].Seconds
}

func stockLeft(r *bench.Report) Chart {
	held := false
	for _, m := range r.Timeline {
		held = held || m.Held > 0
	}
	if r.Endless() {
		return unitsSold(r)
	}
	c := overTime(r, "units left over time", "s0", func(m *bench.Moment) float64 { return float64(m.Left) })
	chart := Chart{
		Title: "Stock left", Note: "units neither sold nor held",
		Legend: []Mark{{Class: "s0", Name: "left"}},
	}
	if r.Settings.Products > 1 {
		chart.Note += ", of the products that are wanted most"
	}
	if held {
		points := make([]point, len(r.Timeline))
		for i, m := range r.Timeline {
			points[i] = point{m.Seconds, float64(m.Held)}
		}
		c.line("s1", points)
		chart.Legend = append(chart.Legend, Mark{Class: "s1", Name: "held"})
	}
	chart.SVG = c.done()
	return chart
}

// unitsSold takes the place of stockLeft where the stock has no end.
func unitsSold(r *bench.Report) Chart {
	first := r.Timeline[0].Left + r.Timeline[0].Held
	c := overTime(r, "units sold over time", "s0", func(m *bench.Moment) float64 { return float64(first - m.Left - m.Held) })
	return Chart{
		Title: "Units sold", Note: "since the first look, out of a stock without end",
		Legend: []Mark{{Class: "s0", Name: "sold"}}, SVG: c.done(),
	}
}

func ledgerLag(r *bench.Report) Chart {
	c := overTime(r, "orders that the ledger lacks over time", "s2", func(m *bench.Moment) float64 { return float64(m.LagOrders) })
	worst := 0.0
	for _, m := range r.Timeline {
		worst = math.Max(worst, m.LagSeconds)
	}
	return Chart{
		Title: "Ledger lag", Note: fmt.Sprintf("orders that Postgres does not have yet; at worst %s s behind", trim(worst)),
		Legend: []Mark{{Class: "s2", Name: "orders"}}, SVG: c.done(),
	}
}

// latencies is the table of all operations.
func latencies(r *bench.Report) Table {
	t := Table{Head: []string{"", "count", "per s", "p50", "p95", "p99", "p99.9", "p99.99", "max"}}
	row := func(name string, n int64, l *bench.Latency) {
		if n == 0 {
			return
		}
		cells := []string{name, count(n), count(int64(float64(n)/math.Max(r.Seconds, 1e-9) + 0.5))}
		for _, us := range []int64{l.P50Us, l.P95Us, l.P99Us, l.P999Us, l.P9999Us, l.MaxUs} {
			value, unit := duration(us)
			cells = append(cells, value+" "+unit)
		}
		t.Rows = append(t.Rows, Row{Cells: cells})
	}
	for i := range r.Ops {
		op := &r.Ops[i]
		row(op.Name+" accepted", op.Accepted, &op.AcceptedLatency)
		row(op.Name+" refused", load.Total(op.Refused), &op.RefusedLatency)
	}
	if r.Late != nil {
		row("begun late by", r.Late.Visits, &r.Late.Latency)
	}
	return t
}
