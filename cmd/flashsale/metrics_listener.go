package main

import (
	"context"
	"errors"
	"fmt"
	"net"

	"flashsale/httpapi"
)

// metricsSettings say where the process's insides are shown.
type metricsSettings struct {
	MetricsAddr     string `env:"METRICS_ADDR" group:"HTTP" help:"Address of a listener for /metrics alone, which asks for no token; empty = beside the API." placeholder:"HOST:PORT"`
	MetricsProducts int    `env:"METRICS_PRODUCTS" group:"HTTP" help:"Products whose stock /metrics shows, those that sold most." default:"20"`
	Pprof           bool   `env:"PPROF" group:"HTTP" help:"Serve /debug/pprof/ at METRICS_ADDR."`
}

// maxMetricsProducts bounds the series that Prometheus is given: three a product.
const maxMetricsProducts = 1000

var (
	errPprofAlone      = errors.New("PPROF: is served at METRICS_ADDR only, so that must be set")
	errMetricsProducts = fmt.Errorf("METRICS_PRODUCTS: at most %d", maxMetricsProducts)
)

func (m *metricsSettings) checkMetrics() error {
	if m.MetricsProducts > maxMetricsProducts {
		return errMetricsProducts
	}
	if m.Pprof && m.MetricsAddr == "" {
		return errPprofAlone
	}
	return nil
}

// listenMetrics opens the listener; where there is none, the service only waits.
func (m *metricsSettings) listenMetrics(ctx context.Context, server *httpapi.Server) (service, error) {
	if m.MetricsAddr == "" {
		return func(ctx context.Context) error { <-ctx.Done(); return nil }, nil
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", m.MetricsAddr)
	if err != nil {
		return nil, fmt.Errorf("METRICS_ADDR: %w", err)
	}
	return func(ctx context.Context) error { return server.ServeMetrics(ctx, ln) }, nil
}
