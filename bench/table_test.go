package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

func sampleReport() Report {
	op := OpReport{
		Name: "order", Accepted: 998, Refused: map[string]int64{"sold_out": 3990},
		Failed:            map[string]int64{"503 overloaded": 10, "504 outcome_unknown": 2},
		AcceptedPerSecond: 15968,
		AcceptedLatency:   Latency{P50Us: 1250, P95Us: 2400, P99Us: 3100, P999Us: 9100, P9999Us: 12345, MaxUs: 12345},
		RefusedLatency:    Latency{P50Us: 410, P95Us: 800, P99Us: 1100, P999Us: 1500, P9999Us: 5000, MaxUs: 5000},
	}
	return Report{
		Scenario: "rush", About: "a crowd for a small stock", Target: "http://127.0.0.1:3000", Product: "bench-1752148800-00c0ffee",
		Started:  time.Date(2025, 7, 10, 12, 0, 0, 0, time.UTC),
		Settings: Settings{Buyers: 5000, Visits: 5000, Products: 1, Units: 1000, Connections: 64, Seed: 1},
		Accepted: 998, Refused: op.Refused, Failed: op.Failed, Ops: []OpReport{op},
		Placed: 1000, Found: 2, Seconds: 0.0625, AcceptedPerSecond: 15968, RequestsPerSecond: 80000,
		Latency:  Latency{P50Us: 500, P95Us: 1900, P99Us: 2800, P999Us: 9100, P9999Us: 12345, MaxUs: 12345},
		LagAtEnd: Moment{Seconds: 0.07, LagOrders: 120, LagSeconds: 0.011},
		Stock:    Stock{Initial: 1000, Sold: 1000}, LookedUp: 1000, Durable: 1000, LedgerSeconds: 0.21, Checked: true, Proven: true,
		Claims:     []Claim{{Rule: ruleSold, Scope: "the product", Holds: true}},
		Violations: []Breach{},
	}
}

func TestTables(t *testing.T) {
	broken := sampleReport()
	broken.Checked, broken.Proven = false, false
	broken.Violations = []Breach{
		{Rule: ruleSold, Want: "1000", Got: "1003"},
		{Rule: ruleFound, Want: "1000", Got: "999, not 0197f3a2-5c1e-7001-9a4b-3f6d2c8e1b70"},
	}
	broken.Claims = []Claim{{Rule: ruleSold, Scope: "the product", Holds: false}}
	quiet := Report{Scenario: "rush", Target: "http://127.0.0.1:3000", Product: "demo", Settings: broken.Settings}
	open := sampleReport()
	open.Settings.Rate, open.Late = 20_000, &Lateness{Latency: Latency{P50Us: 60, P99Us: 900}, Visits: 4997, Dropped: 3}
	quiet.Error, quiet.Details = "no order was accepted: 400 invalid_request 100 (no replica)", map[string]string{"400 invalid_request": "no replica"}
	saturated := open
	saturated.LookedUp, saturated.Durable, saturated.Stolen = 500, 500, 0.144
	open.Stolen = 0.019 // not worth a word
	saturated.Late = &Lateness{Latency: Latency{P50Us: 600, P99Us: 900}, Visits: 4900, Dropped: 1234}
	untold := sampleReport()
	untold.Unresolved, untold.Undecided, untold.Proven, untold.Checked = 1, 2, false, true
	untold.Error = "nobody can tell what became of 3 orders, such as one of bench-1752148800-00c0ffee-17"
	tests := map[string]Report{
		"table_exact": sampleReport(), "table_broken": broken, "table_unproven": quiet, "table_open": open,
		"table_saturated": saturated, "table_untold": untold,
	}
	for name, report := range tests {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			require.NoError(t, report.WriteTable(&got))
			compareGolden(t, filepath.Join("testdata", name+".golden"), got.Bytes())
		})
	}
}

func TestOverrun(t *testing.T) {
	for name, tt := range map[string]struct {
		dropped, late int64
		want          string
	}{
		"a hundredth dropped": {dropped: 10},
		"more dropped":        {dropped: 11, want: "11 of 1,000 visits were dropped"},
		"half of it late":     {late: 1400},
		"more of it late":     {late: 1401, want: "visits were begun up to 1.40 ms late, of 2.80 ms that orders took (p99)"},
	} {
		t.Run(name, func(t *testing.T) {
			r := sampleReport()
			r.Late = &Lateness{Latency: Latency{P99Us: tt.late}, Visits: 1000 - tt.dropped, Dropped: tt.dropped}
			assert.Equal(t, tt.want, r.Overrun())
			assert.Equal(t, tt.want != "", strings.Contains(r.Verdict(), "about the bench, not the service"))
			r.Ops[0].Failed["503 unavailable"] = 38
			assert.Equal(t, tt.want != "", strings.Contains(r.Verdict(), "about the bench, not the service"), "50 of 5,038 failed")
			r.Ops[0].Failed["503 unavailable"] = 39
			assert.Equal(t, tt.want != "", strings.Contains(r.Verdict(), "not kept while requests failed: rates and latencies are of a service that stood still"))
			assert.Equal(t, tt.want != "", strings.Contains(r.caption(), "connections waited while requests failed"))
		})
	}
}

func TestVerdictSaysWhatItRestsOn(t *testing.T) {
	r := sampleReport()
	assert.Contains(t, r.Verdict(), "nothing twice (each order looked up; --rows reads every row)")
	r.LookedUp--
	assert.Contains(t, r.Verdict(), "nothing twice (by a sample; --rows reads every row)")
	r.RowsRead = true
	assert.NotContains(t, r.Verdict(), "--rows")
}

func TestReportAsJSON(t *testing.T) {
	report := sampleReport()
	got, err := json.MarshalIndent(report, "", "  ")
	require.NoError(t, err)
	compareGolden(t, filepath.Join("testdata", "report.json.golden"), append(got, '\n'))
}

// compareGolden fails where the file is missing; `go test ./bench -update` writes it.
func compareGolden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "write it with -update")
	assert.Equal(t, string(want), string(got))
}

func TestTableThatCannotBeWritten(t *testing.T) {
	require.ErrorIs(t, (&Report{}).WriteTable(brokenPipe{}), errPipe)
}

var errPipe = errors.New("pipe is broken")

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errPipe }
