package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// browser is a page in a real Chromium, headless.
type browser struct {
	t   *testing.T
	ctx context.Context

	expected []*regexp.Regexp // of what the console says

	mu     sync.Mutex
	said   []string // console: errors, warnings, exceptions
	reader chan struct{}
}

// browserNames are what Chromium is called where it may be installed; `make test` installs the first on Debian.
var browserNames = []string{"chromium", "chromium-browser", "google-chrome", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"}

// openBrowser starts Chromium with a fresh profile and closes it when the test ends.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range browserNames {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	require.NotEmpty(t, path, "there is no Chromium: install the package chromium, as deploy/install-deps.sh test does")
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.Headless, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.UserDataDir(t.TempDir()),
	}
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	for _, flag := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-dev-shm-usage"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	b := &browser{t: t, ctx: ctx, reader: make(chan struct{})}
	require.NoError(t, chromedp.Do(ctx)) // starts it
	go b.listen(chromedp.Console(ctx))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the page's text:\n%s\nthe console:\n%s", b.page(), strings.Join(b.console(), "\n"))
		}
		cancel()
		<-b.reader
		stop()
	})
	return b
}

func (b *browser) listen(messages func(func(chromedp.ConsoleMessage, error) bool)) {
	defer close(b.reader)
	for m, err := range messages {
		if err != nil {
			return
		}
		if slices.Contains([]string{"error", "warning", "exception", "assert"}, string(m.Type)) {
			b.mu.Lock()
			b.said = append(b.said, fmt.Sprintf("%s: %s (%s)", m.Type, m.Text, m.URL))
			b.mu.Unlock()
		}
	}
}

func (b *browser) console() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.said)
}

// requireSaid waits until the console has said what is expected, and fails where it has said anything else.
func (b *browser) requireSaid(expected string) {
	b.t.Helper()
	wanted := regexp.MustCompile(expected)
	eventually(b.t, "the console to say "+expected, func() bool { return slices.ContainsFunc(b.console(), wanted.MatchString) })
	b.requireQuiet(expected)
}

// requireQuiet fails where the console has said anything but what is expected, now or before: a browser says some things late.
func (b *browser) requireQuiet(expected ...string) {
	b.t.Helper()
	for _, pattern := range expected {
		b.expected = append(b.expected, regexp.MustCompile(pattern))
	}
	for _, line := range b.console() {
		known := slices.ContainsFunc(b.expected, func(pattern *regexp.Regexp) bool { return pattern.MatchString(line) })
		require.True(b.t, known, "the console says %q", line)
	}
}

func (b *browser) visit(url string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(1400, 1000), chromedp.Navigate(url))
}

// do runs steps, each of which must be over soon.
func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	require.NoError(b.t, chromedp.Do(ctx, steps...))
}

func (b *browser) click(selector string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// eval returns the value of an expression, which must be a text.
func (b *browser) eval(expression string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("String("+expression+")"))
	require.NoError(b.t, err, expression)
	return text
}

// text returns what an element shows, "" where there is none.
func (b *browser) text(selector string) string {
	b.t.Helper()
	return b.eval(fmt.Sprintf(`document.querySelector(%q)?.textContent ?? ""`, selector))
}

func (b *browser) page() string {
	ctx, cancel := context.WithTimeout(b.ctx, time.Second)
	defer cancel()
	text, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText`))
	return text
}

// awaitText waits until an element shows what the pattern describes.
func (b *browser) awaitText(selector, pattern string) {
	b.t.Helper()
	wanted := regexp.MustCompile(pattern)
	eventually(b.t, selector+" to show "+pattern, func() bool { return wanted.MatchString(b.text(selector)) })
}

// await waits until an expression is true.
func (b *browser) await(what, expression string) {
	b.t.Helper()
	eventually(b.t, what, func() bool { return b.eval("Boolean("+expression+")") == "true" })
}
