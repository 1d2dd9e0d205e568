package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// benchRefused runs a bench that can't come to a sale, nor start servers, and returns the one line that says why.
func benchRefused(t *testing.T, args ...string) string {
	t.Helper()
	run := exec.Command(binary, append([]string{"bench"}, args...)...)
	run.Dir = t.TempDir()
	run.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + filepath.Join(run.Dir, "missing")}
	var out, why bytes.Buffer
	run.Stdout, run.Stderr = &out, &why
	require.Error(t, run.Run())
	assert.Empty(t, out.String(), "there is nothing to report")
	said := strings.TrimSpace(why.String())
	assert.NotContains(t, said, "\n")
	return said
}

const nobody = "http://127.0.0.1:1"

func TestBenchRefusesNumbersThatSayNothing(t *testing.T) {
	nothing := [][]string{
		{"run", "--buyers=0"},
		{"run", "--units=0"},
		{"run", "--connections=0"},
		{"run", "--rate=0"},
		{"run", "--seed=0"},
		{"run", "--timeout=0s"},
		{"run", "--ledger-wait=0s"},
		{"run", "--lookups=0"},
		{"run", "--hold-seconds=0"},
		{"run", "--duration=0s"},
		{"compare", "--rounds=0"},
		{"compare", "--connections=64,0"},
		{"compare", "--rate=0"},
		{"compare", "--units=0"},
		{"redis", "--rounds=0"},
		{"redis", "--batches=8,0"},
	}
	for _, command := range nothing {
		err := run(append([]string{"bench"}, command...))
		require.ErrorIs(t, err, errNotPositive, command)
		name, _, _ := strings.Cut(command[1], "=")
		require.ErrorContains(t, err, name+": ")
	}
	for _, command := range [][]string{{"run", "--rate=-0.5"}, {"run", "--zipf=-1"}, {"run", "--warmup=-1s"}, {"redis", "--batches=-8"}, {"redis", "--backlog=-1"}} {
		require.ErrorIs(t, run(append([]string{"bench"}, command...)), errNegative, command)
	}
	require.ErrorIs(t, run([]string{"bench", "run", "--zipf=0", "--warmup=0s"}), errNoTarget, "both say something")
	require.ErrorContains(t, run([]string{"bench", "run", "--target", nobody, "--ask=ledgr"}), `--ask must be one of "","fast","replicated","ledger"`)
}

// TestBenchRefusesWhatItWouldNotHeed: a figure of something else than was asked for is worse than none.
func TestBenchRefusesWhatItWouldNotHeed(t *testing.T) {
	t.Setenv("DURABILITY", "ledger") // for the service; nobody said it to the bench
	for said, args := range map[string][]string{
		"--target: --dev starts a service of its own":                  {"--dev"},
		"--hold-seconds 5: only --scenario holds has holds":            {"--hold-seconds=5"},
		"--duration 5s: --scenario duplicates ends when all have come": {"--scenario=duplicates", "--duration=5s"},
		"--zipf 2: there is one product":                               {"--zipf=2"},
		"the one at --target has its own; --ask goes with":             {"--durability=ledger"},
		"--partitions: it is a setting of the service":                 {"--partitions=8"},
		"--redis-host: it is a setting of the service":                 {"--redis-host=redis"},
		"--data-dir: it is a setting of the service":                   {"--data-dir=data"},
		"--database-host: it is a setting of the service":              {"--database-host=db"},
		"--rows: ledger: ":   {"--rows", "--database-host=127.0.0.1", "--database-port=1"},
		"connection refused": {"--scenario=holds", "--hold-seconds=5"},
	} {
		require.ErrorContains(t, run(append([]string{"bench", "run", "--target", nobody}, args...)), said)
	}
}

// TestBenchOnOwnServersRefusesWhatItWouldNotHeed: of the servers that --dev starts, or of those that are named.
func TestBenchOnOwnServersRefusesWhatItWouldNotHeed(t *testing.T) {
	for want, args := range map[string][]string{
		"--fsync: it is of the Redis that --dev starts":          {"compare", "--fsync=always"},
		"--fsync: it is of the Redis that --dev starts; the one": {"redis", "--fsync=always"},
		"--redis-host: --dev starts servers of its own":          {"compare", "--dev", "--redis-host=192.0.2.1"},
		"--database-port: --dev starts servers of its own":       {"compare", "--dev", "--database-port=1"},
		"--redis-port: --dev starts servers of its own":          {"redis", "--dev", "--redis-port=1"},
		"--redis-prefix: bench compare has one of its own":       {"compare", "--dev", "--redis-prefix=mine"},
		"--data-dir: bench compare keeps no data":                {"compare", "--dev", "--data-dir=data"},
	} {
		assert.Contains(t, benchRefused(t, args...), want)
	}
}

func TestBenchWithoutASaleReportsNone(t *testing.T) {
	shown := filepath.Join(t.TempDir(), "sale.html")
	assert.Contains(t, benchRefused(t, "run", "--target", nobody, "--html", shown), "connection refused")
	assert.NoFileExists(t, shown)
	assert.Contains(t, benchRefused(t, "run", "--target", nobody, "--connections", "10001", "--json"), "--connections 10001: from 1 to 10000")
}

// TestBenchRefusesNumbersBeforeAnythingIsStarted, for starting would fail, and nobody is where the others are to be.
func TestBenchRefusesNumbersBeforeAnythingIsStarted(t *testing.T) {
	for want, args := range map[string][]string{
		"--rounds 500: from 1 to 100":                {"compare", "--dev", "--rounds=500"},
		"--connections 20000: from 1 to 10000":       {"compare", "--dev", "--connections=64,20000"},
		"64,8,64: 64 is there twice, each count may": {"compare", "--dev", "--connections=64,8,64"},
		"--duration 20m0s: up to 10m0s":              {"compare", "--dev", "--duration=20m"},
		"--rate 1e+09: from 0.001 to 10000000":       {"compare", "--redis-host=192.0.2.1", "--rate=1e9"},
		"--rounds 101: from 1 to 100":                {"redis", "--dev", "--rounds=101"},
		"--in-flight 65: from 1 to 64":               {"redis", "--redis-host=192.0.2.1", "--in-flight=65"},
		"--kinds gift: [sale keyed hold confirm] or": {"redis", "--dev", "--kinds=gift"},
		"--connections 30000: from 1 to 10000":       {"run", "--dev", "--connections=30000"},
		"--products 100001: from 1 to 100000":        {"run", "--dev", "--products=100001"},
		"--zipf 99: from 0 to":                       {"run", "--dev", "--scenario=many-products", "--zipf=99"},
	} {
		said := benchRefused(t, args...)
		assert.Contains(t, said, want)
	}
}

// TestBenchChecksItsPageFirst: not after the sale, when it is too late.
func TestBenchChecksItsPageFirst(t *testing.T) {
	said := benchRefused(t, "run", "--target", nobody, "--html", filepath.Join(t.TempDir(), "missing", "sale.html"))
	assert.Contains(t, said, "--html: ")
	assert.NotContains(t, said, "connection refused", "nobody was asked")

	kept := filepath.Join(t.TempDir(), "sale.html")
	require.NoError(t, os.WriteFile(kept, []byte("the last one"), 0o600))
	benchRefused(t, "run", "--target", nobody, "--html", kept)
	data, err := os.ReadFile(kept)
	require.NoError(t, err)
	assert.Equal(t, "the last one", string(data))
}
