package compare

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"flashsale/bench"
)

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

// WriteTable writes the report for people: the verdicts, then of each load figures and bars. Errors are w's.
func (r *Report) WriteTable(w io.Writer) error {
	var page strings.Builder
	r.verdicts(&page)
	for i := range r.Loads {
		l := &r.Loads[i]
		fmt.Fprintf(&page, "\n%s\n", r.figures(l))
		if stolen := bench.StolenNote(l.Stolen); stolen != "" {
			fmt.Fprintln(&page, stolen)
		}
		if i == 0 {
			page.WriteString(r.notes())
		}
		page.WriteString("\n" + r.bars(l))
	}
	if _, err := io.WriteString(w, page.String()); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

// several is true where loads have to be told apart.
func (r *Report) several() bool { return len(r.Loads) > 1 }

// verdicts are a line a load, the short one where there are several. What was wrong is below.
func (r *Report) verdicts(page *strings.Builder) {
	widest := 0
	for i := range r.Loads {
		widest = max(widest, len(fmt.Sprint(r.Loads[i].Connections)))
	}
	for i := range r.Loads {
		l := &r.Loads[i]
		if r.several() {
			fmt.Fprintf(page, "%*d connections: %s\n", widest, l.Connections, r.shortVerdict(l))
		} else {
			fmt.Fprintln(page, r.Verdict(l))
		}
		for j := range l.Rows {
			for _, wrong := range l.Rows[j].Wrong {
				fmt.Fprintf(page, "  - %s: %s\n", l.Rows[j].Name, wrong)
			}
		}
	}
}

// notes say how to read the figures of all loads.
func (r *Report) notes() string {
	var load, schedule string
	if !r.several() {
		load = fmt.Sprintf("%d connections, ", r.Loads[0].Connections)
	}
	if r.Rate > 0 {
		schedule = fmt.Sprintf("%.0f orders a second on a schedule, latencies from when they were due, ", r.Rate)
	}
	return fmt.Sprintf("%s%s%s of %.1f s in turn; every buyer comes once, for one unit; last, each sold out %d\n",
		load, schedule, bench.Medians(r.Rounds), r.RoundSeconds, r.Units) +
		"the engine drains into Postgres meanwhile; the rivals keep what they sold where they sold it, unless their name says otherwise\n"
}

// figures are a table; where there are several, its corner says of which load.
func (r *Report) figures(l *Load) string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	corner := ""
	if r.several() {
		corner = fmt.Sprintf("%d connections", l.Connections)
	}
	if r.Rate > 0 {
		t.AppendHeader(table.Row{corner, "accepted/s", "p50 ms", "p99 ms", "p99 ÷ floor's", "begun late, p99 ms", "dropped", "failed", "sold exactly"})
	} else {
		t.AppendHeader(table.Row{corner, "accepted/s", "p50 ms", "p99 ms", "of the floor", "engine is ×", "failed", "sold exactly"})
	}
	var configs []table.ColumnConfig
	for number := 2; number <= 9; number++ {
		configs = append(configs, table.ColumnConfig{Number: number, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(configs)
	for i := range l.Rows {
		t.AppendRow(l.Rows[i].cells(r.Rate > 0))
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
func (r *Report) bars(l *Load) string {
	value, unit := func(row *Row) float64 { return row.AcceptedPerSecond }, "%.0f"
	if r.Rate > 0 {
		value, unit = func(row *Row) float64 { return float64(row.P99Us) / 1000 }, "%.2f ms"
	}
	longest, most := 0, 0.0
	for i := range l.Rows {
		longest = max(longest, len([]rune(l.Rows[i].Name)))
		most = max(most, value(&l.Rows[i]))
	}
	var b strings.Builder
	for i := range l.Rows {
		row := &l.Rows[i]
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
