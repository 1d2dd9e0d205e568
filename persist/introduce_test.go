package persist_test

import (
	"log/slog"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// Processes of one ledger whose settings differ say so, each of them, once; those that agree say nothing.
func TestProcessesTellWhatTheyHaveSetDifferently(t *testing.T) {
	t.Parallel()
	s := newStack(t, devtest.Redis(t).URL())
	logs := make([]*devtest.Output, 4)
	settings := map[string]string{"LOCK_TTL": "5000", "HOLD_MAX": "15m0s"}
	for i, lock := range []string{"5000", "5000", "3000", "3000"} {
		logs[i] = &devtest.Output{}
		s.keeper.Logger = slog.New(slog.NewTextHandler(logs[i], nil))
		s.keeper.Settings = maps.Clone(settings)
		s.keeper.Settings["LOCK_TTL"] = lock
		s.start(t)
	}
	const here, there = "LOCK_TTL is 5000 here, 3000 there", "LOCK_TTL is 3000 here, 5000 there"
	for i, want := range []string{here, here, there, there} {
		eventually(t, "a process to tell of the difference", func() bool { return strings.Contains(logs[i].String(), want) })
		require.Equal(t, 1, strings.Count(logs[i].String(), "other settings"), "%s", logs[i])
		require.NotContains(t, logs[i].String(), "HOLD_MAX")
	}
}
