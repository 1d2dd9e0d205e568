package httpapi_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/httpapi"
)

// The viewer is somebody else's code: what it may load is for the policy to say.
func TestDocsLoadNothingFromElsewhere(t *testing.T) {
	h := start(t, httpapi.Config{})
	page := h.send("GET", "/docs", "")
	require.Equal(t, "text/html; charset=utf-8", page.header.Get("Content-Type"))
	references := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page.body, -1)
	require.Len(t, references, 7)
	require.NotRegexp(t, `<script[^>]*>[^<]|<style|style=|\son[a-z]+=`, page.body, "the policy forbids what stands in the page itself")
	for _, prefix := range []string{"/", "/api/v1/"} {
		for _, ref := range append(references, []string{"", "docs"}) {
			got := h.send("GET", prefix+ref[1], "")
			require.Equal(t, 200, got.status, ref[1])
			policy := got.header.Get("Content-Security-Policy")
			require.Contains(t, policy, "default-src 'self'; ")
			require.NotRegexp(t, `unsafe|https?:|\*`, policy)
			require.Equal(t, "nosniff", got.header.Get("X-Content-Type-Options"))
		}
	}
	for _, own := range []string{"docs.js", "docs.css", "index.html"} {
		content, err := os.ReadFile("docsui/" + own)
		require.NoError(t, err)
		require.NotRegexp(t, `(?:https?:)?//[a-z]`, string(content), own)
	}
	require.Contains(t, h.send("GET", "/docs/docs.js", "").body, "validatorUrl: null", "or the viewer asks another host for a badge")
}

// So are the charts of the dashboard, which are uPlot's.
func TestTheChartsLicenceIsKept(t *testing.T) {
	for name, words := range map[string]string{"uplot.LICENSE.txt": "The MIT License", "uplot.js": "(v1.6.32)", "uplot.css": ".uplot"} {
		content, err := os.ReadFile("dashboard/" + name)
		require.NoError(t, err)
		require.Contains(t, string(content), words, name)
	}
}

// The viewer is shipped with its licence, and as the version that its README names.
func TestTheViewersLicenceIsKept(t *testing.T) {
	readme, err := os.ReadFile("docsui/README.md")
	require.NoError(t, err)
	version := regexp.MustCompile(`swagger-ui-dist (\d+\.\d+\.\d+)`).FindStringSubmatch(string(readme))
	require.NotNil(t, version)
	for name, words := range map[string]string{
		"LICENSE": "Apache License", "NOTICE": "SmartBear", "swagger-ui-bundle.js.LICENSE.txt": "license", "swagger-ui-bundle.js": version[1],
	} {
		content, err := os.ReadFile("docsui/" + name)
		require.NoError(t, err)
		require.True(t, strings.Contains(string(content), words), "%s has no %q", name, words)
	}
}

// What it costs to send a page's files interests nobody: they are one series, however many there are.
func TestTheFilesOfPagesAreOneRoute(t *testing.T) {
	h := start(t, httpapi.Config{Demo: true})
	for _, path := range []string{"/docs", "/dashboard", "/dashboard/app.js", "/demo", "/demo/app.js"} {
		require.Equal(t, 200, h.send("GET", path, "").status, path)
	}
	shown := h.admin("GET", "/metrics", "").body
	require.Contains(t, shown, `flashsale_http_request_seconds_count{route="pages"} 5`+"\n")
	require.NotRegexp(t, `route="GET /(docs|dashboard|demo)`, shown)
}

// Where several servers sell, half of the figures are of one of them: whoever looks must not take them for the sale's.
func TestTheDashboardSaysWhoseFiguresItShows(t *testing.T) {
	h := start(t, httpapi.Config{})
	require.Regexp(t, `<p id="whose" class="quiet">Orders, [^<]* latency are those of the server that answers; stock, [^<]* everybody's\.</p>`,
		h.send("GET", "/dashboard", "").body)
}
