package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// healthCmd asks a service on this machine, for container engines: their images have no other program to ask with.
type healthCmd struct {
	Host  string `env:"HOST" help:"Address that the service listens on." default:"127.0.0.1"`
	Port  int    `env:"PORT" help:"Its port." default:"3000"`
	Ready bool   `help:"Ask whether it can take orders, rather than whether it answers."`
}

const (
	healthTimeout = 2 * time.Second
	maxHealthBody = 4 << 10 // bytes
)

var errUnwell = errors.New("the service is not well")

// Run fails unless the service says that it is well.
func (h *healthCmd) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	path := "/livez"
	if h.Ready {
		path = "/readyz"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.address()+path, http.NoBody)
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxHealthBody))
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: %s: %s", errUnwell, resp.Status, strings.TrimSpace(string(body)))
	}
	fmt.Println(string(body))
	return nil
}

// address is where a service that listens on Host can be reached: one that listens everywhere does so on the loopback too.
func (h *healthCmd) address() string {
	host := h.Host
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip.To4() == nil {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(h.Port))
}
