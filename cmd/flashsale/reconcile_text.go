package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"flashsale/engine"
	"flashsale/persist/reconcile"
)

func countText(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// reportText is a report for people: what came of it, what was compared, and a table of what was found.
func reportText(r *reconcile.Report) string {
	var page strings.Builder
	page.WriteString(headline(r) + "\n")
	fmt.Fprintf(&page, "compared: %s; %.2f s; run %d in reconcile_runs\n", comparedText(&r.Compared), r.Seconds, r.Run)
	if len(r.Findings) > 0 {
		page.WriteString("\n" + findingsTable(r.Findings) + "\n")
	}
	if r.More {
		page.WriteString("There is more than is listed. Of a partition of which something is left out --apply repairs nothing.\n")
	}
	page.WriteString(closing(r))
	return page.String()
}

// closing says what was done about what was found, and what is left to be done.
func closing(r *reconcile.Report) string {
	left := r.Unrepaired()
	switch {
	case r.Outcome != engine.ReconciledDrift || left == 0:
		return ""
	case !r.Apply:
		return "Nothing was changed. --apply does what stands under \"repair\".\n"
	case r.Repaired == 0:
		return "Nothing could be repaired: \"repair\" says why, and what is to be done by hand.\n"
	}
	return fmt.Sprintf("%s repaired, %s left: \"repair\" says why, and what is to be done by hand.\n", countText(r.Repaired, "drift"), countText(left, "drift"))
}

func headline(r *reconcile.Report) string {
	repaired := ""
	if r.Repaired > 0 {
		repaired = fmt.Sprintf("; %d repaired", r.Repaired)
	}
	switch r.Outcome {
	case engine.ReconciledClean:
		return "clean: Redis and the ledger agree" + repaired
	case engine.ReconciledDrift:
		return "drift: " + classesText(r.Findings) + repaired
	case engine.ReconciledUnknown:
	}
	return "can't tell: " + strings.TrimPrefix(r.Reason, reconcile.ErrUnknown.Error()+": ") + repaired
}

func comparedText(c *reconcile.Compared) string {
	return fmt.Sprintf("%s, %s with units, %s, %s in Redis",
		countText(int(c.Products), "product"), countText(int(c.Orders), "order"), countText(int(c.Buyers), "buyer"), countText(int(c.Records), "record"))
}

// classesText counts what was found and not repaired, by class in the order of appearance.
func classesText(findings []reconcile.Finding) string {
	var order []reconcile.Class
	counts := make(map[reconcile.Class]int)
	for i := range findings {
		if findings[i].Done() {
			continue
		}
		class := findings[i].Class
		if counts[class] == 0 {
			order = append(order, class)
		}
		counts[class]++
	}
	parts := make([]string, len(order))
	for i, class := range order {
		parts[i] = fmt.Sprintf("%d × %s", counts[class], classText(class))
	}
	return strings.Join(parts, ", ")
}

func classText(class reconcile.Class) string { return strings.ReplaceAll(string(class), "_", " ") }

// Widths of the columns, in characters: the table fits a terminal of 132.
const (
	sidesWidth   = 48
	meaningWidth = 36
)

func findingsTable(findings []reconcile.Finding) string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.Style().Options.SeparateRows = true
	t.AppendHeader(table.Row{"drift", "both sides", "what it means, and its repair"})
	for i := range findings {
		f := &findings[i]
		t.AppendRow(table.Row{
			concernsText(f), wrapped(sidesWidth, "Redis: "+f.Redis, "ledger: "+f.Ledger),
			wrapped(meaningWidth, f.Meaning, "repair: "+repairText(f)),
		})
	}
	return t.Render()
}

// wrapped breaks paragraphs into lines, each paragraph for itself.
func wrapped(width int, paragraphs ...string) string {
	for i := range paragraphs {
		paragraphs[i] = text.WrapSoft(paragraphs[i], width)
	}
	return strings.Join(paragraphs, "\n")
}

func repairText(f *reconcile.Finding) string {
	if f.Outcome != "" {
		return f.Repair + " (" + f.Outcome + ")"
	}
	return f.Repair
}

// concernsText says what a drift is of, a line each.
func concernsText(f *reconcile.Finding) string {
	lines := []string{classText(f.Class), fmt.Sprintf("partition %d", f.Partition)}
	for _, one := range []struct{ name, value string }{{"product", f.Product}, {"buyer", f.User}, {"", f.Order}} {
		if one.value != "" {
			lines = append(lines, strings.TrimSpace(one.name+" "+one.value))
		}
	}
	return strings.Join(lines, "\n")
}

// roundText is a round of --watch in a line.
func roundText(r *reconcile.Report) string {
	return fmt.Sprintf("%s  %s  (%s; %.2f s)", r.FinishedAt.Format(time.RFC3339), headline(r), comparedText(&r.Compared), r.Seconds)
}

// compareBar shows how far a comparison is: a bar on a terminal, a line now and then elsewhere.
type compareBar struct {
	out   io.Writer
	bar   *progressbar.ProgressBar
	shown time.Time
}

// compareLine is how often a line is printed where there is no terminal to paint on: a quick run prints none.
const compareLine = 5 * time.Second

func newCompareBar(out *os.File) *compareBar {
	b := &compareBar{out: out, shown: time.Now()}
	if term.IsTerminal(int(out.Fd())) {
		b.bar = progressbar.NewOptions64(1,
			progressbar.OptionSetWriter(out), progressbar.OptionSetDescription("comparing orders"), progressbar.OptionShowCount(),
			progressbar.OptionShowIts(), progressbar.OptionThrottle(paintPause), progressbar.OptionClearOnFinish())
	}
	return b
}

// paintPause is how often the bar is painted at the most.
const paintPause = 100 * time.Millisecond

func (b *compareBar) show(done, all int64) {
	switch {
	case b.bar != nil:
		b.bar.ChangeMax64(max(all, 1))
		_ = b.bar.Set64(done) // as with say
	case time.Since(b.shown) >= compareLine:
		b.shown = time.Now()
		say(b.out, "compared %d of about %d orders\n", done, all)
	}
}

func (b *compareBar) end() {
	if b.bar != nil {
		_ = b.bar.Clear() // as with say
	}
}
