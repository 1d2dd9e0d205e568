package page

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"flashsale/bench/compare"
)

// comparedAt is a load of so many connections at which the engine accepts so much.
func comparedAt(connections int, accepted, times float64) compare.Load {
	return compare.Load{Connections: connections, Rows: []compare.Row{
		{Name: "floor", Role: compare.RoleFloor, AcceptedPerSecond: 100_000, P50Us: 450, P99Us: 1500, OfFloor: 1},
		{Name: "flashsale", Role: compare.RoleEngine, AcceptedPerSecond: accepted, P50Us: 1200, P99Us: 4400, OfFloor: 0.4, SoldExactly: true},
		{Name: "a rival", Role: compare.RoleRival, AcceptedPerSecond: 25_000, P50Us: 2300, P99Us: 5600, EngineTimes: times, SoldExactly: true},
	}}
}

func TestPageOfAComparison(t *testing.T) {
	r := &compare.Report{Rounds: 5, RoundSeconds: 1.5, Units: 300, Loads: []compare.Load{comparedAt(64, 40_000, 1.36), comparedAt(256, 45_000, 1.75)}}
	sections := Compare(r)
	require.Len(t, sections, 2)
	html := render(t, sections...)
	assert.Contains(t, html, `id="compare-64"`)
	assert.Contains(t, html, `id="compare-256"`)
	text := plain(html)
	for _, want := range []string{
		"all 2 parts passed", "compare, 64 connections", "compare, 256 connections", "ahead of all: 1.36 × a rival", "ahead of all: 1.75 × a rival",
		"40,000 /s", "45,000 /s", "Connections 64, each", "Connections 256, each", "medians of 5 rounds of 1.5 s each, in turn",
	} {
		assert.Contains(t, text, want)
	}

	wrong := r.Loads[1].Engine()
	wrong.SoldExactly, wrong.Wrong = false, []string{"7 left and 4 sold of 10"}
	sections = Compare(r)
	assert.True(t, sections[0].OK)
	assert.False(t, sections[1].OK)
	text = plain(render(t, sections...))
	assert.Contains(t, text, "1 of 2 parts failed")
	assert.Equal(t, 1, strings.Count(text, "flashsale: 7 left and 4 sold of 10"))

	const note = "Host the host gave 14 % of the CPU time of this virtual machine to others"
	assert.NotContains(t, text, note)
	r.Loads[0].Stolen = 0.14
	assert.Contains(t, plain(render(t, Compare(r)...)), note)
	assert.Empty(t, Compare(&compare.Report{}), "of a comparison that did not begin")
}
