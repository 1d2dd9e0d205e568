package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/bench"
	"flashsale/bench/page"
)

// quickSale is a sale of a scenario that is over in a moment, with a little of everything.
func quickSale(p *process, scenario string) bench.Options {
	o := bench.Options{
		Target: p.base, AdminToken: adminToken, Scenario: scenario, Connections: 16, Seed: 5, LedgerWait: patience, Lookups: 2000,
	}
	switch scenario {
	case "sustained", "mixed", "soldout":
		o.Duration = 500 * time.Millisecond
	case "many-products":
		o.Buyers, o.Products, o.Units = 1500, 50, 20
	default:
		o.Buyers, o.Units = 1000, 250
	}
	return o
}

// TestBenchProvesEveryScenario against a real service with tokens, down to the rows of its ledger.
func TestBenchProvesEveryScenario(t *testing.T) {
	token, line := newKey(t, "buyer", "bench", "")
	keys := filepath.Join(t.TempDir(), "keys")
	require.NoError(t, os.WriteFile(keys, []byte(line+"\n"), 0o600))
	stores := newStores(t)
	p := start(t, nil, append(stores.env(), "AUTH=keys", "API_KEYS_FILE="+keys)...)
	for _, scenario := range bench.Scenarios() {
		t.Run(scenario.Name, func(t *testing.T) {
			o := quickSale(p, scenario.Name)
			o.Token, o.DatabaseURL = token, stores.dbURL
			report, err := bench.Run(t.Context(), o)
			require.NoError(t, err)
			require.True(t, report.Proven)
			require.Empty(t, report.Failed)
			require.Positive(t, report.Placed)
			var rules []string
			for _, c := range report.Claims {
				rules = append(rules, c.Rule)
			}
			require.Contains(t, strings.Join(rules, "\n"), "every accepted order is one row of the ledger")
		})
	}
}

// TestBenchTour is `make bench`, a hundredth of it.
func TestBenchTour(t *testing.T) {
	stores, dir := newStores(t), t.TempDir()
	tour := exec.Command(binary, "bench", "tour", "--scale=0.01", "--out=results", "--partitions=1")
	tour.Dir, tour.Env, tour.Stderr = dir, append(stores.env(), "PATH="+os.Getenv("PATH")), os.Stderr
	out, err := tour.Output()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "all 11 parts passed")
	shown, err := os.ReadFile(filepath.Join(dir, "results", "report.html"))
	require.NoError(t, err)
	for _, part := range []string{"all 11 parts passed", "sold exactly: 200 of 200", "sustained, at half the rate", "compare, 64 connections", "compare, 256 connections", "batches of"} {
		require.Contains(t, string(shown), part)
	}
	var report tourReport
	data, err := os.ReadFile(filepath.Join(dir, "results", "report.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &report))
	require.Len(t, report.Sales, 8)
	for i := range report.Sales {
		require.True(t, report.Sales[i].Proven, report.Sales[i].Scenario)
	}
	require.Positive(t, report.Sales[2].Settings.Rate)
	require.Len(t, report.Compare.Loads, 2)
	require.Contains(t, report.Environment.Redis, "Redis ")
	require.Contains(t, report.Environment.Postgres, "Postgres ")
}

// TestBenchTourFailsWithAPart: the ledger books every seventh buyer's orders on nobody.
func TestBenchTourFailsWithAPart(t *testing.T) {
	stores := newStores(t)
	p := start(t, nil, stores.env()...)
	_, err := stores.pool.Exec(t.Context(), `
CREATE FUNCTION lose_buyer() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.user_id := 'nobody'; RETURN NEW; END $$;
CREATE TRIGGER damage BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW.user_id LIKE '%7') EXECUTE FUNCTION lose_buyer()`)
	require.NoError(t, err)
	own := &ownService{target: p.base, adminToken: adminToken, databaseURL: stores.dbURL}
	var report tourReport
	var shown page.Page
	require.ErrorIs(t, (&benchTour{Scale: 0.01}).sales(t.Context(), own, &report, &shown), errTour)
	require.False(t, shown.OK())
	require.Len(t, report.Sales, 8, "the others are made all the same")
	require.False(t, report.Sales[0].Proven)
	require.Contains(t, shown.Sections[0].Verdict, "NOT CORRECT: 1 broken")
	require.Contains(t, strings.Join(shown.Sections[0].Wrong, " "), "every accepted order ends as its buyer was told")
}
