package main

import (
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/httpapi"
)

func TestGuardsAreOffUnlessSet(t *testing.T) {
	c, _, err := parse(t, "", "serve")
	require.NoError(t, err)
	var config httpapi.Config
	require.NoError(t, c.Serve.applyGuards(&config))
	require.Equal(t, httpapi.Config{}, config)
}

func TestGuardsReachTheServer(t *testing.T) {
	t.Setenv("RATE_LIMIT_USER", "10/m:5")
	c, parsed, err := parse(t, "TRUSTED_PROXIES=10.0.0.0/8, 2001:db8::1\nCONNECTION_LIMIT=200\n", "serve", "--rate-limit-address=50/s:100")
	require.NoError(t, err)
	var config httpapi.Config
	require.NoError(t, c.Serve.applyGuards(&config))
	require.Equal(t, httpapi.Config{
		AddressLimit:   httpapi.Limit{Requests: 50, Per: time.Second, Burst: 100},
		UserLimit:      httpapi.Limit{Requests: 10, Per: time.Minute, Burst: 5},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::1/128")},
		MaxConnsPerIP:  200,
	}, config)
	for _, line := range []string{"RATE_LIMIT_ADDRESS +50/s:100\n", "RATE_LIMIT_USER +10/m:5\n", "CONNECTION_LIMIT +200\n"} {
		require.Regexp(t, line, describeSettings(parsed))
	}
}

// Nothing has been connected to by then: there is nothing to connect to.
func TestWrongGuardsAreRefusedAtOnce(t *testing.T) {
	t.Setenv("ADMIN_TOKEN", adminToken)
	t.Chdir(t.TempDir())
	for flag, name := range map[string]string{
		"--rate-limit-address=fast": "RATE_LIMIT_ADDRESS: ", "--rate-limit-user=0/s": "RATE_LIMIT_USER: ",
		"--trusted-proxies=proxy.example": "TRUSTED_PROXIES: ", "--trusted-proxies=0.0.0.0/0": "TRUSTED_PROXIES: ",
		"--connection-limit=-1": "CONNECTION_LIMIT: ",
	} {
		require.ErrorContains(t, run([]string{"serve", flag, "--redis-host=192.0.2.1", "--database-host=192.0.2.1"}), name)
	}
}

// seconds pass while the test runs.
var seconds = regexp.MustCompile(`;t=[0-9]+`)

// TestALimitedService runs one with both limits, behind a proxy that is this test.
func TestALimitedService(t *testing.T) {
	p := start(t, nil, append(newStores(t).env(), "RATE_LIMIT_ADDRESS=4/h", "RATE_LIMIT_USER=1/h", "TRUSTED_PROXIES=127.0.0.1")...)
	p.product("phone", 10)
	order := func(user, client string) (int, http.Header) {
		body := fmt.Sprintf(`{"productId":"phone","userId":%q,"quantity":1}`, user)
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.base+"/orders", strings.NewReader(body))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("X-Forwarded-For", client)
		response, err := httpClient.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		return response.StatusCode, response.Header
	}
	for _, step := range []struct {
		user, client string
		status       int
		state        string
	}{
		{"ann", "203.0.113.1", 201, `"address";r=3, "user";r=0`},
		{"ann", "203.0.113.1", 429, `"address";r=2, "user";r=0`},
		{"ann", "203.0.113.2", 429, `"address";r=3, "user";r=0`},
		{"bob", "203.0.113.1", 201, `"address";r=1, "user";r=0`},
		{"cat", "203.0.113.1", 201, `"address";r=0, "user";r=0`},
		{"dan", "203.0.113.1", 429, `"address";r=0`},
		{"dan", "203.0.113.3", 201, `"address";r=3, "user";r=0`},
	} {
		status, header := order(step.user, step.client)
		require.Equal(t, step.status, status, "%+v", step)
		require.Equal(t, step.state, seconds.ReplaceAllString(header.Get("RateLimit"), ""))
		require.Equal(t, step.status == 429, header.Get("Retry-After") != "")
	}
	status, product := p.get("/inventory/phone")
	require.Equal(t, 200, status)
	require.EqualValues(t, 6, product["currentStock"], "only the four accepted orders took something")
}
