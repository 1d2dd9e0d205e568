package httpapi_test

import (
	"context"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/httpapi"
)

func TestUnknownPathsAndMethods(t *testing.T) {
	h := start(t, httpapi.Config{})
	for _, path := range []string{"/nowhere", "/orders/", "/Orders", "/orders/a/b", "/api/v1/", "/api/v2/orders", "//orders", "/inventory/../orders/x/y"} {
		h.send("GET", path, "").requireProblem(t, 404, engine.CodeNotFound)
	}
	for target, allow := range map[string]string{
		"DELETE /orders": "OPTIONS, POST", "GET /orders": "OPTIONS, POST", "DELETE /api/v1/inventory": "GET, HEAD, OPTIONS, POST",
		"POST /inventory/p": "GET, HEAD, OPTIONS, PUT", "BREW /livez": "GET, HEAD, OPTIONS",
	} {
		method, path, _ := strings.Cut(target, " ")
		got := h.send(method, path, "")
		problem := got.requireProblem(t, 405, engine.CodeInvalidRequest)
		require.EqualValues(t, 405, problem["status"], "the document says what the answer says")
		require.Equal(t, allow, got.header.Get("Allow"), target)
	}
	got := h.send("OPTIONS", "/orders", "")
	require.Equal(t, 204, got.status)
	require.Equal(t, "OPTIONS, POST", got.header.Get("Allow"))
}

func TestHeadIsGetWithoutBody(t *testing.T) {
	h := start(t, httpapi.Config{})
	h.store.products = []engine.Product{phone()}
	for _, path := range []string{"/livez", "/api/v1/inventory/phone", "/inventory", "/dashboard", "/inventory/absent"} {
		get, head := h.send("GET", path, ""), h.send("HEAD", path, "")
		require.Equal(t, get.status, head.status, path)
		require.Empty(t, head.body, path)
		require.Equal(t, get.header.Get("Content-Length"), head.header.Get("Content-Length"), path)
		require.Equal(t, get.header.Get("Content-Type"), head.header.Get("Content-Type"), path)
		require.Equal(t, get.header.Get("ETag"), head.header.Get("ETag"), path)
	}
}

func TestIndexLeadsToTheDashboard(t *testing.T) {
	h := start(t, httpapi.Config{})
	for path, location := range map[string]string{"/": "/dashboard", "/api/v1": "/api/v1/dashboard"} {
		got := h.send("GET", path, "")
		require.Equal(t, 302, got.status)
		require.Equal(t, location, got.header.Get("Location"))
		require.Equal(t, 200, h.send("GET", location, "").status)
	}
}

func TestDashboard(t *testing.T) {
	h := start(t, httpapi.Config{})
	reference := regexp.MustCompile(`(?:src|href)="([^"#]+)"`)
	foreign := regexp.MustCompile(`(?:https?:)?//[a-z]`)
	page := h.send("GET", "/dashboard", "")
	require.Equal(t, "text/html; charset=utf-8", page.header.Get("Content-Type"))
	references := reference.FindAllStringSubmatch(page.body, -1)
	require.Len(t, references, 6)
	modules, err := os.ReadDir("dashboard")
	require.NoError(t, err)
	for _, file := range modules {
		references = append(references, []string{"", "dashboard/" + file.Name()})
	}
	require.NotContains(t, page.body, "<style", "the policy forbids it")
	require.NotContains(t, page.body, "style=")
	for _, prefix := range []string{"/", "/api/v1/"} {
		for _, ref := range append(references, []string{"", "dashboard"}) {
			got := h.send("GET", prefix+ref[1], "")
			require.Equal(t, 200, got.status, ref[1])
			require.Contains(t, got.header.Get("Content-Security-Policy"), "default-src 'self'")
			require.Contains(t, got.header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
			require.Equal(t, "nosniff", got.header.Get("X-Content-Type-Options"))
			require.NotRegexp(t, `unsafe|https?:|\*`, got.header.Get("Content-Security-Policy"))
			body := strings.ReplaceAll(got.body, "http://www.w3.org/2000/svg", "")
			body = strings.ReplaceAll(body, "/*! https://github.com/leeoniya/uPlot (v1.6.32) */", "")
			require.NotRegexp(t, foreign, body, "nothing comes from other hosts")
		}
	}
}

func TestMetrics(t *testing.T) {
	h := start(t, httpapi.Config{})
	h.send("POST", "/orders", goodOrder)
	h.send("POST", "/api/v1/orders", goodOrder)
	h.send("POST", "/orders", "{}")
	h.reserver.decide = func(*engine.Reservation) error { return engine.ErrSoldOut }
	h.send("POST", "/orders", goodOrder)
	h.reserver.decide = func(*engine.Reservation) error { return errors.New("?") }
	h.send("POST", "/orders", goodOrder)
	got := h.send("GET", "/metrics", "")
	require.Equal(t, "text/plain; version=0.0.4; charset=utf-8", got.header.Get("Content-Type"))
	for _, line := range []string{
		`flashsale_orders_total{outcome="accepted"} 2`,
		`flashsale_orders_total{outcome="sold_out"} 1`,
		`flashsale_orders_total{outcome="invalid_request"} 1`,
		`flashsale_orders_total{outcome="internal"} 1`,
		`flashsale_orders_total{outcome="outcome_unknown"} 0`,
		`flashsale_http_request_seconds_count{route="POST /orders"} 5`,
		`flashsale_http_request_seconds_bucket{route="POST /orders",le="+Inf"} 5`,
		`# TYPE flashsale_orders_total counter`,
		`# HELP flashsale_orders_total POST /orders by outcome: accepted, replayed, or the code of the refusal.`,
		`# TYPE flashsale_http_request_seconds histogram`,
	} {
		require.Contains(t, got.body, line+"\n")
	}
	require.Contains(t, got.body, "process_resident_memory_bytes")
	require.Contains(t, got.body, "go_goroutines")
}

func TestHealth(t *testing.T) {
	var redis, postgres error
	checks := []httpapi.Check{
		{Name: "redis", Probe: func(context.Context) error { return redis }},
		{Name: "postgres", Probe: func(ctx context.Context) error {
			if errors.Is(postgres, context.DeadlineExceeded) {
				<-ctx.Done()
				return ctx.Err()
			}
			if postgres == io.EOF { //nolint:errorlint // set below
				panic("probe")
			}
			return postgres
		}},
	}
	h := start(t, httpapi.Config{Version: "v1.2.3", RequestTimeout: 20 * time.Millisecond, Clock: leaping()}, checks...)
	all := map[int]string{0: "a", 1: "b", 2: "c", 3: "d"}
	for name, c := range map[string]struct {
		redis, postgres error
		shut            map[int]string
		health          string
		status          int
		reasons         []any
	}{
		"all well":           {nil, nil, nil, "ok", 200, []any{}},
		"a partition shut":   {nil, nil, map[int]string{2: `held by "ops"`}, "degraded", 200, []any{`partition 2: held by "ops"`}},
		"all shut":           {nil, nil, all, "down", 503, []any{"partition 0: a", "partition 1: b", "partition 2: c", "partition 3: d"}},
		"redis is gone":      {errors.New("dial 10.0.0.7:6379"), nil, nil, "down", 503, []any{"redis: does not work; the log says why"}},
		"postgres is silent": {nil, context.DeadlineExceeded, nil, "down", 503, []any{"postgres: no answer in time"}},
		"a probe panics":     {nil, io.EOF, nil, "down", 503, []any{"postgres: does not work; the log says why"}},
	} {
		t.Run(name, func(t *testing.T) {
			redis, postgres, h.reserver.shut = c.redis, c.postgres, c.shut
			got := h.send("GET", "/api/v1/monitoring/health", "")
			require.Equal(t, c.status, got.status)
			require.NotContains(t, got.body, "10.0.0.7", "hosts are not shown")
			health := got.json(t)
			require.Equal(t, c.health, health["status"])
			require.Equal(t, "v1.2.3", health["version"])
			_, err := time.Parse("2006-01-02T15:04:05.000Z", health["timestamp"].(string))
			require.NoError(t, err)
			require.Len(t, health["checks"], 2)
			require.Contains(t, health["checks"].([]any)[0], "latencyMs")
			require.Len(t, health["partitions"], testPartitions)
			third := map[string]any{"partition": 2.0, "epoch": 7.0, "open": true, "backlog": 11.0, "lagSeconds": 0.0, "queued": 3.0, "watermark": 42.0}
			if reason, shut := c.shut[2]; shut {
				third["open"], third["reason"] = false, reason
			}
			require.Equal(t, third, health["partitions"].([]any)[2])

			ready := h.send("GET", "/readyz", "")
			require.Equal(t, c.status, ready.status, "as long as anything can be sold")
			require.Equal(t, c.reasons, ready.json(t)["reasons"])
			require.Equal(t, 200, h.send("GET", "/livez", "").status)
		})
	}
	require.Contains(t, h.log.String(), "10.0.0.7", "the log says why")
}
