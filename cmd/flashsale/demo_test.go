package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/persist"
)

// TestDevelopmentIsReadyOnceTheDemoProductIsOnSale, however long its stores take for it.
func TestDevelopmentIsReadyOnceTheDemoProductIsOnSale(t *testing.T) {
	stores := newStores(t)
	_, err := persist.MigrateUp(t.Context(), stores.pool)
	require.NoError(t, err)
	_, err = stores.pool.Exec(t.Context(), `ALTER TABLE products ADD CONSTRAINT later CHECK (id <> 'demo')`)
	require.NoError(t, err)
	p := launch(t, []string{binary}, []string{"--dev"}, stores.env()...)
	p.awaitSaid(http.StatusServiceUnavailable, "[the demo product is not on sale yet]")
	eventually(t, "the log to say why", func() bool { return strings.Contains(p.output.String(), `violates check constraint`) })
	require.NotContains(t, p.output.String(), "is open at")
	_, err = stores.pool.Exec(t.Context(), `ALTER TABLE products DROP CONSTRAINT later`)
	require.NoError(t, err)
	p.awaitReady()
	status, placed := p.order("demo", "ann")
	require.Equal(t, http.StatusCreated, status, "%v", placed)
	eventually(t, "the greeting", func() bool { return strings.Contains(p.output.String(), "is open at") })
	p.interrupt()
}

// TestTheDemoShopInABrowser buys by pressing buttons, and finds the order in the ledger and on the dashboard.
func TestTheDemoShopInABrowser(t *testing.T) {
	p := start(t, []string{"--dev"}, "DATA_DIR="+developmentFolder(t))
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
