package cost

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"flashsale/bench"
)

// Report is what was measured: medians, CPU in µs, memory in bytes.
type Report struct {
	Redis    string      `json:"redis"` // its version
	Orders   int         `json:"orders"`
	Rounds   int         `json:"rounds"`
	InFlight int         `json:"inFlight"`
	Backlog  int         `json:"backlog"`
	Kinds    []Kind      `json:"kinds"`
	Floors   []Floor     `json:"floors"`
	Shapes   []ShapeCost `json:"shapes"`
	Memory   *Memory     `json:"memory,omitempty"`
}

// Floor is what one call of a script costs that does as good as nothing.
type Floor struct {
	Name string  `json:"name"`
	Us   float64 `json:"us"`
}

// ShapeCost is what was measured on one partition.
type ShapeCost struct {
	Shape
	Batches []BatchCost `json:"batches"`
}

// BatchCost is what one order costs in batches of a size.
type BatchCost struct {
	Batch int              `json:"batch"`
	Us    map[Kind]float64 `json:"us"`
}

// Memory is what one order takes.
type Memory struct {
	Orders    int   `json:"orders"` // measured with so many, each by a buyer of its own
	Batch     int   `json:"batch"`
	Undrained Parts `json:"undrained"`
	Drained   Parts `json:"drained"` // past the grace
}

// Parts are bytes an order. The buyer stays, the others go with the drain.
type Parts struct {
	Log    float64 `json:"log"`
	Record float64 `json:"record"`
	Buyer  float64 `json:"buyer"`
	Server float64 `json:"server"` // by which the whole server has grown
}

// Order is what an order takes without its buyer.
func (p Parts) Order() float64 { return p.Log + p.Record }

// WriteTable writes the report for people. Errors are w's.
func (r Report) WriteTable(w io.Writer) error {
	var page strings.Builder
	fmt.Fprintf(&page, "Redis CPU per order in µs, by orders a call; Redis %s, %d in flight, %s of %d orders\n",
		r.Redis, r.InFlight, bench.Medians(r.Rounds), r.Orders)
	if r.Backlog > 0 {
		fmt.Fprintf(&page, "behind a backlog of %d orders that are not drained\n", r.Backlog)
	}
	page.WriteString(r.cpu() + "\n")
	for _, f := range r.Floors {
		fmt.Fprintf(&page, "floor: %s, pipelined by %d: %.2f µs\n", f.Name, floorPipeline, f.Us)
	}
	if r.Memory != nil {
		page.WriteString("\n" + r.Memory.String())
	}
	if _, err := io.WriteString(w, page.String()); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

// cpu is the table. With several shapes, each has its ratio to the first.
func (r *Report) cpu() string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	header, columns := table.Row{"products", "buyers before", "orders a call"}, len(r.Kinds)
	for _, kind := range r.Kinds {
		header = append(header, string(kind))
	}
	if len(r.Shapes) > 1 {
		header = append(header, string(r.Kinds[0])+" ÷ first")
		columns++
	}
	t.AppendHeader(header)
	configs := []table.ColumnConfig{}
	for number := 1; number <= 3+columns; number++ {
		configs = append(configs, table.ColumnConfig{Number: number, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(configs)
	for i := range r.Shapes {
		if i > 0 {
			t.AppendSeparator()
		}
		for k := range r.Shapes[i].Batches {
			t.AppendRow(r.row(i, k))
		}
	}
	return t.Render()
}

func (r *Report) row(shape, batch int) table.Row {
	s := &r.Shapes[shape]
	cost := s.Batches[batch]
	row := table.Row{s.Products, s.Buyers, cost.Batch}
	for _, kind := range r.Kinds {
		row = append(row, fmt.Sprintf("%.2f", cost.Us[kind]))
	}
	if len(r.Shapes) > 1 {
		row = append(row, fmt.Sprintf("%.2f", cost.Us[r.Kinds[0]]/r.Shapes[0].Batches[batch].Us[r.Kinds[0]]))
	}
	return row
}

// String returns the figures as lines.
func (m *Memory) String() string {
	return fmt.Sprintf("Redis memory in bytes, %d orders in batches of %d, each by a buyer of its own\n", m.Orders, m.Batch) +
		fmt.Sprintf("undrained order: %.0f = log %.0f + record %.0f\n", m.Undrained.Order(), m.Undrained.Log, m.Undrained.Record) +
		fmt.Sprintf("drained order, past its grace: %.1f\n", m.Drained.Order()) +
		fmt.Sprintf("distinct buyer: %.0f\n", m.Drained.Buyer) +
		fmt.Sprintf("by the whole server's count: %.0f with the buyer, %.0f once drained\n", m.Undrained.Server, m.Drained.Server)
}
