package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/bench/compare"
	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
	"flashsale/persist"
)

// TestBenchCompare has all compete on servers that are there; each sells exactly, and nothing of it stays.
func TestBenchCompare(t *testing.T) {
	redis, database := devtest.Redis(t, "appendfsync everysec").URL(), devtest.Database(t)
	competition := exec.Command(binary, "bench", "compare", "--json", "--rounds=1", "--duration=100ms", "--units=40", "--connections=8")
	competition.Dir, competition.Env, competition.Stderr = t.TempDir(), []string{"REDIS_URL=" + redis, "DATABASE_URL=" + database}, os.Stderr
	out, err := competition.Output()
	require.NoError(t, err)
	var report compare.Report
	require.NoError(t, json.Unmarshal(out, &report))

	require.Len(t, report.Loads, 1)
	require.Equal(t, 8, report.Loads[0].Connections)
	require.Len(t, report.Loads[0].Rows, 6)
	for _, row := range report.Loads[0].Rows {
		require.Positive(t, row.AcceptedPerSecond, row.Name)
		if !strings.HasPrefix(row.Name, "lock") { // its buyers are sent away after a second: a machine may stand still for that long
			require.Zero(t, row.Failed, row.Name)
		}
		require.Equal(t, row.Role != compare.RoleFloor, row.SoldExactly, "%s: %v", row.Name, row.Wrong)
	}

	client, err := engine.Connect(t.Context(), redis)
	require.NoError(t, err)
	defer client.Close()
	size, err := client.Do(t.Context(), client.B().Dbsize().Build()).AsInt64()
	require.NoError(t, err)
	require.Zero(t, size, "keys are left behind")
	pool, err := persist.Connect(t.Context(), database, 1)
	require.NoError(t, err)
	defer pool.Close()
	var left, tables int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM pg_database WHERE datname LIKE 'flashsale_bench_%'),
		(SELECT count(*) FROM pg_tables WHERE schemaname IN ('public', 'rival'))`).Scan(&left, &tables))
	require.Zero(t, left, "databases are left behind")
	require.Zero(t, tables, "the database that was named is not written to")
}

// TestBenchCompareFailsAtAnyCount: one at which the engine sold exactly is no excuse for another.
func TestBenchCompareFailsAtAnyCount(t *testing.T) {
	at := func(connections int, exactly bool) compare.Load {
		return compare.Load{Connections: connections, Rows: []compare.Row{{Name: "flashsale", Role: compare.RoleEngine, SoldExactly: exactly}}}
	}
	for name, tt := range map[string]struct {
		loads []compare.Load
		err   error // of the comparison
		want  error
	}{
		"exact":          {[]compare.Load{at(64, true), at(256, true)}, nil, nil},
		"not with one":   {[]compare.Load{at(64, false)}, nil, errNotExact},
		"not with first": {[]compare.Load{at(64, false), at(256, true)}, nil, errNotExact},
		"not with last":  {[]compare.Load{at(64, true), at(256, false)}, nil, errNotExact},
		"broke off":      {[]compare.Load{at(64, true), at(256, false)}, os.ErrDeadlineExceeded, os.ErrDeadlineExceeded},
		"did not begin":  {nil, os.ErrDeadlineExceeded, os.ErrDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			for _, asJSON := range []bool{false, true} {
				var out strings.Builder
				err := (&benchCompare{JSON: asJSON}).tell(&out, &compare.Report{Rounds: 5, Loads: tt.loads}, tt.err)
				require.ErrorIs(t, err, tt.want)
				for _, load := range tt.loads {
					require.Contains(t, out.String(), strconv.Itoa(load.Connections), "what there is is told")
				}
			}
		})
	}
}

func TestPrivateServers(t *testing.T) {
	t.Setenv("DATABASE_URL", "postgres://nobody.invalid/x") // not theirs
	s, err := startPrivate(t.Context(), "no")
	require.NoError(t, err)
	client, err := engine.Connect(t.Context(), s.redis.URL())
	require.NoError(t, err)
	settings, err := client.Do(t.Context(), client.B().ConfigGet().Parameter("appendfsync").Build()).AsStrMap()
	client.Close()
	require.NoError(t, err)
	require.Equal(t, map[string]string{"appendfsync": "no"}, settings)
	database, err := createDatabase(t.Context(), s.postgres.DatabaseURL(), "bench_test")
	require.NoError(t, err)
	pool, err := persist.Connect(t.Context(), database.url, 1)
	require.NoError(t, err)
	var name, fsync string
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT current_database(), current_setting('fsync')").Scan(&name, &fsync))
	pool.Close()
	require.Equal(t, []string{"bench_test", "on"}, []string{name, fsync})
	require.NoError(t, database.drop(t.Context()))
	require.NoError(t, s.Close())
	require.NoDirExists(t, s.dir)
}

func TestWithDatabase(t *testing.T) {
	for address, want := range map[string]string{
		"postgres://u:p@h:5432/shop?sslmode=disable": "postgres://u:p@h:5432/bench?sslmode=disable",
		"postgres:///shop?host=/tmp/s&user=postgres": "postgres:///bench?host=/tmp/s&user=postgres",
		"host=h user=u dbname=shop":                  "host=h user=u dbname=shop dbname=bench",
	} {
		require.Equal(t, want, withDatabase(address, "bench"))
	}
}
