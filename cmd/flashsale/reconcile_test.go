package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
	"flashsale/persist/reconcile"
)

func reconcileCommand(t testing.TB, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, append([]string{"reconcile"}, args...)...)
	cmd.Dir = t.TempDir()
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "USER=ann"}, env...)
	return cmd
}

func runReconcile(t testing.TB, env []string, args ...string) ran {
	t.Helper()
	cmd := reconcileCommand(t, env, args...)
	var output, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &problems
	if err := cmd.Run(); err != nil {
		require.ErrorAs(t, err, new(*exec.ExitError))
	}
	return ran{cmd.ProcessState.ExitCode(), output.String(), problems.String()}
}

// lose has Redis forget what a buyer has bought.
func (s *sharedStores) lose(t testing.TB, product, user string) {
	t.Helper()
	client, err := engine.Connect(t.Context(), s.redis.URL())
	require.NoError(t, err)
	defer client.Close()
	var epoch engine.Epoch
	partition := engine.PartitionOf(product, 4)
	const query = `SELECT epoch, namespace FROM partitions WHERE partition = $1`
	require.NoError(t, s.pool.QueryRow(t.Context(), query, partition).Scan(&epoch.Number, &epoch.Namespace))
	keys, err := engine.NewKeys("fs", partition, epoch.Namespace)
	require.NoError(t, err)
	hdel := client.B().Hdel().Key(keys.Buyers).Field(engine.BuyerField(product, user)).Build()
	n, err := client.Do(t.Context(), hdel).AsInt64()
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
}

func TestReconcileBesideAService(t *testing.T) {
	t.Parallel()
	s := newStores(t)
	p := start(t, nil, s.env()...)
	p.product("lamp", 10)
	p.product("sofa", 10)
	status, _ := p.order("lamp", "ann")
	require.Equal(t, http.StatusCreated, status)

	clean := runReconcile(t, s.env())
	require.Zero(t, clean.code, clean.problems)
	require.Contains(t, clean.output, "clean: Redis and the ledger agree\ncompared: 2 products, ")
	p.awaitReconciliation("clean", 0)

	s.lose(t, "lamp", "ann")
	drift := runReconcile(t, s.env())
	require.Equal(t, exitDrift, drift.code)
	require.Equal(t, "flashsale: 1 drift\n", drift.problems)
	for _, words := range []string{
		"drift: 1 × buyer count\n", "│ buyer count ", "│ product lamp", "│ buyer ann", "Redis: does not know the buyer",
		"ledger: the buyer's orders are 1 bought, 0 held", "the buyer could buy more than the", "repair: shut the partition,", "Nothing was changed.",
	} {
		require.Contains(t, drift.output, words)
	}
	p.awaitReconciliation("drift", 1)
	require.Contains(t, p.text("/metrics"), "\nflashsale_reconcile_drift 1\n")
	_, health := p.get("/monitoring/health")
	require.Equal(t, "degraded", health["status"])
	require.Zero(t, runReconcile(t, s.env(), "--product", "sofa").code, "of what is not asked for nothing is said")

	unknown := runReconcile(t, s.env(), "--product", "lamp", "--product", "settee")
	require.Equal(t, exitUnknown, unknown.code)
	require.Contains(t, unknown.output, "can't tell: there is no product settee, neither in the ledger nor in Redis\n")

	var report reconcile.Report
	asJSON := runReconcile(t, s.env(), "--json", "--product", "lamp")
	require.Equal(t, exitDrift, asJSON.code)
	require.NoError(t, json.Unmarshal([]byte(asJSON.output), &report))
	require.Equal(t, engine.ReconciledDrift, report.Outcome)
	require.Equal(t, []reconcile.Class{reconcile.BuyerCount}, []reconcile.Class{report.Findings[0].Class})
	require.Equal(t, "ann", report.Findings[0].User)

	repair := runReconcile(t, s.env(), "--apply", "--actor", "finance")
	require.Zero(t, repair.code, "%s\n%s", repair.output, repair.problems)
	require.Contains(t, repair.output, "clean: Redis and the ledger agree; 1 repaired")
	p.awaitReconciliation("clean", 0)
	require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM reconcile_runs WHERE actor = 'finance' AND apply AND repaired = 1`))
	status, _ = p.order("lamp", "bob")
	require.Equal(t, http.StatusCreated, status)
}

func (p *process) text(path string) string {
	p.t.Helper()
	resp, err := httpClient.Get(p.base + path)
	require.NoError(p.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(p.t, err)
	return string(text)
}

// awaitReconciliation waits until the service shows how the last one ended.
func (p *process) awaitReconciliation(outcome string, drift float64) {
	p.t.Helper()
	eventually(p.t, "health to show a reconciliation that was "+outcome, func() bool {
		_, health := p.get("/monitoring/health")
		last, ok := health["reconciliation"].(map[string]any)
		return ok && last["outcome"] == outcome && last["drift"] == drift
	})
}

func TestReconcileWithoutAService(t *testing.T) {
	t.Parallel()
	s := newStores(t)
	p := start(t, nil, s.env()...)
	p.product("lamp", 10)
	status, _ := p.order("lamp", "ann")
	require.Equal(t, http.StatusCreated, status)
	p.interrupt()

	s.lose(t, "lamp", "ann")
	require.Equal(t, exitDrift, runReconcile(t, s.env()).code)
	repair := runReconcile(t, s.env(), "--apply")
	require.Zero(t, repair.code, "%s\n%s", repair.output, repair.problems)

	_, err := s.pool.Exec(t.Context(), `UPDATE partitions SET operator_hold = 'the ledger was restored' WHERE partition = 1`)
	require.NoError(t, err)
	held := runReconcile(t, s.env())
	require.Equal(t, exitUnknown, held.code)
	require.Contains(t, held.output, "can't tell: ")
	require.Contains(t, held.output, "partition 1 is held for an operator: the ledger was restored")

	refused := runReconcile(t, s.env(), "--rebuild", "--partition", "1")
	require.Equal(t, exitUnknown, refused.code)
	require.Contains(t, refused.problems, "--release-hold")
	released := runReconcile(t, s.env(), "--rebuild", "--partition", "1", "--release-hold")
	require.Zero(t, released.code, released.problems)
	require.Contains(t, released.output, "the operator's hold on it is released: the ledger was restored")
	all := runReconcile(t, s.env(), "--rebuild")
	require.Zero(t, all.code, all.problems)
	require.Equal(t, 4, strings.Count(all.output, "is written anew from the ledger and open"))
	require.Zero(t, runReconcile(t, s.env()).code)
}

func TestWhatReconcileCannotTellIsNoDrift(t *testing.T) {
	t.Parallel()
	s := newMigratedStores(t)
	for name, c := range map[string]struct {
		env, args []string
		problem   string
	}{
		"no ledger":           {[]string{"REDIS_URL=" + s.redis.URL(), "DATABASE_URL=postgres://127.0.0.1:1/none"}, nil, "DATABASE_URL"},
		"no Redis":            {[]string{"REDIS_URL=redis://127.0.0.1:1", "DATABASE_URL=" + s.dbURL}, nil, "REDIS_URL"},
		"never used":          {s.env(), nil, "the ledger has no partition 0: no server has run yet"},
		"no such product":     {s.env(), []string{"--product", ".p"}, "--product"},
		"flags at odds":       {s.env(), []string{"--rebuild", "--apply"}, "--rebuild"},
		"a repair of a part":  {s.env(), []string{"--product", "lamp", "--apply"}, "--apply goes without --product"},
		"nothing to release":  {s.env(), []string{"--release-hold"}, "--rebuild"},
		"a watch without end": {s.env(), []string{"--watch", "0"}, "--watch needs an interval above 0"},
		"an unknown flag":     {s.env(), []string{"--nonsense"}, "--nonsense"},
	} {
		t.Run(name, func(t *testing.T) {
			got := runReconcile(t, c.env, c.args...)
			require.Equal(t, exitUnknown, got.code, got.problems)
			require.Contains(t, got.problems, c.problem)
		})
	}
}

func TestReconcileWatches(t *testing.T) {
	t.Parallel()
	s := newStores(t)
	p := start(t, nil, s.env()...)
	p.product("lamp", 10)
	output := &devtest.Output{}
	cmd := reconcileCommand(t, s.env(), "--watch", "50ms")
	cmd.Stdout, cmd.Stderr = output, output
	require.NoError(t, cmd.Start())
	eventually(t, "two rounds, a line each", func() bool { return strings.Count(output.String(), "\n") >= 2 })
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait(), "%s", output)
	for line := range strings.Lines(output.String()) {
		require.Regexp(t, `^20\S+Z  clean: Redis and the ledger agree  \(1 product, 0 orders with units, 0 buyers, 0 records in Redis; \d+\.\d\d s\)\n$`, line)
	}
}

// newSale is a shop whose one order, of a lamp by ann, is in the ledger.
func newSale(t *testing.T) *sharedStores {
	t.Helper()
	s := newStores(t)
	p := start(t, nil, s.env()...)
	p.product("lamp", 10)
	p.order("lamp", "ann")
	eventually(t, "the ledger to have it", func() bool { return s.count(t, `SELECT count(*) FROM orders`) == 1 })
	return s
}

// A watch that has seen drift does not end as if it had not, whatever the last round found.
func TestAWatchThatSawDriftSaysSo(t *testing.T) {
	t.Parallel()
	s := newSale(t)
	s.lose(t, "lamp", "ann")
	output := &devtest.Output{}
	cmd := reconcileCommand(t, s.env(), "--watch", "50ms")
	cmd.Stdout, cmd.Stderr = output, output
	require.NoError(t, cmd.Start())
	eventually(t, "a round with drift", func() bool { return strings.Contains(output.String(), "drift: 1 × buyer count") })
	require.Zero(t, runReconcile(t, s.env(), "--apply").code)
	eventually(t, "a round without", func() bool { return strings.Contains(output.String(), "clean: ") })
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.Error(t, cmd.Wait())
	require.Equal(t, exitDrift, cmd.ProcessState.ExitCode(), "%s", output)
}

// What --apply could not repair is not called unchanged, and --apply is not what is to be done about it.
func TestApplySaysWhatItLeaves(t *testing.T) {
	t.Parallel()
	s := newSale(t)
	_, err := s.pool.Exec(t.Context(), `UPDATE products SET sold = 3`)
	require.NoError(t, err)
	require.Contains(t, runReconcile(t, s.env()).output, "Nothing was changed. --apply does what stands under")
	left := runReconcile(t, s.env(), "--apply")
	require.Equal(t, exitDrift, left.code)
	require.Contains(t, left.output, "Nothing could be repaired: \"repair\" says why, and what is to be done by hand.\n")
	require.NotContains(t, left.output, "Nothing was changed")

	_, err = s.pool.Exec(t.Context(), `UPDATE partitions SET cancelled_orders = 5 WHERE partition <> (SELECT partition FROM products)`)
	require.NoError(t, err)
	some := runReconcile(t, s.env(), "--apply")
	require.Equal(t, exitDrift, some.code)
	require.Contains(t, some.output, "3 drifts repaired, 1 drift left: ")
}
