package main

import (
	"net/netip"
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
