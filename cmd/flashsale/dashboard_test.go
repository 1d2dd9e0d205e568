package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"flashsale/httpapi/auth"
)

// crowd places orders until it is stopped.
func (p *process) crowd(product string) (stop func()) {
	quit := make(chan struct{})
	var buying sync.WaitGroup
	buying.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-quit:
				return
			default:
				p.order(product, fmt.Sprintf("buyer-%d", i))
			}
		}
	})
	return sync.OnceFunc(func() {
		close(quit)
		buying.Wait()
	})
}

// again starts the program as it was started, at the same address.
func (p *process) again() {
	p.t.Helper()
	cmd := exec.Command(p.cmd.Args[0], p.cmd.Args[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.cmd.Dir, p.cmd.Env, p.output, p.output
	require.NoError(p.t, cmd.Start())
	ended := make(chan struct{})
	p.cmd, p.ended = cmd, ended
	go func() {
		defer close(ended)
		_ = cmd.Wait() // the test looks at ProcessState
	}()
	p.awaitReady()
}

// storeAway is what a browser says by itself where the page asks for figures to learn why a stream did not begin, or what a
// token may, and a store does not answer in time. The page tries again, or takes the token's word for it.
const storeAway = `status of 503 .*/(monitoring/metrics|orders/admin/metrics)\)$`

const lamp = `.product[data-id="lamp"] `

// TestTheDashboardInABrowser watches a sale as ops do.
func TestTheDashboardInABrowser(t *testing.T) {
	s := newStores(t)
	p := start(t, nil, append(s.env(), "LOCK_TTL=0")...)
	p.product("lamp", 100_000)
	p.product("console", 2)
	b := openBrowser(t)
	b.visit(p.base + "/dashboard")
	b.awaitText("#link-text", "^live$")
	b.awaitText(lamp+".units", "^100,000$|^100K$")
	b.awaitText("#status", "^ok$")
	require.Equal(t, "true", b.eval(`document.querySelectorAll("#partitions li.good").length === 4`))
	b.awaitText("#checks", `Redis\s*up.*Postgres\s*up`)

	b.awaitText("#reconcile", "none yet")

	stop := p.crowd("lamp")
	defer stop()
	b.awaitText("#t-placed", `[1-9]`)
	b.awaitText("#t-p99", `^[0-9]`)
	b.awaitText(lamp+".counts", `^[1-9][0-9,]* sold`)
	b.awaitText(lamp+".pace", `^−[0-9]`)
	b.awaitText("#c-orders .values", `placed\s*[1-9]`)
	b.await("something to be drawn", `(() => { const c = document.querySelector("#c-orders canvas");
		return c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((v) => v > 0) })()`)

	status, held := p.post("/orders", `{"productId":"console","userId":"ann","quantity":1,"holdSeconds":60}`)
	require.Equal(t, http.StatusCreated, status, "%v", held)
	b.awaitText(`.product[data-id="console"] .counts`, `1 held \(50.0 %\)`)
	p.post(fmt.Sprintf("/orders/%v/confirm", held["orderId"]), "")
	p.order("console", "bob")
	b.awaitText(`.product[data-id="console"] .state`, "^sold out$")
	p.order("console", "carl")
	b.awaitText("#refusals", "sold out")
	b.requireRoom()
	b.requireQuiet(storeAway)

	b.admin(p)

	stop()
	p.interrupt()
	b.awaitText("#link-text", `^disconnected since [0-9:]{8} \([0-9]+ s\)$`)
	require.Contains(t, b.eval("document.body.className"), "stale")
	p.again()
	b.awaitText("#link-text", "^live$")
	b.awaitText("#status", "^ok$")
	p.order("lamp", "somebody")
	b.awaitText("#t-total", "^1 since")
	b.requireQuiet("WebSocket connection to .* failed", "net::ERR_CONNECTION_REFUSED", "status of 503") // away, then starting
}

// requireRoom fails where a figure of a rush does not fit its tile, on a phone, a tablet, a laptop or a wall.
func (b *browser) requireRoom() {
	b.t.Helper()
	for _, width := range []int64{360, 641, 1024, 1201, 1280, 1440, 1920, 3840} {
		b.do(chromedp.EmulateViewport(width, 1000))
		for _, figure := range []string{"99,999", "888.8K"} {
			wide := b.eval(`[...document.querySelectorAll(".tile p")].filter((p) => {
				p.querySelector("b").textContent = "` + figure + `";
				return p.scrollWidth > p.clientWidth;
			}).map((p) => p.innerText).join()`)
			require.Empty(b.t, wide, "%s at a width of %d", figure, width)
		}
	}
}

// admin signs in, changes a product, and signs out, by mouse and by keyboard.
func (b *browser) admin(p *process) {
	b.t.Helper()
	require.Equal(b.t, "none", b.eval(`getComputedStyle(document.querySelector(".controls")).display`))
	dark := b.eval("document.documentElement.dataset.theme")
	b.do(chromedp.KeyEvent("t"))
	require.NotEqual(b.t, dark, b.eval("document.documentElement.dataset.theme"))
	b.do(chromedp.KeyEvent("a"))
	b.do(chromedp.SendKeys(chromedp.CSS("#token"), "not-the-token"+kb.Enter))
	b.awaitText("#token-error", "not valid")
	b.do(chromedp.SendKeys(chromedp.CSS("#token"), adminToken+kb.Enter))
	b.await("the dialog to close", `!document.querySelector("#token-dialog").open`)

	b.click(lamp + ".controls button[type=button]")
	b.awaitText(lamp+".controls button[type=button]", "^Press again to close$")
	_, product := p.get("/inventory/lamp")
	require.Equal(b.t, true, product["flashSaleActive"], "one press closes no sale")
	b.eval(`((b) => { if (b.textContent !== "Press again to close") b.click(); b.click(); })` + // it may have been a while
		`(document.querySelector('` + lamp + `.controls button[type=button]'))`)
	b.awaitText(lamp+".state", "^closed$")
	_, product = p.get("/inventory/lamp")
	require.Equal(b.t, false, product["flashSaleActive"])
	b.awaitText("#toast", "closed")
	b.click(lamp + ".controls button[type=button]")
	b.awaitText(lamp+".state", "^on sale$")
	b.do(chromedp.SendKeys(chromedp.CSS(lamp+".controls input"), "500"+kb.Enter))
	b.awaitText(lamp+".counts", "of 100,500$")
	b.do(chromedp.SendKeys(chromedp.CSS(lamp+".controls input"), "-900000"+kb.Enter))
	b.awaitText("#toast", "fewer units are left")

	require.Equal(b.t, "", b.eval(`JSON.stringify({...localStorage, ...sessionStorage}).includes("`+adminToken+`") || document.cookie`+` || ""`),
		"the token is kept nowhere")
	b.click("#sign-in")
	b.await("the controls to be gone", `getComputedStyle(document.querySelector(".controls")).display === "none"`)
	b.awaitText("#link-text", "^live$")
	b.requireQuiet("status of 40[1389]", "status of 409", storeAway)
	require.NotContains(b.t, p.output.String(), adminToken)
}

// TestTheDashboardAsksForAToken where figures are not for everybody.
func TestTheDashboardAsksForAToken(t *testing.T) {
	t.Parallel() // it mostly waits
	key := auth.NewKey()
	line, err := auth.KeyLine(key, "monitor", "wall", "")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "keys")
	require.NoError(t, os.WriteFile(file, []byte(line+"\n"), 0o600))
	p := start(t, nil, append(newStores(t).env(), "AUTH=keys", "API_KEYS_FILE="+file)...)
	b := openBrowser(t)
	b.visit(p.base + "/api/v1/dashboard")
	b.await("the page to ask for a token", `document.querySelector("#token-dialog").open`)
	b.click("#token-cancel")
	b.awaitText("#status", "^sign in$")
	b.awaitText("#link-text", "^signed out$")
	b.awaitText("#problems", "^These figures are shown to those who have a token")
	b.click("#sign-in")
	b.do(chromedp.SendKeys(chromedp.CSS("#token"), key+kb.Enter))
	b.awaitText("#link-text", "^live$")
	b.awaitText("#status", "^ok$")
	b.awaitText("#t-total", "^0 since")
	b.await("no problem to be shown", `document.querySelector("#problems").hidden`)
	require.Equal(t, "none", b.eval(`getComputedStyle(document.querySelector("#products")).display === "none" || document.body.classList.contains("admin") ? "admin" : "none"`))

	b.visit(p.base + "/dashboard") // which forgets the token
	b.await("the page to ask for a token", `document.querySelector("#token-dialog").open`)
	b.click("#token-cancel")
	p.interrupt()
	p.cmd.Env = slices.DeleteFunc(p.cmd.Env, func(v string) bool { return strings.HasPrefix(v, "AUTH=") || strings.HasPrefix(v, "API_KEYS_FILE=") })
	p.again()
	b.awaitText("#link-text", "^live$") // a page on a wall has nobody to sign in
	b.awaitText("#status", "^ok$")
	require.False(t, strings.Contains(p.output.String(), key), "the log has the key")
	b.requireQuiet("status of 40[13]", "WebSocket connection to .* failed", "net::ERR_CONNECTION_REFUSED", "status of 503")
}

// TestTheDashboardTellsAFullLimitFromAWrongToken: who signs in a moment too early is not told that the token is wrong.
func TestTheDashboardTellsAFullLimitFromAWrongToken(t *testing.T) {
	t.Parallel()
	p := start(t, nil, append(newStores(t).env(), "RATE_LIMIT_ADDRESS=1/h:200")...)
	b := openBrowser(t)
	b.visit(p.base + "/dashboard")
	b.awaitText("#link-text", "^live$")
	b.click("#sign-in")
	eventually(t, "the limit to be reached", func() bool {
		status, _ := p.get("/inventory")
		return status == http.StatusTooManyRequests
	})
	b.do(chromedp.SendKeys(chromedp.CSS("#token"), adminToken+kb.Enter))
	b.awaitText("#token-error", "^Too many requests came from here")
	b.requireSaid("status of 429")
}
