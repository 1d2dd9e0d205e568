package httpapi_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/httpapi"
)

const shop = "https://shop.example"

func TestOnlyTheFrontendsPagesMayReadAnswers(t *testing.T) {
	h := start(t, httpapi.Config{Origin: shop})
	got := h.send("GET", "/livez", "", "Origin", shop)
	require.Equal(t, shop, got.header.Get("Access-Control-Allow-Origin"))
	require.Contains(t, got.header.Get("Vary"), "Origin")
	for _, other := range []string{"https://evil.example", "http://shop.example", "https://shop.example.evil.example", "null"} {
		got := h.send("GET", "/livez", "", "Origin", other)
		require.Equal(t, 200, got.status)
		require.Empty(t, got.header.Values("Access-Control-Allow-Origin"), other)
	}
	require.Empty(t, h.send("GET", "/livez", "").header.Values("Access-Control-Allow-Origin"))

	preflight := h.send("OPTIONS", "/orders", "", "Origin", shop, "Access-Control-Request-Method", "POST")
	require.Equal(t, 204, preflight.status)
	require.Contains(t, preflight.header.Get("Access-Control-Allow-Methods"), "POST")
	require.Contains(t, preflight.header.Get("Access-Control-Allow-Headers"), "Content-Type")
	refused := h.send("POST", "/orders", "{", "Origin", shop)
	require.Equal(t, 400, refused.status)
	require.Equal(t, shop, refused.header.Get("Access-Control-Allow-Origin"), "a page may read why it was refused")
}

// listOf splits a header that holds a list.
func listOf(header string) []string { return strings.Split(header, ", ") }

func TestWhatPagesMaySendAndRead(t *testing.T) {
	h := start(t, httpapi.Config{Origin: shop})
	for _, path := range []string{"/orders", "/api/v1/inventory/p"} {
		preflight := h.send("OPTIONS", path, "", "Origin", shop, "Access-Control-Request-Method", "PUT")
		require.Equal(t, 204, preflight.status)
		require.ElementsMatch(t, []string{"GET", "HEAD", "POST", "PUT", "OPTIONS"}, listOf(preflight.header.Get("Access-Control-Allow-Methods")))
		require.ElementsMatch(t, []string{"Authorization", "Content-Type", "Idempotency-Key", "If-Match", "X-Request-Id"},
			listOf(preflight.header.Get("Access-Control-Allow-Headers")))
		require.Empty(t, preflight.header.Values("Access-Control-Allow-Credentials"), "tokens, no cookies")
		stranger := h.send("OPTIONS", path, "", "Origin", "https://evil.example", "Access-Control-Request-Method", "PUT")
		require.Empty(t, stranger.header.Values("Access-Control-Allow-Methods"))
		require.Empty(t, stranger.header.Values("Access-Control-Allow-Headers"))
	}
	require.ElementsMatch(t, []string{
		"ETag", "Idempotent-Replayed", "Ledger-Lag-Ms", "Link", "Location", "RateLimit", "RateLimit-Policy", "Retry-After",
		"X-Request-Id",
	}, listOf(h.send("POST", "/orders", goodOrder, "Origin", shop).header.Get("Access-Control-Expose-Headers")))
}

func TestWithoutAFrontendNoPageMayReadAnswers(t *testing.T) {
	h := start(t, httpapi.Config{})
	require.Empty(t, h.send("GET", "/livez", "", "Origin", shop).header.Values("Access-Control-Allow-Origin"))
}

func TestOriginOf(t *testing.T) {
	for address, want := range map[string]string{
		"": "", shop: shop, shop + "/": shop, "http://localhost:5173/app": "http://localhost:5173",
		"HTTPS://Shop.Example:443": shop, "http://[::1]:80": "http://[::1]", "https://shop.example:80": shop + ":80",
	} {
		got, err := httpapi.OriginOf(address)
		require.NoError(t, err, address)
		require.Equal(t, want, got)
	}
	for _, address := range []string{"shop.example", "*", "ftp://shop.example", "https://", "javascript:alert(1)"} {
		_, err := httpapi.OriginOf(address)
		require.Error(t, err, address)
	}
}
