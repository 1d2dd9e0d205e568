package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// stock imports so many products of ten units each, p-000 and so on, beside a running service.
func (s *sharedStores) stock(t testing.TB, products int) {
	t.Helper()
	var csv strings.Builder
	csv.WriteString("id,name,price,initialStock\n")
	for i := range products {
		fmt.Fprintf(&csv, "p-%03d,Lamp %d,9.90,10\n", i, i)
	}
	file := filepath.Join(t.TempDir(), "products.csv")
	require.NoError(t, os.WriteFile(file, []byte(csv.String()), 0o600))
	cmd := exec.CommandContext(t.Context(), binary, "products", "import", file)
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), s.env()...)
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", said)
}

// TestTheDashboardMakesNothingUp has more products than it lists, a store that is away, and reconciliations.
func TestTheDashboardMakesNothingUp(t *testing.T) {
	t.Parallel() // it mostly waits
	s := newStores(t)
	p := start(t, nil, s.env()...)
	s.stock(t, 101)
	p.order("p-007", "ann")
	b := openBrowser(t)
	b.visit(p.base + "/dashboard")
	b.awaitText("#products-note", "^The first 100 of 101 products by id are shown, and looked through by Find.$")
	b.awaitText("#t-left", "^1,009$")
	b.awaitText("#t-sold", "^of 1,010; 101 products$")

	require.Zero(t, runReconcile(t, s.env()).code)
	b.awaitText("#reconcile", `^clean[0-9]+ s ago, at [0-9:]{8}$`)
	s.lose(t, "p-007", "ann")
	require.Equal(t, exitDrift, runReconcile(t, s.env()).code)
	b.awaitText("#reconcile", `^1 difference`)
	b.awaitText("#status", "^degraded$")
	b.awaitText("#problems", "^the last reconciliation found 1 thing")
	require.Zero(t, runReconcile(t, s.env(), "--apply").code)
	b.awaitText("#reconcile", `^clean.*1 repaired$`)
	b.await("no problem to be shown", `document.querySelector("#problems").hidden`)

	require.NoError(t, s.redis.Pause())
	b.awaitText("#t-left", `^\?$`)
	b.awaitText("#t-sold", `^not known since [0-9:]{8}$`)
	b.awaitText("#products-note", `^What is left is not known just now. What stands here is of [0-9:]{8}.$`)
	b.awaitText("#problems", "Redis does not answer")
	require.NoError(t, s.redis.Resume())
	b.awaitText("#t-left", "^1,009$")
	b.awaitText("#products-note", "^The first 100")
	b.requireQuiet(storeAway)

	p.interrupt()
	b.awaitText("#problems", `^This server has not answered since [0-9:]{8}\.`)
}

// TestTheDashboardWhilePostgresHangs says that orders go on, and goes on telling what is left.
func TestTheDashboardWhilePostgresHangs(t *testing.T) {
	t.Parallel()
	redis, postgres := devtest.Redis(t), devtest.Postgres(t)
	p := start(t, nil, "REDIS_URL="+redis.URL(), "DATABASE_URL="+postgres.URL(), "BACKLOG_CAP=1")
	p.product("lamp", 999_991)
	status, tent := p.do(http.MethodPost, "/inventory", fmt.Sprintf(`{"id":"tent","name":"Tent","price":9,"initialStock":5,"startsAt":%q}`,
		time.Now().Add(time.Hour).UTC().Format(time.RFC3339)))
	require.Equal(t, http.StatusCreated, status, "%v", tent)
	b := openBrowser(t)
	b.visit(p.base + "/dashboard")
	b.awaitText(lamp+".units", `^999\.9K$`)
	b.awaitText("#status", "^ok$")

	require.NoError(t, postgres.Pause())
	t.Cleanup(func() { _ = postgres.Resume() })
	b.awaitText("#problems", "^Postgres does not answer; orders go on and wait for it, products can't be changed$")
	b.awaitText("#status", "^degraded$")
	status, a := p.order("lamp", "ann")
	require.Equal(t, http.StatusCreated, status, "%v", a)
	b.awaitText(lamp+".counts", "^1 sold")
	b.awaitText("#t-sold", "^1 sold")
	eventually(t, "the page to say that orders fail", func() bool { // of the last ten seconds
		status, _ = p.order("lamp", "bob")
		require.Equal(t, http.StatusServiceUnavailable, status)
		return strings.Contains(b.text("#problems"), " % of order requests fail: overloaded")
	})
	b.awaitText("#status", "^degraded$")
	require.NoError(t, postgres.Resume())
	b.awaitText("#status", "^ok$")

	b.eval(`((real) => { Date.now = () => real() + 7_200_000 })(Date.now)`) // this screen's clock is two hours ahead
	p.order("lamp", "ben")
	b.awaitText(lamp+".counts", "^2 sold")
	b.awaitText(`.product[data-id="tent"] .state`, `^starts in (59|1 h)`) // by the server's clock
	b.requireQuiet(storeAway)
}

// TestTheDashboardBeforeTheStoresAreThere says what is waited for: a server that says so does answer.
func TestTheDashboardBeforeTheStoresAreThere(t *testing.T) {
	t.Parallel()
	s, redis := newStores(t), devtest.Redis(t)
	require.NoError(t, redis.Kill())
	p := launch(t, []string{binary}, nil, "REDIS_URL="+redis.URL(), "DATABASE_URL="+s.dbURL)
	p.awaitSaid(http.StatusServiceUnavailable, "waits for its stores")
	b := openBrowser(t)
	b.visit(p.base + "/dashboard")
	b.awaitText("#problems", "^Redis does not answer; no order is decided.*waits for its stores")
	b.awaitText("#status", "^down$")
	b.awaitText("#checks", `Redis\s*down`)
	b.awaitText("#link-text", "^disconnected since")
	b.awaitText("#reconcile", "^not known just now$")
	require.NoError(t, redis.Restart(t.Context()))
	b.awaitText("#link-text", "^live$")
	b.awaitText("#status", "^ok$")
	b.requireQuiet("WebSocket connection to .* failed", "status of 503")
}
