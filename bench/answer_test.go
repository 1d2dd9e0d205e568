package bench

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

// TestAnswersThatAreNoneAreNoBreach: what can't be read accuses nobody of selling wrongly, and is named.
func TestAnswersThatAreNoneAreNoBreach(t *testing.T) {
	for path, said := range map[string]string{
		"/inventory/":           "GET /inventory: status 200, but no stock in the answer",
		"/orders/admin/metrics": "GET /orders/admin/metrics: status 200, but no counts in the answer",
		"/orders/user/":         "GET /orders/user: status 200, but no list in the answer",
	} {
		s := &shop{answer: func(_ *shop, ctx *fasthttp.RequestCtx) bool {
			if !ctx.IsGet() || !strings.HasPrefix(string(ctx.Path()), path) {
				return false
			}
			ctx.SetBodyString("<html>Welcome</html>")
			return true
		}}
		o := small(s.open(t))
		o.LedgerWait = 300 * time.Millisecond // it may come right
		report, err := Run(t.Context(), o)
		require.ErrorContains(t, err, said)
		assert.Empty(t, report.Violations)
		assert.False(t, report.Proven)
	}
	s := &shop{answer: func(_ *shop, ctx *fasthttp.RequestCtx) bool {
		ctx.SetBodyString("<html>Welcome</html>")
		return true
	}}
	_, err := Run(t.Context(), small(s.open(t)))
	require.ErrorContains(t, err, "POST /inventory: status 200 where 201 was to come")
}

func TestBreachesAreWrittenAsTheTableIs(t *testing.T) {
	r := &rules{}
	r.checkStock("", &Stock{Initial: 2000, Current: 1001, Sold: 1000}, 2000, span{999, 1500}, span{1000, 1500}, 3000)
	r.check(false, ruleDistinct, int64(12345), 1234567)
	var told []string
	for _, b := range r.broken {
		told = append(told, b.Want+" | "+b.Got)
	}
	assert.Equal(t, []string{
		"2,000 | 1,001 + 0 + 1,000 = 2,001",
		"500 to 1,000 | 1,001",
		"0 left after a sold_out | 500 left after 3,000 sold_out",
		"12,345 | 1,234,567",
	}, told)
	assert.Equal(t, "confirmed 1,234, failed 1", reasonsText(map[string]int64{"confirmed": 1234, "failed": 1}))

	var lines bytes.Buffer
	p := showSteps(&lines, "ledger", 20_000, nil)
	p.add(1500)
	p.stop()
	assert.Equal(t, "ledger: 1,500 of 20,000\n", lines.String())
}
