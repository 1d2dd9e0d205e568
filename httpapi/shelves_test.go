package httpapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/httpapi"
	"flashsale/internal/devstack/devtest"
)

// Sales go on while the ledger is away, and so does telling what is left.
func TestWhatIsLeftIsToldWhileTheLedgerIsAway(t *testing.T) {
	h := start(t, httpapi.Config{})
	h.store.setProducts(phone())
	r := h.watchStock("phone")
	require.Len(t, h.figures("/monitoring/metrics")["inventoryLevels"], 1)

	h.store.loseLedger(engine.ErrUnavailable)
	sold := phone()
	sold.Stock.Current, sold.Stock.Sold = 4, 4
	h.store.setProducts(sold)
	require.Contains(t, nextEvent(t, r, ""), `"currentStock":4,`)
	level := h.figures("/monitoring/metrics")["inventoryLevels"].([]any)[0].(map[string]any)
	require.EqualValues(t, 4, level["currentStock"])
	socket := h.watch("/monitoring/stream", nil)
	listed := h.told(socket, "fetch-inventory-updates", "fetch-inventory-updates")["products"].([]any)[0].(map[string]any)
	require.Equal(t, phone().Name, listed["name"])
	require.EqualValues(t, 4, listed["currentStock"])
	h.send("GET", "/inventory/phone", "").requireProblem(t, 503, engine.CodeUnavailable)
	h.send("GET", "/inventory/absent/stream", "").requireProblem(t, 503, engine.CodeUnavailable)

	h.store.loseLedger(nil)
	renamed := phone()
	renamed.Terms.Active = false
	h.store.setProducts(renamed)
	devtest.Eventually(t, waitLimit, "the ledger to be asked again", func() bool {
		return strings.Contains(nextEvent(t, r, "stock"), `"state":"inactive"`)
	})
}

// However many products were looked at, so many are remembered.
func TestWhatIsRememberedIsBounded(t *testing.T) {
	h := start(t, httpapi.Config{})
	var many []engine.Product
	for i := range 600 {
		p := phone()
		p.ID = fmt.Sprintf("p%03d", i)
		many = append(many, p)
	}
	h.store.setProducts(many...)
	for _, p := range many {
		require.Equal(t, 200, h.send("HEAD", "/inventory/"+p.ID+"/stream", "").status)
	}
	h.store.loseLedger(engine.ErrUnavailable)
	answered := 0
	for _, p := range many {
		if h.send("HEAD", "/inventory/"+p.ID+"/stream", "").status == 200 {
			answered++
		}
	}
	require.Equal(t, 512, answered)
}
