package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"flashsale/internal/devstack/devtest"
)

// TestWhatNoOrderGetsIsFoundOutFirst: before there are products, and before anybody comes.
func TestWhatNoOrderGetsIsFoundOutFirst(t *testing.T) {
	for asked, change := range map[string]func(*Options){
		`"holdSeconds":901`:         func(o *Options) { o.Scenario, o.HoldSeconds = "holds", 901 },
		`"durability":"replicated"`: func(o *Options) { o.Durability = "replicated" },
	} {
		s := &shop{answer: func(_ *shop, ctx *fasthttp.RequestCtx) bool {
			if string(ctx.Path()) != "/orders" || !strings.Contains(string(ctx.PostBody()), asked) {
				return false
			}
			ctx.SetStatusCode(400)
			ctx.SetBodyString(`{"code":"invalid_request","detail":"not to be had"}`)
			return true
		}}
		o := small(s.open(t))
		change(&o)
		report, err := Run(t.Context(), o)
		require.EqualError(t, err, "no order like those of this sale is taken: POST /orders: status 400 invalid_request not to be had")
		assert.False(t, report.Begun())
		assert.Empty(t, s.stocks, "no product is left behind")
		assert.Empty(t, s.users)
	}
}

// TestRowsThatCannotBeReadAreFoundOutFirst: not after a sale that then proves nothing.
func TestRowsThatCannotBeReadAreFoundOutFirst(t *testing.T) {
	s := &shop{}
	o := small(s.open(t))
	o.DatabaseURL = "postgres://127.0.0.1:1/none"
	_, err := Run(t.Context(), o)
	require.ErrorContains(t, err, "--rows: ledger: ")
	assert.Empty(t, s.stocks, "no product is left behind")

	o.DatabaseURL = devtest.Database(t)
	db, err := pgx.Connect(t.Context(), o.DatabaseURL)
	require.NoError(t, err)
	_, err = db.Exec(t.Context(), ledgerTables)
	require.NoError(t, err)
	require.NoError(t, db.Close(t.Context()))
	_, err = Run(t.Context(), o)
	require.ErrorIs(t, err, errOtherLedger)
	assert.Empty(t, s.users, "nobody comes")
}

func TestWarmUpThatTookAll(t *testing.T) {
	s := &shop{}
	o := small(s.open(t))
	o.Warmup = time.Minute
	report, err := Run(t.Context(), o)
	require.NoError(t, err)
	assert.Contains(t, report.Verdict(), "; nothing was measured: all came during the warm-up")
}
