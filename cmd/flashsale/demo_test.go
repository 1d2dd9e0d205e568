package main

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheDemoShopInABrowser buys by pressing buttons, and finds the order in the ledger and on the dashboard.
func TestTheDemoShopInABrowser(t *testing.T) {
	p := start(t, []string{"--dev"}, "DATA_DIR="+developmentFolder(t))
	eventually(t, "the demo product", func() bool {
		status, _ := p.get("/inventory/demo")
		return status == http.StatusOK
	})
	p.product("last-one", 1)
	const demo, last = `.product[data-id="demo"] `, `.product[data-id="last-one"] `
	b := openBrowser(t)
	b.visit(p.base + "/demo")
	b.awaitText(demo+".left", "^1,000,000 left$")
	b.click(demo + ".buy")
	b.awaitText("#orders .order .how", `^confirmed, answered in [0-9]+ ms · in the ledger$`)
	b.awaitText(demo+".left", "^999,999 left$")

	b.click(last + ".hold")
	b.awaitText(last+".left", "^All in others' baskets$")
	b.awaitText("#orders .order .how", `^held for [0-9]+ s more`)
	b.click("#orders .order .pay")
	b.awaitText("#orders .order .how", `^confirmed, .* in the ledger$`)
	b.awaitText(last+".left", "^Sold out$")
	require.Equal(t, "true", b.eval(`document.querySelector('.product[data-id="last-one"] .buy').disabled`))
	for _, more := range []string{"more-1", "more-2", "more-3"} { // more than are followed as they change
		p.product(more, 7)
	}
	b.awaitText(`.product[data-id="more-3"] .left`, "^7 left$")
	p.do(http.MethodPut, "/inventory/more-3", `{"flashSaleActive":false}`)
	b.awaitText(`.product[data-id="more-3"] .left`, "^Not on sale$")
	require.Equal(t, "true", b.eval(`document.querySelector('.product[data-id="more-3"] .buy').disabled`))
	b.awaitText("#orders .order:last-child .how", "^confirmed") // what was bought before stays
	b.requireQuiet()
	p.do(http.MethodPut, "/inventory/demo", `{"perUserLimit":1}`)
	b.click(demo + ".buy")
	b.awaitText("#toast", "what one buyer may have")
	b.requireSaid("status of 409")

	b.visit(p.base + "/dashboard")
	b.awaitText(`.product[data-id="last-one"] .state`, "^sold out$")
	b.awaitText(`.product[data-id="demo"] .counts`, "^1 sold")
	b.requireQuiet()

	b.visit(p.base + "/demo")
	b.awaitText(demo+".left", "left$")
	p.interrupt()
	b.awaitText("#note", "^The server does not answer, so this list may be old. Trying again…$")
}
