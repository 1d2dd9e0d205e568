package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// WriteTable writes the report for people: the verdict with every broken rule, then the figures. Errors are w's.
func (r Report) WriteTable(w io.Writer) error { //nolint:gocritic // once a run; a value prints wherever it is
	var page strings.Builder
	page.WriteString(r.Verdict() + "\n")
	for _, b := range r.Violations {
		page.WriteString("  - " + b.String() + "\n")
	}
	page.WriteString("\n" + r.figures() + "\n" + r.caption() + "\n")
	if _, err := io.WriteString(w, page.String()); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

func (r *Report) figures() string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.AppendHeader(table.Row{"orders", "count", "per s", "p50 ms", "p95 ms", "p99 ms", "max ms"})
	columns := []table.ColumnConfig{}
	for number := 2; number <= 7; number++ {
		columns = append(columns, table.ColumnConfig{Number: number, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(columns)
	t.AppendRow(r.row("accepted", r.Accepted, &r.AcceptedLatency))
	t.AppendRow(r.row("refused", total(r.Refused), &r.RefusedLatency))
	appendReasons(t, r.Refused)
	t.AppendRow(r.row("failed", total(r.Failed), nil))
	appendReasons(t, r.Failed)
	t.AppendSeparator()
	t.AppendRow(r.row("accepted + refused", r.Accepted+total(r.Refused), &r.Latency))
	t.AppendRow(r.row("all", r.requests(), nil))
	return t.Render()
}

// row is a line of figures; without any request there are none.
func (r *Report) row(name string, n int64, l *Latency) table.Row {
	row := table.Row{name, n, fmt.Sprintf("%.0f", r.perSecond(n))}
	if l == nil || n == 0 {
		return row
	}
	return append(row, milliseconds(l.P50Us), milliseconds(l.P95Us), milliseconds(l.P99Us), milliseconds(l.MaxUs))
}

func (r *Report) perSecond(n int64) float64 {
	if r.SellingSeconds <= 0 {
		return 0
	}
	return float64(n) / r.SellingSeconds
}

func milliseconds(us int64) string { return fmt.Sprintf("%.2f", float64(us)/1000) }

func appendReasons(t table.Writer, reasons map[string]int64) {
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		t.AppendRow(table.Row{"  " + reason, reasons[reason]})
	}
}

func (r *Report) caption() string {
	s := &r.Stock
	lines := []string{
		fmt.Sprintf("%s, product %s: %d buyers on %d connections in %.2f s",
			r.Target, r.Product, r.Buyers, r.Connections, r.SellingSeconds),
		fmt.Sprintf("stock: %d initial = %d current + %d held + %d sold", s.Initial, s.Current, s.Held, s.Sold),
		fmt.Sprintf("ledger: has %d of %d orders, %.2f s after the sale", r.Durable, r.Accepted+r.Found, r.LedgerSeconds),
	}
	if r.Found+r.Unresolved > 0 {
		lines = append(lines, fmt.Sprintf("without an outcome at first: %d turned out to be placed, %d can't be told",
			r.Found, r.Unresolved))
	}
	return strings.Join(lines, "\n")
}
