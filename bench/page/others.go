package page

import (
	"fmt"
	"math"

	"flashsale/bench"
	"flashsale/bench/compare"
	"flashsale/bench/cost"
)

// Failed shows a part that did not come to its end.
func Failed(title string, err error) Section {
	return Section{ID: title, Title: title, Verdict: "did not come to its end", Wrong: []string{err.Error()}}
}

// Compare shows the engine against its rivals, a section a load.
func Compare(r *compare.Report) []Section {
	sections := make([]Section, 0, len(r.Loads))
	for i := range r.Loads {
		sections = append(sections, compareSection(r, &r.Loads[i]))
	}
	return sections
}

func compareSection(r *compare.Report, l *compare.Load) Section {
	engine := l.Engine()
	s := Section{
		ID: fmt.Sprintf("compare-%d", l.Connections), Title: fmt.Sprintf("compare, %d connections", l.Connections),
		Lead:    "the engine against what one would use instead, same servers, same run, same front",
		Verdict: r.Verdict(l), OK: engine.SoldExactly, Tiles: engineTiles(engine),
		Facts: []Fact{
			{"Connections", fmt.Sprintf("%d, each with one request under way", l.Connections)},
			{"Rounds", bench.Medians(r.Rounds) + " of " + trim(r.RoundSeconds) + " s each, in turn"},
			{"Sold out", fmt.Sprintf("%s units by each", count(r.Units))},
		},
	}
	s.Facts = append(s.Facts, stolenFacts(l.Stolen)...)
	table := Table{
		Head:   []string{"", "engine is", "sold exactly", "p50", "p99", "of the floor", "accepted/s"},
		Footer: "The floor answers and does nothing: no system behind this front can be faster on this machine.",
	}
	fastest := 1.0
	for i := range l.Rows {
		fastest = math.Max(fastest, l.Rows[i].AcceptedPerSecond)
	}
	for i := range l.Rows {
		row := &l.Rows[i]
		for _, wrong := range row.Wrong {
			s.Wrong = append(s.Wrong, row.Name+": "+wrong)
		}
		table.Rows = append(table.Rows, compareRow(row, fastest))
	}
	s.Tables = []Table{table}
	return s
}

func compareRow(row *compare.Row, fastest float64) Row {
	exact, times := "–", ""
	if row.Role != compare.RoleFloor {
		exact = map[bool]string{true: "✓ yes", false: "✗ no"}[row.SoldExactly]
	}
	if row.EngineTimes > 0 {
		times = trim(row.EngineTimes) + " ×"
	}
	p50, p50Unit := duration(row.P50Us)
	p99, p99Unit := duration(row.P99Us)
	shown := Row{
		Cells: []string{
			row.Name, times, exact, p50 + " " + p50Unit, p99 + " " + p99Unit, trim(row.OfFloor), count(int64(row.AcceptedPerSecond + 0.5)),
		},
		Bar: math.Max(0.5, 100*row.AcceptedPerSecond/fastest), Class: "rival",
	}
	if row.Role == compare.RoleEngine {
		shown.Class = "strong"
	}
	return shown
}

func engineTiles(row *compare.Row) []Tile {
	p50, p50Unit := duration(row.P50Us)
	p99, p99Unit := duration(row.P99Us)
	return []Tile{
		{Name: "engine", Value: count(int64(row.AcceptedPerSecond + 0.5)), Unit: "/s"},
		{Name: "of the floor", Value: trim(row.OfFloor)},
		{Name: "p50", Value: p50, Unit: p50Unit},
		{Name: "p99", Value: p99, Unit: p99Unit},
	}
}

// Cost shows what orders take of Redis.
func Cost(r *cost.Report) Section {
	s := Section{ID: "redis", Title: "redis", Lead: "what an order takes of Redis: CPU by the size of a batch, and memory", OK: true}
	for i := range r.Shapes {
		s.Tables = append(s.Tables, costTable(r, &r.Shapes[i]))
	}
	if best, ok := cheapest(r); ok {
		s.Verdict = fmt.Sprintf("%s µs of Redis for an order, in batches of %d", trim(best.us), best.batch)
		s.Tiles = append(s.Tiles, Tile{Name: "an order", Value: trim(best.us), Unit: "µs", Note: fmt.Sprintf("batches of %d", best.batch)})
	}
	for _, f := range r.Floors {
		s.Tiles = append(s.Tiles, Tile{Name: "floor", Value: trim(f.Us), Unit: "µs", Note: f.Name})
	}
	if m := r.Memory; m != nil {
		s.Tiles = append(s.Tiles,
			Tile{Name: "waits for the ledger", Value: count(int64(m.Undrained.Order() + 0.5)), Unit: "B", Note: "an order"},
			Tile{Name: "drained", Value: count(int64(m.Drained.Order() + 0.5)), Unit: "B", Note: "an order"},
			Tile{Name: "a buyer", Value: count(int64(m.Drained.Buyer + 0.5)), Unit: "B"})
	}
	return s
}

type costOf struct {
	us    float64
	batch int
}

// cheapest is the plain sale at the batch that costs least.
func cheapest(r *cost.Report) (best costOf, ok bool) {
	if len(r.Shapes) == 0 || len(r.Kinds) == 0 {
		return best, false
	}
	for _, b := range r.Shapes[0].Batches {
		if us := b.Us[r.Kinds[0]]; us > 0 && (!ok || us < best.us) {
			best, ok = costOf{us, b.Batch}, true
		}
	}
	return best, ok
}

func costTable(r *cost.Report, shape *cost.ShapeCost) Table {
	t := Table{
		Head:   []string{"orders a call"},
		Footer: fmt.Sprintf("µs of Redis CPU an order, from INFO cpu; Redis %s, %s of %s orders", r.Redis, bench.Medians(r.Rounds), count(int64(r.Orders))),
	}
	for _, kind := range r.Kinds {
		t.Head = append(t.Head, string(kind))
	}
	for _, b := range shape.Batches {
		cells := []string{fmt.Sprint(b.Batch)}
		for _, kind := range r.Kinds {
			cells = append(cells, trim(b.Us[kind]))
		}
		t.Rows = append(t.Rows, Row{Cells: cells})
	}
	return t
}
