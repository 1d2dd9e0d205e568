package httpapi_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/httpapi"
)

// fakeGauges answers as it is told.
type fakeGauges struct {
	err error
	top int // products that were asked for
}

func (f *fakeGauges) ActiveHolds(context.Context) ([]int64, error) { return []int64{4, 0}, f.err }

func (f *fakeGauges) TopProducts(_ context.Context, n int) ([]engine.ProductStock, error) {
	f.top = n
	return []engine.ProductStock{{Product: "phone", Stock: engine.Stock{Initial: 6, Current: 1, Held: 2, Sold: 3}}}, f.err
}

func (f *fakeGauges) OpenDeadLetters(context.Context) (int64, error) { return 5, f.err }

func (f *fakeGauges) OpenRefusals(context.Context) (int64, error) { return 6, f.err }

func scrapeWith(t *testing.T, gauges httpapi.Gauges, top int) string {
	t.Helper()
	h := newHarness(t)
	deps := h.deps()
	deps.Gauges, deps.TopProducts = gauges, top
	h.serve(httpapi.Config{}, deps)
	return h.send("GET", "/metrics", "").body
}

func TestGaugesAreAskedFor(t *testing.T) {
	gauges := &fakeGauges{}
	text := scrapeWith(t, gauges, 7)
	require.Equal(t, 7, gauges.top)
	for _, line := range []string{
		`flashsale_holds_active{partition="0"} 4`, `flashsale_holds_active{partition="1"} 0`,
		`flashsale_product_units{product="phone",state="left"} 1`, `flashsale_product_units{product="phone",state="held"} 2`,
		`flashsale_product_units{product="phone",state="sold"} 3`, `flashsale_dead_letters_open 5`, `flashsale_refusals_open 6`,
		`flashsale_sample_failures_total 0`,
	} {
		require.Contains(t, text, line+"\n")
	}
}

func TestNoProductsWhereNoneAreWanted(t *testing.T) {
	require.NotContains(t, scrapeWith(t, &fakeGauges{}, 0), "flashsale_product_units")
}

// A gauge that nobody answers is left out: the last value would be a lie.
func TestGaugesThatNobodyAnswers(t *testing.T) {
	text := scrapeWith(t, &fakeGauges{err: errors.New("away")}, 7)
	for _, name := range []string{"flashsale_holds_active", "flashsale_product_units", "flashsale_dead_letters_open", "flashsale_refusals_open"} {
		require.NotRegexp(t, name, text)
	}
	require.Contains(t, text, "flashsale_sample_failures_total 4\n")
}
