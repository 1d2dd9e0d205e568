package httpapi_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/httpapi"
)

// A server that has nobody to ask yet lives, says what it waits for, shows its pages, and refuses the rest; once it is opened
// it serves.
func TestAServerIsOpenedLater(t *testing.T) {
	h := newHarness(t)
	h.serve(httpapi.Config{}, httpapi.Deps{Checks: []httpapi.Check{{
		Name: "redis", Probe: func(context.Context) error { return errNotThere },
	}}})
	for _, path := range []string{"/livez", "/dashboard", "/docs", "/metrics"} {
		require.Equal(t, 200, h.send("GET", path, "").status, path)
	}
	ready := h.send("GET", "/readyz", "")
	require.Equal(t, 503, ready.status)
	require.JSONEq(t, `{"status":"not ready","reasons":["redis: does not work; the log says why","the service has started and waits for its stores"]}`, ready.body)
	health := h.send("GET", "/monitoring/health", "")
	require.Equal(t, 503, health.status)
	require.Contains(t, health.body, `"status":"down"`)
	require.Contains(t, health.body, "waits for its stores")
	for _, request := range [][2]string{
		{"POST", "/orders"},
		{"POST", "/orders/x/confirm"},
		{"GET", "/orders/x"},
		{"GET", "/inventory"},
		{"GET", "/api/v1/inventory/x"},
		{"GET", "/orders/admin/metrics"},
		{"POST", "/inventory"},
		{"GET", "/monitoring/metrics"},
		{"GET", "/monitoring/stream"},
	} {
		problem := h.send(request[0], request[1], "", "Authorization", "Bearer "+adminToken).requireProblem(t, 503, engine.CodeUnavailable)
		require.Contains(t, problem["detail"], "waits for its stores", request)
	}
	h.server.Open(h.deps())
	got := h.send("POST", "/orders", goodOrder)
	require.Equal(t, 201, got.status, got.body)
}

var errNotThere = errors.New("not there")
