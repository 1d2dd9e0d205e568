package faults

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// clientTimeout is above any deadline of the service: who is not answered by then is not answered.
const clientTimeout = 4 * time.Second

// newClient dials as it is told; nil is as always.
func newClient(dial func(ctx context.Context, network, address string) (net.Conn, error)) *http.Client {
	return &http.Client{
		Timeout:   clientTimeout,
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, ResponseHeaderTimeout: clientTimeout, DialContext: dial},
	}
}

// answer is a decoded JSON object.
type answer map[string]any

func (a answer) text(member string) string {
	s, _ := a[member].(string)
	return s
}

func (a answer) number(member string) int64 {
	n, _ := a[member].(float64)
	return int64(n)
}

// get returns status 0 where there is no answer.
func (n *node) get(path string) (int, answer) { return n.ask(http.MethodGet, path, "", "") }

func (n *node) post(path, body, key string) (int, answer) {
	return n.ask(http.MethodPost, path, body, key)
}

func (n *node) ask(method, path, body, key string) (int, answer) {
	req, err := http.NewRequestWithContext(context.Background(), method, n.base+path, strings.NewReader(body))
	if err != nil {
		panic(err) // the paths are ours
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+adminToken)
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil
	}
	var a answer
	_ = json.Unmarshal(text, &a) // not every answer is an object
	return resp.StatusCode, a
}

// outcome is what a client may conclude from an answer.
type outcome int

const (
	no      outcome = iota // it has not happened and will not
	yes                    // it has happened
	unknown                // either
)

func (o outcome) String() string { return [...]string{"no", "yes", "unknown"}[o] }

// outcomeOf reads an answer as docs/orders.md tells clients to: 504, and no answer at all, leave it open.
func outcomeOf(status int) outcome {
	switch {
	case status == 0 || status == http.StatusGatewayTimeout:
		return unknown
	case status < http.StatusBadRequest:
		return yes
	default:
		return no
	}
}
