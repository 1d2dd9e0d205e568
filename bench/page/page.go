package page

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"time"

	"flashsale/bench"
)

//go:embed page.html
var source string

var layout = template.Must(template.New("page").Funcs(template.FuncMap{
	"add": func(a, b int) int { return a + b },
}).Parse(source))

// Page is what is shown, the verdict first.
type Page struct {
	Title       string
	Made        time.Time
	Environment bench.Environment
	Sections    []Section
}

// Section is one run.
type Section struct {
	ID      string // fit for an anchor
	Title   string
	Lead    string // what was done, in a sentence
	OK      bool
	Verdict string
	Wrong   []string // what broke, in full
	Notes   []string // what must be known to read the figures
	Tiles   []Tile
	Shares  []Share
	Charts  []Chart
	Tables  []Table
	Proof   []Proof
	Facts   []Fact // settings
}

// Tile is a figure that stands out.
type Tile struct{ Name, Value, Unit, Note string }

// Fact is a name and a value.
type Fact struct{ Name, Value string }

// Chart is a drawing with its words.
type Chart struct {
	Title  string
	Note   string
	Legend []Mark
	SVG    template.HTML
}

// Mark is an entry of a legend; Class names its colour.
type Mark struct{ Class, Name, Value string }

// Share is one bar of parts.
type Share struct {
	Name  string
	Parts []Part
}

// Part is a part of a bar, in percent.
type Part struct {
	Class, Name, Count string
	Percent            float64
	Text               string // of the percentage
}

// Table is figures in rows. The first column is text.
type Table struct {
	Title  string
	Head   []string
	Rows   []Row
	Footer string
}

// Row is a line of a table.
type Row struct {
	Cells []string
	Bar   float64 // percent, drawn behind the last cell; 0 = none
	Class string
}

// Proof is what was checked on the same things.
type Proof struct {
	Scope string
	Rules []Rule
}

// Rule is one of them.
type Rule struct {
	Text    string
	Holds   bool
	Skipped bool // not checked
}

// OK is true where every section is.
func (p *Page) OK() bool {
	for i := range p.Sections {
		if !p.Sections[i].OK {
			return false
		}
	}
	return len(p.Sections) > 0
}

// Verdict says in one line how it went.
func (p *Page) Verdict() string {
	failed := 0
	for i := range p.Sections {
		if !p.Sections[i].OK {
			failed++
		}
	}
	switch {
	case len(p.Sections) == 1:
		return p.Sections[0].Verdict
	case failed > 0:
		return fmt.Sprintf("%d of %d parts failed", failed, len(p.Sections))
	}
	return fmt.Sprintf("all %d parts passed", len(p.Sections))
}

// Several is true where there is a list of parts to be shown.
func (p *Page) Several() bool { return len(p.Sections) > 1 }

// When is the time it was made, for people.
func (p *Page) When() string { return p.Made.UTC().Format("2 January 2006, 15:04 UTC") }

// Machine lists the environment.
func (p *Page) Machine() (facts []Fact) {
	e := &p.Environment
	for _, f := range []Fact{
		{"CPU", e.CPU},
		{"Cores", fmt.Sprint(e.Cores)},
		{"System", e.System},
		{"Go", e.Go},
		{"Redis", e.Redis},
		{"Postgres", e.Postgres},
		{"flashsale", e.Commit},
		{"Service", e.Service},
	} {
		if f.Value != "" && f.Value != "0" {
			facts = append(facts, f)
		}
	}
	return facts
}

// Write writes the page. Errors are w's.
func (p *Page) Write(w io.Writer) error {
	var b bytes.Buffer
	if err := layout.Execute(&b, p); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}
