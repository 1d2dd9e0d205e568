package main

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the tables in docs/ anew")

// scrape returns what Prometheus would read.
func (p *process) scrape() string {
	p.t.Helper()
	req, err := http.NewRequest(http.MethodGet, p.base+"/metrics", http.NoBody)
	require.NoError(p.t, err)
	req.Header.Set("Authorization", "Bearer "+adminToken)
	status, text := send(p.t, req)
	require.Equal(p.t, http.StatusOK, status)
	return text
}

// busyShop starts a service that has sold, held, refused and drained something, so that every metric has been at work.
func busyShop(t testing.TB) (*process, *sharedStores) {
	t.Helper()
	stores := newStores(t)
	p := start(t, nil, stores.env()...)
	p.product("phone", 3)
	p.product("lamp", 100)
	for _, user := range []string{"ann", "ben", "cem", "dan"} {
		p.order("phone", user)
	}
	status, held := p.post("/orders", `{"productId":"lamp","userId":"eve","quantity":2,"holdSeconds":300}`)
	require.Equal(t, http.StatusCreated, status, "%v", held)
	eventually(t, "the ledger to have all orders", func() bool { return stores.count(t, `SELECT count(*) FROM orders`) == 4 })
	return p, stores
}

// TestMetricsForPrometheus has promtool read what the service shows, and holds docs/metrics.md against it.
func TestMetricsForPrometheus(t *testing.T) {
	p, _ := busyShop(t)
	text := p.scrape()
	check := exec.Command("promtool", "check", "metrics")
	check.Stdin = strings.NewReader(text)
	said, err := check.CombinedOutput()
	require.NoError(t, err, "deploy/install-deps.sh test brings promtool\n%s", said)
	require.Empty(t, string(said), "a metric without help needs its line in httpapi/families.go")

	for _, series := range []string{
		`flashsale_orders_total{outcome="accepted"} 4`,
		`flashsale_orders_total{outcome="sold_out"} 1`,
		`flashsale_product_units{product="phone",state="sold"} 3`,
		`flashsale_product_units{product="phone",state="left"} 0`,
		`flashsale_product_units{product="lamp",state="held"} 2`,
		`flashsale_dependency_up{name="redis"} 1`,
		`flashsale_dependency_up{name="postgres"} 1`,
		`flashsale_dead_letters_open 0`,
		`flashsale_partition_state{partition="0",state="open"} 1`,
		`flashsale_partition_leader{partition="0"} 1`,
		`flashsale_ledger_lag_entries{partition="0"} 0`,
		`flashsale_backlog_cap_orders 5000000`,
		`flashsale_partition_aligned_total{how="rebuilt",reason="new"} 4`,
		`flashsale_partition_aligned_total{how="rebuilt",reason="missing"} 0`,
		`flashsale_build_info{version="dev"} 1`,
	} {
		require.Contains(t, text, series+"\n")
	}
	for _, family := range []string{"flashsale_queue_seconds", "flashsale_redis_call_seconds", "flashsale_ledger_delay_seconds"} {
		require.NotContains(t, text, family+"_count 0\n", "counts")
	}
	require.Equal(t, int64(1), sumOf(t, text, `flashsale_holds_active\{`))
	requireTable(t, filepath.Join("..", "..", "docs", "metrics.md"), metricsTable(text))
}

// sumOf adds up the series that a pattern finds.
func sumOf(t testing.TB, text, pattern string) (sum int64) {
	t.Helper()
	lines := regexp.MustCompile(`(?m)^`+pattern+`.*\} (\d+)$`).FindAllStringSubmatch(text, -1)
	require.NotEmpty(t, lines, pattern)
	for _, line := range lines {
		var n int64
		_, err := fmt.Sscan(line[1], &n)
		require.NoError(t, err)
		sum += n
	}
	return sum
}

// shown is what an exposition says of one family.
type shown struct {
	kind, help string
	labels     map[string]bool
}

var (
	metadataLine = regexp.MustCompile(`^# (HELP|TYPE) (\S+) (.*)$`)
	seriesLine   = regexp.MustCompile(`^([a-z_]+)(?:\{(.*)\})? \S+$`)
	labelName    = regexp.MustCompile(`([a-z]+)="`)
	partOfFamily = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// familiesOf reads an exposition.
func familiesOf(text string) map[string]*shown {
	found := make(map[string]*shown)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if m := metadataLine.FindStringSubmatch(line); m != nil {
			if found[m[2]] == nil {
				found[m[2]] = &shown{labels: make(map[string]bool)}
			}
			if m[1] == "HELP" {
				found[m[2]].help = m[3]
			} else {
				found[m[2]].kind = m[3]
			}
		} else if m := seriesLine.FindStringSubmatch(line); m != nil {
			f := cmp.Or(found[m[1]], found[partOfFamily.ReplaceAllString(m[1], "")])
			for _, label := range labelName.FindAllStringSubmatch(m[2], -1) {
				if label[1] != "le" && label[1] != "quantile" {
					f.labels[label[1]] = true
				}
			}
		}
	}
	return found
}

// metricsTable is the table of docs/metrics.md.
func metricsTable(text string) string {
	families := familiesOf(text)
	var b strings.Builder
	b.WriteString("| metric | type | labels | what it tells |\n|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(families)) {
		f := families[name]
		labels := strings.Join(slices.Sorted(maps.Keys(f.labels)), ", ")
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, f.kind, labels, f.help)
	}
	return b.String()
}

// requireTable holds the only generated table of a document against what it should be; `go test ./cmd/flashsale -update`
// writes it anew.
func requireTable(t *testing.T, path, want string) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	const begin, end = "<!-- table -->\n", "<!-- end of table -->\n"
	before, rest, found := strings.Cut(string(text), begin)
	require.True(t, found, "%s marks where its table begins", path)
	have, after, found := strings.Cut(rest, end)
	require.True(t, found, "%s marks where its table ends", path)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(before+begin+want+end+after), 0o644))
		return
	}
	require.Equal(t, want, have, "%s: write it anew with -update", path)
}
