package compare

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"flashsale/bench"
)

// Report is what came of a comparison: the floor, the engine, the rivals. Figures are medians over the rounds.
type Report struct {
	Connections  int     `json:"connections"`
	Rounds       int     `json:"rounds"`
	RoundSeconds float64 `json:"roundSeconds"`
	Rate         float64 `json:"rate"`  // orders begun a second, on a schedule; 0 = as fast as the connections went
	Units        int64   `json:"units"` // that each had to sell out
	Rows         []Row   `json:"rows"`
}

// Row is one contender. A ratio is the median of the rounds' ratios; 0 where there is none.
type Row struct {
	Name              string    `json:"name"`
	Role              Role      `json:"role"`
	AcceptedPerSecond float64   `json:"acceptedPerSecond"`
	P50Us             int64     `json:"p50Us"`
	P99Us             int64     `json:"p99Us"`
	P99TimesFloor     float64   `json:"p99TimesFloor"`
	LateP99Us         int64     `json:"lateP99Us"` // by how much orders were begun late, where there is a schedule: part of the latencies
	OfFloor           float64   `json:"ofFloor"`
	EngineTimes       float64   `json:"engineTimes"` // how many times as much the engine accepts
	Failed            int64     `json:"failed"`      // requests of all rounds, neither accepted nor refused
	Dropped           int64     `json:"dropped"`     // of all rounds, where there is a schedule: not sent, because they were too late
	SoldExactly       bool      `json:"soldExactly"` // in every round and in the end; the floor sells nothing
	Wrong             []string  `json:"wrong"`       // with the books or the answers
	Rates             []float64 `json:"rates"`       // of each round
}

// Role is what a contender is there for.
type Role string

// The roles.
const (
	RoleFloor  Role = "floor"
	RoleEngine Role = "engine"
	RoleRival  Role = "rival"
)

func (c *comparison) report() Report {
	r := Report{Connections: c.Connections, Rounds: c.Rounds, RoundSeconds: c.Duration.Seconds(), Rate: c.Rate, Units: c.Units}
	for i, e := range c.entries {
		row := Row{
			Name: e.contender.Name(), Role: roleOf(i), Failed: e.failed, SoldExactly: e.soldOut && len(e.wrong) == 0,
			Wrong:     append([]string{}, e.wrong...),
			Dropped:   e.dropped,
			P50Us:     int64(median(e.each(func(r round) float64 { return float64(r.p50Us) }))),
			P99Us:     int64(median(e.p99s())),
			LateP99Us: int64(median(e.each(func(r round) float64 { return float64(r.lateUs) }))),
			Rates:     e.rates(),
		}
		row.P99TimesFloor = medianRatio(e.p99s(), c.entries[0].p99s())
		row.AcceptedPerSecond = median(row.Rates)
		row.OfFloor = medianRatio(row.Rates, c.entries[0].rates())
		if row.Role == RoleRival {
			row.EngineTimes = medianRatio(c.entries[1].rates(), row.Rates)
		}
		r.Rows = append(r.Rows, row)
	}
	return r
}

func roleOf(entry int) Role {
	return [...]Role{RoleFloor, RoleEngine, RoleRival}[min(entry, 2)]
}

func (e *entry) rates() []float64 { return e.each(func(r round) float64 { return r.perSecond }) }

func (e *entry) p99s() []float64 { return e.each(func(r round) float64 { return float64(r.p99Us) }) }

func (e *entry) each(figure func(round) float64) []float64 {
	figures := make([]float64, len(e.rounds))
	for i, r := range e.rounds {
		figures[i] = figure(r)
	}
	return figures
}

// medianRatio compares round by round, for rounds differ more than neighbours in one.
func medianRatio(of, to []float64) float64 {
	var ratios []float64
	for i := range min(len(of), len(to)) {
		if to[i] > 0 {
			ratios = append(ratios, of[i]/to[i])
		}
	}
	return median(ratios)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// Verdict says in one line how the engine did.
func (r *Report) Verdict() string {
	var engine Row
	for i := range r.Rows {
		if r.Rows[i].Role == RoleEngine {
			engine = r.Rows[i]
		}
	}
	switch {
	case !engine.SoldExactly:
		return "NOT PROVEN: the engine did not sell exactly, or the comparison did not come to its end"
	case r.Rate > 0:
		return r.verdictOnLatency(&engine)
	}
	return r.verdictOnRate()
}

// verdictOnRate compares with the rivals that sold.
func (r *Report) verdictOnRate() string {
	var times []string
	behind, rivals := 0, 0
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Role != RoleRival {
			continue
		}
		rivals++
		if !row.compared() {
			continue
		}
		times = append(times, fmt.Sprintf("%s × %s", figure(row.EngineTimes), row.Name))
		if row.EngineTimes <= 1 {
			behind++
		}
	}
	switch all := strings.Join(times, ", "); {
	case len(times) == 0:
		return "the engine sold exactly; there is no rival that sold anything to compare it with"
	case behind > 0:
		return fmt.Sprintf("the engine is behind %d of %d: %s", behind, len(times), all)
	case len(times) < rivals:
		return fmt.Sprintf("the engine is ahead of the %d of %d that sold: %s", len(times), rivals, all)
	default:
		return "the engine is ahead of all: " + all
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

// figure writes a ratio with as many digits as say something.
func figure(ratio float64) string {
	switch {
	case ratio == 0:
		return "0"
	case ratio >= 100:
		return fmt.Sprintf("%.0f", ratio)
	case ratio >= 10:
		return fmt.Sprintf("%.1f", ratio)
	case ratio < 0.01:
		return fmt.Sprintf("%.4f", ratio)
	}
	return fmt.Sprintf("%.2f", ratio)
}

// WriteTable writes the report for people: the verdict, the figures, bars. Errors are w's.
func (r *Report) WriteTable(w io.Writer) error {
	var page strings.Builder
	page.WriteString(r.Verdict() + "\n")
	for i := range r.Rows {
		for _, wrong := range r.Rows[i].Wrong {
			fmt.Fprintf(&page, "  - %s: %s\n", r.Rows[i].Name, wrong)
		}
	}
	fmt.Fprintf(&page, "\n%s\n%d connections%s, %s of %.1f s in turn; every buyer comes once, for one unit; last, each sold out %d\n",
		r.figures(), r.Connections, r.schedule(), bench.Medians(r.Rounds), r.RoundSeconds, r.Units)
	page.WriteString("the engine drains into Postgres meanwhile; the rivals keep what they sold where they sold it, unless their name says otherwise\n\n" + r.bars())
	if _, err := io.WriteString(w, page.String()); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

func (r *Report) schedule() string {
	if r.Rate == 0 {
		return ""
	}
	return fmt.Sprintf(", %.0f orders a second on a schedule, latencies from when they were due", r.Rate)
}

func (r *Report) figures() string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.AppendHeader(table.Row{"", "accepted/s", "p50 ms", "p99 ms", "of the floor", "engine is ×", "failed", "sold exactly"})
	if r.Rate > 0 {
		t.ResetHeaders()
		t.AppendHeader(table.Row{"", "accepted/s", "p50 ms", "p99 ms", "p99 ÷ floor's", "begun late, p99 ms", "dropped", "failed", "sold exactly"})
	}
	var configs []table.ColumnConfig
	for number := 2; number <= 9; number++ {
		configs = append(configs, table.ColumnConfig{Number: number, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(configs)
	for i := range r.Rows {
		t.AppendRow(r.Rows[i].cells(r.Rate > 0))
	}
	return t.Render()
}

func (row *Row) cells(scheduled bool) table.Row {
	times, exactly := "", "NO"
	if row.compared() {
		times = figure(row.EngineTimes)
	}
	switch {
	case row.Role == RoleFloor:
		exactly = ""
	case row.SoldExactly:
		exactly = "yes"
	}
	cells := table.Row{row.Name, fmt.Sprintf("%.0f", row.AcceptedPerSecond), bench.Milliseconds(row.P50Us), bench.Milliseconds(row.P99Us)}
	if scheduled {
		cells = append(cells, figure(row.P99TimesFloor), bench.Milliseconds(row.LateP99Us), row.Dropped)
	} else {
		cells = append(cells, figure(row.OfFloor), times)
	}
	return append(cells, row.Failed, exactly)
}

// barWidth is that of the longest bar, in characters.
const barWidth = 50

// bars draw the rates, or the slowest percent where the rate is given, to eighths of a character.
func (r *Report) bars() string {
	value, unit := func(row *Row) float64 { return row.AcceptedPerSecond }, "%.0f"
	if r.Rate > 0 {
		value, unit = func(row *Row) float64 { return float64(row.P99Us) / 1000 }, "%.2f ms"
	}
	longest, most := 0, 0.0
	for i := range r.Rows {
		longest = max(longest, len([]rune(r.Rows[i].Name)))
		most = max(most, value(&r.Rows[i]))
	}
	var b strings.Builder
	for i := range r.Rows {
		row := &r.Rows[i]
		fmt.Fprintf(&b, "%-*s %s "+unit+"\n", longest, row.Name, bar(value(row), most), value(row))
	}
	return b.String()
}

func bar(value, most float64) string {
	if most <= 0 {
		return ""
	}
	eighths := int(math.Round(value / most * barWidth * 8))
	drawn := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		drawn += string([]rune(" ▏▎▍▌▋▊▉")[rest])
	}
	if drawn == "" {
		return "▏"
	}
	return drawn
}
