package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"flashsale/bench/load"
)

// WriteTable writes the report for people: the verdict with every broken rule, then the figures. Errors are w's.
func (r *Report) WriteTable(w io.Writer) error {
	var page strings.Builder
	page.WriteString(r.Scenario + ": " + r.Verdict() + "\n")
	for _, b := range r.Violations {
		page.WriteString("  - " + b.String() + "\n")
	}
	page.WriteString("\n" + r.figures() + "\n" + r.caption() + "\n")
	page.WriteString(r.proof())
	if _, err := io.WriteString(w, page.String()); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

// proof lists the claims, gathered by what they were checked on.
func (r *Report) proof() string {
	var b strings.Builder
	for _, group := range Gather(r.Claims) {
		b.WriteString("\n" + group[0].Scope + ":\n")
		for _, c := range group {
			b.WriteString("  " + c.mark() + " " + c.Rule + "\n")
		}
	}
	return b.String()
}

// Gather puts claims together that were checked on the same, in the order of the first of each.
func Gather(claims []Claim) (groups [][]Claim) {
	for _, c := range claims {
		at := slices.IndexFunc(groups, func(g []Claim) bool { return g[0].Scope == c.Scope })
		if at < 0 {
			at = len(groups)
			groups = append(groups, nil)
		}
		groups[at] = append(groups[at], c)
	}
	return groups
}

func (c Claim) mark() string {
	switch {
	case c.Skipped:
		return "–"
	case c.Holds:
		return "✓"
	}
	return "✗"
}

// String returns the claim in one line.
func (c Claim) String() string {
	return c.mark() + " " + c.Rule + " (" + c.Scope + ")"
}

func (r *Report) figures() string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.AppendHeader(table.Row{"", "count", "per s", "p50 ms", "p95 ms", "p99 ms", "p99.9 ms", "max ms"})
	columns := []table.ColumnConfig{}
	for number := 2; number <= 8; number++ {
		columns = append(columns, table.ColumnConfig{Number: number, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(columns)
	for i := range r.Ops {
		if i > 0 {
			t.AppendSeparator()
		}
		r.appendOp(t, &r.Ops[i])
	}
	return t.Render()
}

func (r *Report) appendOp(t table.Writer, op *OpReport) {
	t.AppendRow(r.row(op.Name+" accepted", op.Accepted, &op.AcceptedLatency))
	if refused := load.Total(op.Refused); refused > 0 {
		t.AppendRow(r.row(op.Name+" refused", refused, &op.RefusedLatency))
		appendReasons(t, op.Refused)
	}
	if failed := load.Total(op.Failed); failed > 0 {
		t.AppendRow(r.row(op.Name+" failed", failed, nil))
		appendReasons(t, op.Failed)
	}
}

// row is a line of figures; without any request there are none.
func (r *Report) row(name string, n int64, l *Latency) table.Row {
	row := table.Row{name, grouped(n), grouped(int64(r.perSecond(n) + 0.5))}
	if l == nil || n == 0 {
		return row
	}
	return append(row, Milliseconds(l.P50Us), Milliseconds(l.P95Us), Milliseconds(l.P99Us), Milliseconds(l.P999Us),
		Milliseconds(l.MaxUs))
}

func (r *Report) perSecond(n int64) float64 {
	if r.Seconds <= 0 {
		return 0
	}
	return float64(n) / r.Seconds
}

// Milliseconds writes microseconds as the tables show them, in ms.
func Milliseconds(us int64) string { return fmt.Sprintf("%.2f", float64(us)/1000) }

func appendReasons(t table.Writer, reasons map[string]int64) {
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		t.AppendRow(table.Row{"  " + reason, grouped(reasons[reason])})
	}
}

func (r *Report) caption() string {
	lines := []string{
		fmt.Sprintf("%s, product %s: %s in %.2f s, %s", r.Target, r.Product, r.crowd(), r.Seconds, r.loop()),
	}
	if late := r.Overrun(); late != "" {
		lines = append(lines, "the schedule was not kept, "+late+": "+r.remedy())
	}
	if stolen := StolenNote(r.Stolen); stolen != "" {
		lines = append(lines, stolen)
	}
	lines = append(append(lines, r.Explained()...), r.stockLine(), r.ledgerLine())
	if r.Found+r.untold() > 0 {
		lines = append(lines, fmt.Sprintf("without an outcome at first: %s turned out to be placed, %s can't be told",
			grouped(r.Found), grouped(r.untold())))
	}
	return strings.Join(lines, "\n")
}

// Explained lists, by reason, what the service said to what failed; where nothing was accepted, to what it refused too.
func (r *Report) Explained() (lines []string) {
	failed := r.allFailed()
	for _, reason := range slices.Sorted(maps.Keys(r.Details)) {
		if failed[reason] > 0 || r.Accepted == 0 {
			lines = append(lines, reason+": "+r.Details[reason])
		}
	}
	return lines
}

// reasons is why nothing was accepted, with the service's words.
func (r *Report) reasons() string {
	if r.unmeasured() {
		return "nothing was answered in the time that is measured"
	}
	all := maps.Clone(r.Failed)
	addAll(all, r.Refused)
	if lines := r.Explained(); len(lines) > 0 {
		return reasonsText(all) + " (" + strings.Join(lines, "; ") + ")"
	}
	return reasonsText(all)
}

func (r *Report) stockLine() string {
	if !r.StockKnown() {
		return "stock: not known"
	}
	s := &r.Stock
	return fmt.Sprintf("stock: %s initial = %s current + %s held + %s sold",
		grouped(s.Initial), grouped(s.Current), grouped(s.Held), grouped(s.Sold))
}

func (r *Report) ledgerLine() string {
	line := "ledger: not known how far behind at the end"
	if r.LagKnown() {
		line = fmt.Sprintf("ledger: %s orders and %.2f s behind at the end", grouped(r.LagAtEnd.LagOrders), r.LagAtEnd.LagSeconds)
	}
	if r.LookedUp == 0 {
		return line
	}
	return line + fmt.Sprintf("; had %s of %s orders looked up %.2f s later", grouped(r.Durable), grouped(r.LookedUp), r.LedgerSeconds)
}

func (r *Report) crowd() string {
	if r.Settings.Buyers == 0 {
		return "each visit another buyer"
	}
	return grouped(r.Settings.Buyers) + " buyers"
}

func (r *Report) loop() string {
	text := grouped(int64(r.Settings.Connections)) + " connections"
	if r.Late == nil {
		return text + ", closed loop"
	}
	return fmt.Sprintf("%s, %s/s by schedule; begun late by p50 %s, p99 %s ms; dropped %s", text,
		grouped(int64(r.Settings.Rate)), Milliseconds(r.Late.P50Us), Milliseconds(r.Late.P99Us), grouped(r.Late.Dropped))
}

// allOf names the scope of a check on every one.
func allOf(n int64, thing string) string {
	if n == 1 {
		return "the only " + thing
	}
	return "all " + grouped(n) + " " + thing + "s"
}

// grouped writes a number with its thousands apart.
func grouped(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return sign + digits
}

// Medians says what figures of so many rounds are.
func Medians(rounds int) string {
	if rounds == 1 {
		return "one round"
	}
	return fmt.Sprintf("medians of %d rounds", rounds)
}
