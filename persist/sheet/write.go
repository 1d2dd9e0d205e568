package sheet

import (
	"encoding/csv"
	"io"
	"slices"

	"flashsale/engine"
)

// Writer writes products in the form that [Read] takes.
type Writer struct {
	csv     *csv.Writer
	columns []column
	record  []string
}

// NewWriter begins a table with its header line. withCounters adds currentStock, heldStock and soldStock, which an
// import refuses. Errors come from [Writer.Flush] at the latest.
func NewWriter(w io.Writer, withCounters bool) *Writer {
	t := &Writer{csv: csv.NewWriter(w), columns: columns}
	if withCounters {
		t.columns = slices.Concat(columns, counters)
	}
	for i := range t.columns {
		t.record = append(t.record, t.columns[i].name)
	}
	_ = t.csv.Write(t.record) // Flush tells
	return t
}

// Write adds a product.
func (w *Writer) Write(p *engine.Product) error {
	for i := range w.columns {
		w.record[i] = w.columns[i].write(p)
	}
	return w.csv.Write(w.record)
}

// Flush brings out what is buffered, and tells what went wrong so far.
func (w *Writer) Flush() error {
	w.csv.Flush()
	return w.csv.Error()
}
