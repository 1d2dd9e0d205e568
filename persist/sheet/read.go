package sheet

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"

	"flashsale/engine"
)

// Bounds of a file: it is held in memory whole, and recorded in one transaction.
const (
	MaxProducts = 100_000
	MaxBytes    = 128 << 20
)

var (
	errTooManyProducts = fmt.Errorf("the file has more than %d products: import it in parts", MaxProducts)
	errTooLong         = fmt.Errorf("the file has more than %d bytes: import it in parts", MaxBytes)
)

// Row is a product and the line where it begins.
type Row struct {
	Line    int
	Product engine.Product
}

// Problem is one thing that is wrong with a line.
type Problem struct {
	Line int
	Text string
}

// reading is a table on its way into memory.
type reading struct {
	csv      *csv.Reader
	columns  []column
	rows     []Row
	problems []Problem
	lines    map[string]int // of the ids so far
}

// Read returns the products of a table and all that is wrong with its lines; rows are to be trusted only where nothing
// is, but each has a valid id that no row before it has. It fails where the file can't be read, is too long, or has a
// header line that is wrong.
func Read(r io.Reader) ([]Row, []Problem, error) {
	table := &reading{csv: csv.NewReader(withoutMark(&bounded{r, MaxBytes})), lines: make(map[string]int)}
	table.csv.FieldsPerRecord = -1 // counted here, for an error that says more
	table.csv.ReuseRecord = true
	header, err := readHeader(table.csv)
	if err != nil {
		return nil, nil, err
	}
	table.columns = header
	for range MaxProducts {
		err := table.readLine()
		if errors.Is(err, io.EOF) {
			return table.rows, table.problems, nil
		}
		if err != nil {
			return nil, nil, err
		}
	}
	if err := table.readLine(); !errors.Is(err, io.EOF) {
		return nil, nil, errTooManyProducts
	}
	return table.rows, table.problems, nil
}

// byteOrderMark is what spreadsheets begin a file of UTF-8 with.
const byteOrderMark = "\ufeff"

func withoutMark(r io.Reader) io.Reader {
	buffered := bufio.NewReader(r)
	if first, err := buffered.Peek(len(byteOrderMark)); err == nil && string(first) == byteOrderMark {
		_, _ = buffered.Discard(len(byteOrderMark)) // it is in the buffer
	}
	return buffered
}

// bounded fails where there is more to read than it may.
type bounded struct {
	io.Reader
	left int
}

// Read reads up to the bound.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, errTooLong
	}
	return n, err
}

// readLine reads one product. Its error is of the file, not of the line.
func (t *reading) readLine() error {
	record, err := t.csv.Read()
	var malformed *csv.ParseError
	switch {
	case errors.As(err, &malformed):
		t.complain(malformed.StartLine, malformed.Err.Error())
		return nil
	case err != nil:
		return err
	}
	line, _ := t.csv.FieldPos(0)
	if len(record) != len(t.columns) {
		t.complain(line, fmt.Sprintf("has %d values where the header line names %d columns", len(record), len(t.columns)))
		return nil
	}
	t.readRecord(line, record)
	return nil
}

func (t *reading) complain(line int, text string) {
	t.problems = append(t.problems, Problem{line, text})
}

// readRecord reads every value, so that all that is wrong is told at once.
func (t *reading) readRecord(line int, record []string) {
	p, before := newProduct(), len(t.problems)
	for i, text := range record {
		switch c := &t.columns[i]; {
		case text == "" && c.required:
			t.complain(line, c.name+" is missing")
		case text != "" && !c.read(&p, text):
			t.complain(line, c.name+" "+c.rule+"; it is "+quote(text))
		}
	}
	if len(t.problems) == before && p.Terms.CheckWindow() != nil {
		t.complain(line, engine.ErrWindow.Detail)
	}
	t.keep(line, p)
}

func (t *reading) keep(line int, p engine.Product) {
	if !engine.ValidProductID(p.ID) {
		return
	}
	if first, repeated := t.lines[p.ID]; repeated {
		t.complain(line, fmt.Sprintf("id %s is that of line %d too", quote(p.ID), first))
		return
	}
	t.lines[p.ID] = line
	t.rows = append(t.rows, Row{line, p})
}

// maxShown is how much of a wrong value is repeated, in bytes.
const maxShown = 64

func quote(text string) string {
	if len(text) > maxShown {
		return strconv.Quote(text[:maxShown]) + "…"
	}
	return strconv.Quote(text)
}
