package compare

import "slices"

// Report is what came of a comparison.
type Report struct {
	Rounds       int     `json:"rounds"` // at each count of connections
	RoundSeconds float64 `json:"roundSeconds"`
	Rate         float64 `json:"rate"`  // orders begun a second, on a schedule; 0 = as fast as the connections went
	Units        int64   `json:"units"` // that each had to sell out
	Loads        []Load  `json:"loads"` // in the order in which they were asked for; where the comparison broke off, those that were begun
}

// Load is what came of one count of connections: the floor, the engine, the rivals. Figures are medians over the rounds.
type Load struct {
	Connections int     `json:"connections"`
	Stolen      float64 `json:"stolen"` // share of this machine's CPU time in the rounds that its host gave to others
	Rows        []Row   `json:"rows"`
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

// Exact is true where the engine sold exactly, whatever the load.
func (r *Report) Exact() bool {
	for i := range r.Loads {
		if !r.Loads[i].Engine().SoldExactly {
			return false
		}
	}
	return len(r.Loads) > 0
}

// Engine returns its row; without any, an empty one.
func (l *Load) Engine() *Row {
	for i := range l.Rows {
		if l.Rows[i].Role == RoleEngine {
			return &l.Rows[i]
		}
	}
	return &Row{}
}

func (c *comparison) load() Load {
	l := Load{Connections: c.connections, Stolen: c.stolen()}
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
		l.Rows = append(l.Rows, row)
	}
	return l
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

// stolen is the mean over all rounds, for they are of the same length.
func (c *comparison) stolen() float64 {
	sum, rounds := 0.0, 0
	for _, e := range c.entries {
		for _, r := range e.rounds {
			sum += r.stolen
			rounds++
		}
	}
	return sum / float64(max(1, rounds))
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
