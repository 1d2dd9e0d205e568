package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// grafanaPanel is what tests read of a panel.
type grafanaPanel struct {
	Title       string
	Type        string
	Targets     []struct{ Expr string }
	Options     struct{ ReduceOptions struct{ Calcs []string } }
	FieldConfig struct {
		Defaults struct {
			Mappings []struct {
				Type    string
				Options struct{ Match string }
			}
		}
	}
}

func grafanaPanels(t testing.TB) []grafanaPanel {
	t.Helper()
	var dashboard struct{ Panels []grafanaPanel }
	require.NoError(t, json.Unmarshal([]byte(fileOf(t, "deploy/grafana/dashboards/flashsale.json")), &dashboard))
	require.NotEmpty(t, dashboard.Panels)
	return dashboard.Panels
}

// TestDashboardQueries has every query of the Grafana dashboard parsed by promtool, and every metric in it known.
func TestDashboardQueries(t *testing.T) {
	known := knownMetrics(t)
	var rules bytes.Buffer
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	for _, panel := range grafanaPanels(t) {
		require.True(t, panel.Type == "row" || len(panel.Targets) > 0, "%s shows nothing", panel.Title)
		for i, target := range panel.Targets {
			requireKnown(t, known, target.Expr, panel.Title)
			fmt.Fprintf(&rules, "  - record: panel_%d_%d\n    expr: %q\n", rules.Len(), i, promQL(target.Expr))
		}
	}
	require.Greater(t, strings.Count(rules.String(), "record:"), 20)
	file := filepath.Join(t.TempDir(), "rules.yml")
	require.NoError(t, os.WriteFile(file, rules.Bytes(), 0o600))
	tool(t, ".", "", nil, "promtool", "check", "rules", file)
}

func promQL(expr string) string { return strings.ReplaceAll(expr, "$__rate_interval", "1m") }

// TestGrafanaTellsWhatItDoesNotKnow: the one figure that a panel shows large is of now. Where no process answers, or no order
// comes, it is no number, which is shown as such; not the last that there was, nor a zero that nobody has counted.
func TestGrafanaTellsWhatItDoesNotKnow(t *testing.T) {
	var cases bytes.Buffer
	cases.WriteString("tests:\n- interval: 5s\n  promql_expr_test:\n")
	for _, panel := range grafanaPanels(t) {
		if panel.Type != "stat" {
			continue
		}
		require.Equal(t, []string{"last"}, panel.Options.ReduceOptions.Calcs, panel.Title)
		require.Len(t, panel.FieldConfig.Defaults.Mappings, 1, panel.Title)
		require.Equal(t, "null+nan", panel.FieldConfig.Defaults.Mappings[0].Options.Match, panel.Title)
		for _, target := range panel.Targets {
			noNumber := fmt.Sprintf("count((%[1]s) != (%[1]s))", promQL(target.Expr))
			fmt.Fprintf(&cases, "  - {expr: %q, eval_time: 1m, exp_samples: [{value: 1}]}\n", noNumber)
		}
	}
	require.Equal(t, 7, strings.Count(cases.String(), "expr:"))
	file := filepath.Join(t.TempDir(), "cases.yml")
	require.NoError(t, os.WriteFile(file, cases.Bytes(), 0o600))
	tool(t, ".", "", nil, "promtool", "test", "rules", file)
}
