package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// awaitSaid polls readiness until it says something, and checks that the process lives meanwhile.
func (p *process) awaitSaid(status int, words string) {
	p.t.Helper()
	eventually(p.t, "/readyz to say "+words, func() bool {
		select {
		case <-p.ended:
			require.FailNow(p.t, "the process ended", "%s", p.output)
		default:
		}
		got, said := p.get("/readyz")
		return got == status && strings.Contains(fmt.Sprint(said), words)
	})
	got, _ := p.get("/livez")
	require.Equal(p.t, http.StatusOK, got)
}

// Whichever of the three is there first, the service listens, says what it waits for, and opens when all are there; and again
// when one goes away and comes back.
func TestStoresMayComeInAnyOrder(t *testing.T) {
	t.Parallel()
	redis, postgres := devtest.Redis(t), devtest.Postgres(t)
	require.NoError(t, redis.Kill())
	require.NoError(t, postgres.Kill())
	p := launch(t, []string{binary}, nil, "REDIS_URL="+redis.URL(), "DATABASE_URL="+postgres.URL())
	p.awaitSaid(http.StatusServiceUnavailable, "waits for its stores")
	p.awaitSaid(http.StatusServiceUnavailable, "redis: no answer in time")
	status, problem := p.order("lamp", "ann")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Equal(t, "unavailable", problem["code"])
	status, health := p.get("/monitoring/health")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, fmt.Sprint(health["problems"]), "Postgres does not answer")

	require.NoError(t, redis.Restart(t.Context()))
	eventually(t, "Redis to be there", func() bool {
		_, health := p.get("/monitoring/health")
		return !strings.Contains(fmt.Sprint(health["problems"]), "Redis")
	})
	p.awaitSaid(http.StatusServiceUnavailable, "postgres: no answer in time")
	require.NoError(t, postgres.Restart(t.Context()))
	p.awaitReady()
	p.product("lamp", 100)
	p.sells("before")

	for name, server := range map[string]interface{ Kill() error }{"redis": redis, "postgres": postgres} {
		require.NoError(t, server.Kill())
		ready := map[string]int{"redis": http.StatusServiceUnavailable, "postgres": http.StatusOK}[name] // orders go on without Postgres
		p.awaitSaid(ready, name+": ")
		status, health := p.get("/monitoring/health")
		if name == "redis" {
			require.Equal(t, http.StatusServiceUnavailable, status, health)
			require.NoError(t, redis.Restart(t.Context()))
		} else {
			require.Equal(t, http.StatusOK, status, health)
			require.Contains(t, fmt.Sprint(health["problems"]), "orders go on")
			require.NoError(t, postgres.Restart(t.Context()))
		}
		p.awaitReady()
		p.sells("after-" + name)
	}
	require.Less(t, p.end(syscall.SIGTERM), patience)
}

// sells waits until an order that waits for the ledger goes through.
func (p *process) sells(user string) {
	p.t.Helper()
	eventually(p.t, "an order of "+user, func() bool {
		status, _ := p.post("/orders", fmt.Sprintf(`{"productId":"lamp","userId":%q,"quantity":1,"durability":"ledger"}`, user))
		return status == http.StatusCreated
	})
}

// The rights that docs/security.md gives the Redis user are enough for all of it: selling, holds, and a restart.
func TestTheRedisUserOfTheDocumentation(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "security.md"))
	require.NoError(t, err)
	rule := regexp.MustCompile(`(?s)\nuser flashsale on >secret (.*?)\n` + "```").FindStringSubmatch(string(text))
	require.NotEmpty(t, rule)
	port := devtest.FreePort(t)
	redis := devtest.Redis(t, "user shop on nopass "+strings.ReplaceAll(rule[1], "\\\n", " "), "bind 127.0.0.1", fmt.Sprint("port ", port))
	p := start(t, nil, fmt.Sprintf("REDIS_URL=redis://shop:x@127.0.0.1:%d", port), "DATABASE_URL="+devtest.Database(t))
	p.product("lamp", 10)
	p.sells("ann")
	_, hold := p.post("/orders", `{"productId":"lamp","userId":"bob","quantity":1,"holdSeconds":60}`)
	status, a := p.post(fmt.Sprintf("/orders/%s/confirm", hold["orderId"]), `{"durability":"ledger"}`)
	require.Equal(t, http.StatusOK, status, a)
	require.NoError(t, redis.Restart(t.Context()))
	p.sells("carol")
	require.NotContains(t, p.output.String(), "NOPERM")
}

func TestAServiceThatWaitsEndsOnSIGTERM(t *testing.T) {
	t.Parallel()
	p := launch(t, []string{binary}, nil, "REDIS_URL=unix:///nobody/listens.sock", "DATABASE_URL=postgres://127.0.0.1:1/none")
	p.awaitSaid(http.StatusServiceUnavailable, "waits for its stores")
	require.Less(t, p.end(syscall.SIGTERM), 5*time.Second)
}

// What no waiting cures ends the process, with the reason.
func TestWhatIsSetUpWrongIsRefused(t *testing.T) {
	t.Parallel()
	const user = "user shop on nopass ~fs:* resetchannels -@all +@all "
	for name, c := range map[string]struct {
		redis []string // settings
		url   string
		why   string
	}{
		"an evicting server":  {redis: []string{"maxmemory-policy allkeys-lru"}, why: "would evict stock"},
		"a wrong password":    {redis: []string{user}, url: "user:canary@", why: "WRONGPASS"},
		"INFO is forbidden":   {redis: []string{user + "-info"}, url: "shop:x@", why: "no permissions to run the 'info' command"},
		"rewrite, and XTRIM":  {redis: []string{user + "-bgrewriteaof -xtrim"}, url: "shop:x@", why: "lacks +bgrewriteaof +xtrim"},
		"keys of another one": {redis: []string{"user shop on nopass ~other:* +@all"}, url: "shop:x@", why: "it needs ~fs:*"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := devtest.FreePort(t)
			devtest.Redis(t, append(c.redis, "bind 127.0.0.1", fmt.Sprint("port ", port))...)
			serve := exec.CommandContext(t.Context(), binary, "serve")
			serve.Dir = t.TempDir()
			serve.Env = []string{
				"ADMIN_TOKEN=" + adminToken, fmt.Sprint("PORT=", devtest.FreePort(t)), "DATABASE_URL=" + devtest.Database(t),
				fmt.Sprintf("REDIS_URL=redis://%s127.0.0.1:%d", c.url, port),
			}
			output, err := serve.CombinedOutput()
			require.Error(t, err)
			require.Contains(t, string(output), c.why)
			require.NotContains(t, string(output), "canary")
		})
	}
}

// SIGTERM under load: whatever was answered 201, in whichever mode, is a row.
func TestSIGTERMUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	stores := newStores(t)
	p := start(t, nil, stores.env()...)
	p.product("lamp", 1_000_000)
	var mu sync.Mutex
	var granted []string
	var buyers sync.WaitGroup
	for i := range 16 {
		mode := []string{"fast", "ledger"}[i%2]
		buyers.Go(func() {
			for k := 0; ; k++ {
				status, a := p.post("/orders", fmt.Sprintf(`{"productId":"lamp","userId":"u-%d-%d","quantity":1,"durability":%q}`, i, k, mode))
				if status == 0 {
					return // the service has gone
				}
				if status == http.StatusCreated {
					id, _ := a["orderId"].(string)
					mu.Lock()
					granted = append(granted, id)
					mu.Unlock()
				}
			}
		})
	}
	eventually(t, "orders by the hundred", func() bool { mu.Lock(); defer mu.Unlock(); return len(granted) > 500 })
	require.Less(t, p.end(syscall.SIGTERM), 10*time.Second)
	buyers.Wait()
	require.EqualValues(t, len(granted), stores.count(t,
		`SELECT count(*) FROM orders WHERE status = 'confirmed' AND id = ANY ($1::uuid[])`, granted))
}
