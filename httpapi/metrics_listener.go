package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
)

const metricsPath = "/metrics"

// ServeMetrics serves /metrics, and pprof if the settings ask for it, on a listener of their own until ctx ends. It asks
// for no token: whoever the address lets through may read. It speaks net/http, as pprof does.
func (s *Server) ServeMetrics(ctx context.Context, ln net.Listener) error {
	server := &http.Server{
		Handler:           s.metricsMux(),
		ReadHeaderTimeout: s.config.ReadTimeout, // no WriteTimeout: a profile takes as long as its reader asked for
		IdleTimeout:       s.config.IdleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // nobody is owed the end of a profile
	defer stop()
	if err := server.Serve(trackConns(ln, s.config.MaxConnsPerIP)); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}

// metricsMux is all that the listener knows.
func (s *Server) metricsMux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+metricsPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", metricsType)
		s.writeMetrics(w) //nolint:contextcheck // what a scrape that was given up asked for answers the next
	})
	if s.config.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}
