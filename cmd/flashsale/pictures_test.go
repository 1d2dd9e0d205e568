//go:build pictures

package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// TestPictures takes the pictures that the docs show, of a sale that goes on for a minute: `make pictures`.
func TestPictures(t *testing.T) {
	dir := developmentFolder(t)
	p := start(t, []string{"--dev"}, "DATA_DIR="+dir, "LOCK_TTL=0")
	for _, product := range []string{
		`{"id":"aurora-runner","name":"Aurora Runner, mint","price":129,"initialStock":6000}`,
		`{"id":"concert-berlin","name":"Concert Berlin, 14 May","price":89,"initialStock":1500,"perUserLimit":2}`,
		`{"id":"console-x","name":"Console X, 1 TB","price":499,"initialStock":600,"perUserLimit":1}`,
		`{"id":"lamp","name":"Paper lamp","price":39,"initialStock":9000}`,
		`{"id":"old-stock","name":"Old stock","price":9,"initialStock":900,"flashSaleActive":false}`,
		fmt.Sprintf(`{"id":"winter-coat","name":"Winter coat","price":199,"initialStock":500,"startsAt":%q}`,
			time.Now().Add(200*time.Minute).UTC().Format(time.RFC3339)),
	} {
		status, a := p.post("/inventory", product)
		require.Equal(t, http.StatusCreated, status, "%v", a)
	}
	shop, board := openBrowser(t), openBrowser(t)
	board.visit(p.base + "/dashboard")
	board.do(chromedp.EmulateViewport(1600, 1000))
	shop.visit(p.base + "/demo")
	shop.do(chromedp.EmulateViewport(1280, 800))

	stop := p.visitors()
	defer stop()
	board.during(12 * time.Second)
	shop.click(`.product[data-id="demo"] .buy`)
	shop.awaitText("#orders .order .how", "in the ledger$")
	shop.click(`.product[data-id="aurora-runner"] .hold`)
	shop.awaitText("#orders .order .how", "^held .* in the ledger$")
	shop.picture("demo.png", chromedp.CaptureScreenshot())
	board.during(32 * time.Second)
	require.Zero(t, runReconcile(t, []string{"DATA_DIR=" + dir}, "--dev").code)
	board.awaitText("#reconcile", "^clean")
	board.during(8 * time.Second)

	if board.eval("document.documentElement.dataset.theme") == "light" {
		board.do(chromedp.KeyEvent("t"))
	}
	board.picture("dashboard-dark.png", chromedp.CaptureScreenshot())
	board.do(chromedp.KeyEvent("t"))
	board.picture("dashboard-light.png", chromedp.CaptureScreenshot())
	board.do(chromedp.KeyEvent("t"), chromedp.EmulateViewport(390, 844))
	board.during(2 * time.Second)
	board.picture("dashboard-phone.png", chromedp.FullScreenshot(100))
	board.requireQuiet()
}

// during lets a sale go on.
func (b *browser) during(span time.Duration) {
	timer := time.NewTimer(span)
	defer timer.Stop()
	<-timer.C
}

// picture keeps what the page shows below docs/images.
func (b *browser) picture(name string, taken chromedp.Action[[]byte]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, taken)
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(filepath.Join(repository, "docs", "images", name), png, 0o644))
}

// visitors come in waves, some for one product more than for another; a third of them hold first.
func (p *process) visitors() (stop func()) {
	const perSecond, atOnce = 240, 64
	wanted := []string{"aurora-runner", "aurora-runner", "aurora-runner", "lamp", "lamp", "concert-berlin", "console-x", "console-x", "demo"}
	quit, places := make(chan struct{}), make(chan struct{}, atOnce)
	var all sync.WaitGroup
	all.Go(func() {
		began := time.Now()
		tick := time.NewTicker(time.Second / (4 * perSecond))
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			at := time.Since(began).Seconds()
			if rand.Float64() > 0.25*(1.2+0.6*math.Sin(at/11)+0.4*math.Sin(at/3)) {
				continue
			}
			select {
			case places <- struct{}{}:
			default:
				continue
			}
			all.Go(func() {
				defer func() { <-places }()
				p.visitor(wanted[rand.IntN(len(wanted))])
			})
		}
	})
	return sync.OnceFunc(func() {
		close(quit)
		all.Wait()
	})
}

func (p *process) visitor(product string) {
	hold := ""
	if rand.IntN(3) == 0 {
		hold = `,"holdSeconds":40`
	}
	status, order := p.post("/orders", fmt.Sprintf(`{"productId":%q,"userId":"b%d","quantity":1%s}`, product, rand.IntN(1e9), hold))
	if status == http.StatusCreated && hold != "" {
		switch rand.IntN(10) {
		case 0, 1, 2, 3, 4, 5:
			p.post(fmt.Sprintf("/orders/%v/confirm", order["orderId"]), "")
		case 6, 7:
			p.post(fmt.Sprintf("/orders/%v/cancel", order["orderId"]), "")
		}
	}
}
