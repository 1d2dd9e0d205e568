package httpapi

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// ours is where the proxies of these tests are.
func ours(tb testing.TB) proxies {
	tb.Helper()
	parsed, err := ParseProxies("10.0.0.0/8, 192.0.2.1,2001:db8:a::/48")
	require.NoError(tb, err)
	return parsed
}

func lines(texts ...string) (list [][]byte) {
	for _, text := range texts {
		list = append(list, []byte(text))
	}
	return list
}

func TestClientBehindProxies(t *testing.T) {
	long := strings.Repeat("10.0.0.9, ", 700)
	for name, c := range map[string]struct {
		peer  string
		lines [][]byte
		want  string
	}{
		"no proxy":                               {"203.0.113.9", nil, "203.0.113.9"},
		"a stranger's word is not taken":         {"203.0.113.9", lines("198.51.100.1"), "203.0.113.9"},
		"a stranger who names a proxy":           {"203.0.113.9", lines("198.51.100.1, 10.0.0.1"), "203.0.113.9"},
		"a stranger beside the network":          {"11.0.0.1", lines("198.51.100.1"), "11.0.0.1"},
		"a proxy's own request":                  {"10.0.0.1", nil, "10.0.0.1"},
		"a client behind a proxy":                {"10.0.0.1", lines("203.0.113.9"), "203.0.113.9"},
		"a proxy listed by its address":          {"192.0.2.1", lines("203.0.113.9"), "203.0.113.9"},
		"beside the listed address":              {"192.0.2.2", lines("203.0.113.9"), "192.0.2.2"},
		"what the client wrote comes first":      {"10.0.0.1", lines("198.51.100.1, 203.0.113.9"), "203.0.113.9"},
		"the client calls itself a proxy":        {"10.0.0.1", lines("198.51.100.1, 10.0.0.7, 203.0.113.9"), "203.0.113.9"},
		"two proxies":                            {"10.0.0.1", lines("198.51.100.1, 203.0.113.9, 10.0.0.2"), "203.0.113.9"},
		"only proxies":                           {"10.0.0.1", lines("10.0.0.3, 10.0.0.2"), "10.0.0.3"},
		"very many proxies":                      {"10.0.0.1", lines(long + "10.0.0.2"), "10.0.0.9"},
		"several lines":                          {"10.0.0.1", lines("198.51.100.1", "203.0.113.9, 10.0.0.3", "10.0.0.2"), "203.0.113.9"},
		"several lines, the last one a client's": {"10.0.0.1", lines("10.0.0.2", "203.0.113.9"), "203.0.113.9"},
		"white space":                            {"10.0.0.1", lines(" 198.51.100.1\t,\t 203.0.113.9 ,10.0.0.2 "), "203.0.113.9"},
		"IPv6":                                   {"10.0.0.1", lines("2001:db8:1::7"), "2001:db8:1::7"},
		"IPv6 proxy":                             {"2001:db8:a::1", lines("2001:db8:1::7, 2001:db8:a:1::2"), "2001:db8:1::7"},
		"mapped":                                 {"10.0.0.1", lines("203.0.113.9, ::ffff:10.0.0.2"), "203.0.113.9"},
		"with a port":                            {"10.0.0.1", lines("203.0.113.9:4711"), "203.0.113.9"},
		"a proxy with a port":                    {"10.0.0.1", lines("203.0.113.9, 10.0.0.2:80"), "203.0.113.9"},
		"IPv6 with a port":                       {"10.0.0.1", lines("[2001:db8:1::7]:4711"), "2001:db8:1::7"},
		"garbage":                                {"10.0.0.1", lines("garbage"), "10.0.0.1"},
		"garbage before a client":                {"10.0.0.1", lines("garbage, 203.0.113.9"), "203.0.113.9"},
		"garbage behind a client":                {"10.0.0.1", lines("203.0.113.9, garbage"), "10.0.0.1"},
		"garbage before a proxy":                 {"10.0.0.1", lines("203.0.113.9, garbage, 10.0.0.2"), "10.0.0.2"},
		"garbage in another line":                {"10.0.0.1", lines("203.0.113.9, unknown", "10.0.0.2"), "10.0.0.2"},
		"an empty line":                          {"10.0.0.1", lines(""), "10.0.0.1"},
		"an empty entry":                         {"10.0.0.1", lines("203.0.113.9,,10.0.0.2"), "10.0.0.2"},
		"a comma behind":                         {"10.0.0.1", lines("203.0.113.9,"), "10.0.0.1"},
		"a zone":                                 {"10.0.0.1", lines("fe80::1%eth0"), "10.0.0.1"},
		"a zone and a port":                      {"10.0.0.1", lines("[fe80::1%eth0]:1"), "10.0.0.1"},
		"leading zeros":                          {"10.0.0.1", lines("203.0.113.09"), "10.0.0.1"},
		"a name":                                 {"10.0.0.1", lines("localhost"), "10.0.0.1"},
		"a name with a port":                     {"10.0.0.1", lines("localhost:80"), "10.0.0.1"},
		"a network":                              {"10.0.0.1", lines("203.0.113.0/24"), "10.0.0.1"},
		"brackets without a port":                {"10.0.0.1", lines("[2001:db8:1::7]"), "10.0.0.1"},
		"other separators":                       {"10.0.0.1", lines("203.0.113.9; 10.0.0.2"), "10.0.0.1"},
		"too long":                               {"10.0.0.1", lines(strings.Repeat("1", 5000)), "10.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, ours(t).client(netip.MustParseAddr(c.peer), c.lines).String())
		})
	}
	peer := netip.MustParseAddr("10.0.0.1")
	require.Equal(t, peer, proxies(nil).client(peer, lines("203.0.113.9")), "nobody is trusted unless listed")
	require.Equal(t, netip.Addr{}, ours(t).client(netip.Addr{}, lines("203.0.113.9")), "a peer without an address")
}

func TestForwardedAddressesTakeNoMemory(t *testing.T) {
	trusted, peer, forwarded := ours(t), netip.MustParseAddr("10.0.0.1"), lines("198.51.100.1, 2001:db8:1::7, 10.0.0.2")
	require.Zero(t, testing.AllocsPerRun(1000, func() { trusted.client(peer, forwarded) }))
}

func TestParseProxies(t *testing.T) {
	for list, want := range map[string]string{
		"": "", "  ": "", "192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.1": "192.0.2.1/32", "2001:db8::1": "2001:db8::1/128",
		"10.0.0.0/8,\t2001:db8::/32": "10.0.0.0/8 2001:db8::/32", "10.1.2.3/8": "10.0.0.0/8",
	} {
		parsed, err := ParseProxies(list)
		require.NoError(t, err, list)
		var texts []string
		for _, network := range parsed {
			texts = append(texts, network.String())
		}
		require.Equal(t, want, strings.Join(texts, " "), list)
	}
	for list, want := range map[string]error{
		"proxy.example": errNoNetwork, "10.0.0.1,": errNoNetwork, "10.0.0.0/33": errNoNetwork, "10.0.0.1:80": errNoNetwork,
		"fe80::1%eth0": errNoNetwork, "10.0.0.1 10.0.0.2": errNoNetwork, "::ffff:10.0.0.0/104": errNoNetwork, "*": errNoNetwork,
		"0.0.0.0/0": errTrustsEverybody, "10.0.0.1,::/0": errTrustsEverybody, strings.Repeat("10.0.0.1,", 256) + "10.0.0.1": errTooManyProxies,
	} {
		_, err := ParseProxies(list)
		require.ErrorIs(t, err, want, list)
	}
	parsed, err := ParseProxies(strings.Repeat("10.0.0.1,", 255) + "10.0.0.1")
	require.NoError(t, err)
	require.Len(t, parsed, maxProxies)
}

// FuzzClientBehindProxies holds the walk over the lines against one over a plain list.
func FuzzClientBehindProxies(f *testing.F) {
	f.Add("10.0.0.1", "198.51.100.1, 203.0.113.9", "10.0.0.2:80")
	f.Add("203.0.113.9", "198.51.100.1", "")
	f.Add("2001:db8:a::1", "[2001:db8:1::7]:1,fe80::1%a", "::ffff:10.0.0.2")
	trusted := ours(f)
	f.Fuzz(func(t *testing.T, peerText, first, second string) {
		peer, err := netip.ParseAddr(peerText)
		if err != nil {
			peer = netip.MustParseAddr("10.0.0.1")
		}
		got := trusted.client(peer, lines(first, second))
		entries := strings.Split(first+","+second, ",")
		slices.Reverse(entries)
		want := peer
		for _, entry := range entries {
			address, ok := forwardedAddress([]byte(entry))
			if !trusted.trust(want) || !ok {
				break
			}
			want = address
		}
		require.Equal(t, want, got)
		require.True(t, got == peer || got.Zone() == "" && !got.Is4In6())
	})
}
