package httpapi_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/httpapi"
)

// serveApart serves /metrics apart from the API until the test ends, and returns its address and how to stop it.
func serveApart(t *testing.T, config httpapi.Config) (base string, stop func() error) {
	t.Helper()
	config.MetricsApart = true
	server := httpapi.New(httpapi.Deps{Reserver: &fakeReserver{}}, config)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.ServeMetrics(ctx, ln) }()
	stop = func() error {
		cancel()
		err := <-served
		served <- err
		return err
	}
	t.Cleanup(func() { require.NoError(t, stop()) })
	return "http://" + ln.Addr().String(), stop
}

func statusOf(t *testing.T, url string) (int, string) {
	t.Helper()
	answer, err := http.Get(url)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(body)
}

func TestMetricsApart(t *testing.T) {
	_, keys := newBearers(t, "shop buyer")
	base, _ := serveApart(t, httpapi.Config{Tokens: keys, AdminToken: adminToken})
	status, body := statusOf(t, base+"/metrics")
	require.Equal(t, 200, status, "without a token")
	require.Contains(t, body, `flashsale_orders_total{outcome="accepted"} 0`)
	require.Contains(t, body, "go_goroutines")
	for _, path := range []string{"/", "/orders", "/inventory", "/livez", "/api/v1/metrics", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline"} {
		status, _ := statusOf(t, base+path)
		require.Equal(t, 404, status, "%s has no business here", path)
	}
	answer, err := http.Post(base+"/metrics", "text/plain", nil)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, 405, answer.StatusCode)
}

func TestTheAPIHasNoMetricsThen(t *testing.T) {
	h := start(t, httpapi.Config{MetricsApart: true, Pprof: true})
	for _, path := range []string{"/metrics", "/api/v1/metrics"} {
		h.admin("GET", path, "").requireProblem(t, 404, engine.CodeNotFound)
		require.Equal(t, 200, start(t, httpapi.Config{}).send("GET", path, "").status, "without that setting it is here")
	}
}

func TestPprofIsNeverBesideTheAPI(t *testing.T) {
	for _, config := range []httpapi.Config{{}, {Pprof: true}, {Pprof: true, MetricsApart: true}} {
		h := start(t, config)
		for _, path := range []string{"/debug/pprof/", "/debug/pprof", "/debug/pprof/heap", "/api/v1/debug/pprof/"} {
			h.admin("GET", path, "").requireProblem(t, 404, engine.CodeNotFound)
		}
	}
}

func TestPprofWhereItWasAskedFor(t *testing.T) {
	base, _ := serveApart(t, httpapi.Config{Pprof: true})
	for path, has := range map[string]string{
		"/debug/pprof/": "goroutine", "/debug/pprof/goroutine?debug=1": "goroutine profile", "/debug/pprof/cmdline": "test",
	} {
		status, body := statusOf(t, base+path)
		require.Equal(t, 200, status, path)
		require.Contains(t, body, has)
	}
}

// Nobody is owed the end of a profile that was begun.
func TestStoppingDoesNotWaitForAProfile(t *testing.T) {
	base, stop := serveApart(t, httpapi.Config{Pprof: true})
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(waitLimit)))
	_, err = conn.Write([]byte("GET /debug/pprof/profile?seconds=60 HTTP/1.1\r\nHost: x\r\n\r\n"))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, stacks := statusOf(t, base+"/debug/pprof/goroutine?debug=1")
		return strings.Contains(stacks, "pprof.Profile+")
	}, waitLimit, 10*time.Millisecond, "the profile never begins")
	require.NoError(t, stop())
	_, err = io.ReadAll(conn)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
}
