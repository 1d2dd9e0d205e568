package httpapi_test

import (
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
	nextEvent(t, h.openStock("absent"), "unavailable")

	h.store.loseLedger(nil)
	renamed := phone()
	renamed.Terms.Active = false
	h.store.setProducts(renamed)
	devtest.Eventually(t, waitLimit, "the ledger to be asked again", func() bool {
		return strings.Contains(nextEvent(t, r, "stock"), `"state":"inactive"`)
	})
}
