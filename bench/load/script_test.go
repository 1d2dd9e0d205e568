package load

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestOutcomes is the table of what an answer to an order means.
func TestOutcomes(t *testing.T) {
	reset := &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	tests := map[string]struct {
		status int
		body   string
		err    error
		want   Outcome
		id     string
	}{
		"accepted":           {status: 201, body: `{"orderId":"a"}`, want: Outcome{Fate: Accepted}, id: "a"},
		"accepted, nameless": {status: 201, body: `{}`, want: Outcome{Why: "201 without an orderId"}},
		"another 2xx":        {status: 200, body: `{"orderId":"a"}`, want: Outcome{Why: "200"}, id: "a"},
		"refused":            {status: 409, body: `{"code":"sold_out"}`, want: Outcome{Fate: Refused, Why: "sold_out"}},
		"too late":           {status: 410, body: `{"code":"hold_expired"}`, want: Outcome{Fate: Refused, Why: "hold_expired"}},
		"409 without a code": {status: 409, body: `no`, want: Outcome{Fate: Failed, Why: "409"}},
		"rate limited":       {status: 429, body: `{"code":"rate_limited"}`, want: Outcome{Fate: Failed, Why: "429 rate_limited"}},
		"overloaded":         {status: 503, body: `{"code":"overloaded"}`, want: Outcome{Fate: Failed, Why: "503 overloaded"}},
		"a proxy's 503":      {status: 503, body: `<html>`, want: Outcome{Why: "503"}},
		"internal":           {status: 500, body: `{"code":"internal"}`, want: Outcome{Why: "500 internal"}},
		"unknown": {
			status: 504, body: `{"code":"outcome_unknown","orderId":"a"}`, want: Outcome{Why: "504 outcome_unknown"}, id: "a",
		},
		"no connection":     {err: &notSent{errRefused}, want: Outcome{Fate: Failed, Why: "connection refused"}},
		"connection broken": {err: reset, want: Outcome{Why: "connection reset by peer"}},
		"timeout":           {err: errTimeout, want: Outcome{Why: "timeout"}},
		"anything else":     {err: errors.New("odd"), want: Outcome{Why: "odd"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var j Judge
			got, id := j.Order(Answer{Status: tt.status, Body: []byte(tt.body)}, tt.err)
			assert.Equal(t, tt.want, got)
			assert.Equal(t, tt.id, string(id))
		})
	}
}

func TestOutcomesOfChangesAndReads(t *testing.T) {
	var j Judge
	assert.Equal(t, Outcome{Fate: Accepted}, j.Change(Answer{Status: 200, Body: []byte(`{"orderId":"a"}`)}, nil))
	assert.Equal(t, Outcome{Fate: Refused, Why: "invalid_state"}, j.Change(Answer{Status: 409, Body: []byte(`{"code":"invalid_state"}`)}, nil))
	assert.Equal(t, Outcome{Fate: Accepted}, j.Read(Answer{Status: 200}, nil))
	assert.Equal(t, Outcome{Fate: Failed, Why: "404 not_found"}, j.Read(Answer{Status: 404, Body: []byte(`{"code":"not_found"}`)}, nil))
	assert.Equal(t, Outcome{Fate: Failed, Why: "timeout"}, j.Read(Answer{}, errTimeout))
}

func TestJudgeBoundsItsReasons(t *testing.T) {
	var j Judge
	for i := range 2 * maxWhy {
		j.explain(500, fmt.Append(nil, i), nil)
	}
	assert.Len(t, j.reasons, maxWhy)
	assert.Equal(t, explained{why: otherWhy}, j.explain(500, []byte("new"), nil))
}

func TestJudgeKeepsTheExplanation(t *testing.T) {
	var j Judge
	for range 2 {
		got, _ := j.Order(Answer{Status: 400, Body: []byte(`{"code":"invalid_request","detail":"no \"replica\""}`)}, nil)
		assert.Equal(t, Outcome{Fate: Failed, Why: "400 invalid_request", Detail: `no "replica"`}, got)
	}
	long, _ := j.Order(Answer{Status: 401, Body: fmt.Appendf(nil, `{"detail":"%s"}`, strings.Repeat("é", maxDetail))}, nil)
	assert.Equal(t, strings.Repeat("é", maxDetail/2)+"…", long.Detail)
}

func TestTextMember(t *testing.T) {
	for json, want := range map[string]string{
		`{"orderId":"a"}`:                               "a",
		`{"x":1, "orderId" : "a b","y":2}`:              "a b",
		`{"firstOrderId":"no","orderId":"a"}`:           "a",
		`{"detail":"\"orderId\":\"no\"","orderId":"a"}`: "a",
		`{"detail":"orderId","orderId":"a"}`:            "a",
		`{"orderId":17}`:                                "",
		`{"orderId":null,"x":"y"}`:                      "",
		`{"orderId":"a\"b"}`:                            "",
		`{"orderId":"a`:                                 "",
		`{"orderId"`:                                    "",
		`orderId`:                                       "",
		``:                                              "",
	} {
		assert.Equal(t, want, string(TextMember([]byte(json), "orderId")), json)
	}
}
