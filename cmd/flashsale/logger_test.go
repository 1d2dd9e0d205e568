package main

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestProductionLogs has a service in production fail in many ways: its log is JSON, has no line for an order, changes its
// level when told to, and none of its secrets.
func TestProductionLogs(t *testing.T) {
	redis, stores := redisWithUsers(t), newStores(t)
	migrated(t, stores)
	const token = "canary-of-the-admins-token-3f9c"
	p := start(t, nil, "REDIS_URL="+as(redis, "flashsale"), "NODE_ENV=production", "AUTH=none", "ADMIN_TOKEN="+token,
		"DATABASE_URL="+strings.Replace(stores.dbURL, "flashsale@", "flashsale:canary-of-postgres@", 1))
	ask := func(id, method, path, body string) int {
		req, err := http.NewRequest(method, p.base+path, strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("X-Request-Id", id)
		status, _ := send(t, req)
		return status
	}
	require.Equal(t, 201, ask("made", "POST", "/inventory", `{"id":"a","name":"x","price":1,"initialStock":5}`))
	require.Equal(t, 201, ask("bought", "POST", "/orders", `{"productId":"a","userId":"ann","quantity":1}`))
	require.Equal(t, 403, p.as("canary-of-a-stranger", "POST", "/inventory", `{}`))

	require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	eventually(t, "the level to change", func() bool { return strings.Contains(p.output.String(), `"to":"DEBUG"`) })
	require.NoError(t, redis.Pause())
	require.GreaterOrEqual(t, ask("unlucky", "POST", "/orders", `{"productId":"a","userId":"ben","quantity":1}`), 500)
	require.NoError(t, redis.Resume())
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	eventually(t, "the level to change back", func() bool { return strings.Contains(p.output.String(), `"to":"INFO"`) })
	p.end(syscall.SIGTERM)

	said := p.output.String()
	require.NotContains(t, said, "canary")
	require.Contains(t, said, `"request_id":"unlucky"`)
	for _, quiet := range []string{`"bought"`, `"made"`} {
		require.NotContains(t, said, quiet, "what goes well is in the metrics")
	}
	require.Contains(t, said, `"msg":"settings, as they are in force","REDIS_URL":"unix://flashsale:xxxxx@`)
	require.Regexp(t, `"took":"[0-9.]+m?s"`, said, "a time has its unit")
	require.GreaterOrEqual(t, requireJSON(t, said), 5)
}

// requireJSON fails where a line is no JSON, and returns how many there are.
func requireJSON(t testing.TB, said string) (lines int) {
	t.Helper()
	for line := range strings.Lines(said) {
		lines++
		require.True(t, json.Valid([]byte(line)), line)
	}
	return lines
}

// TestProductionSaysInJSONWhyItEnds has a service end for what no waiting cures.
func TestProductionSaysInJSONWhyItEnds(t *testing.T) {
	p := launch(t, []string{binary}, nil, append(newStores(t).env(), "NODE_ENV=production", "AUTH=none", "ADMIN_TOKEN="+strongToken)...)
	select {
	case <-p.ended:
	case <-time.After(patience):
		require.FailNow(t, "a service whose schema is behind goes on")
	}
	require.Equal(t, 1, p.cmd.ProcessState.ExitCode())
	requireJSON(t, p.output.String())
	require.Contains(t, p.output.String(), `"msg":"ended","error":"the ledger's schema is behind this version`)
}

func TestTheLevelTurnsBackToWhatItWas(t *testing.T) {
	for usual, turned := range map[slog.Level][]slog.Level{
		slog.LevelInfo:  {slog.LevelDebug, slog.LevelInfo},
		slog.LevelError: {slog.LevelDebug, slog.LevelError},
		slog.LevelDebug: {slog.LevelInfo, slog.LevelDebug},
	} {
		l := &logLevel{usual: usual}
		l.Set(usual)
		for _, want := range turned {
			l.turn()
			require.Equal(t, want, l.Level(), "usually %s", usual)
		}
	}
}

func TestLinesAreColouredOnATerminalOnly(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	newLogger(w, false, slog.LevelWarn).Info("unheard")
	newLogger(w, false, slog.LevelWarn).Warn("heard", "of", "it")
	require.NoError(t, w.Close())
	text, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Contains(t, string(text), "heard of=it")
	require.NotContains(t, string(text), "unheard")
	require.NotContains(t, string(text), "\x1b[", "a file is no terminal")
}
