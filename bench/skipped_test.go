package bench

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWhatIsNotCheckedIsNotClaimed: after a breach, what follows is named, but neither holds nor is broken.
func TestWhatIsNotCheckedIsNotClaimed(t *testing.T) {
	s := &shop{onLookup: func(_ string, _ int, o *shopOrder) { o.Status = "cancelled" }}
	report, err := Run(t.Context(), small(s.open(t)))
	require.ErrorContains(t, err, ruleKept)
	var skipped []string
	for _, c := range report.Claims {
		if c.Skipped {
			skipped = append(skipped, c.Rule)
			assert.False(t, c.Holds)
		}
	}
	assert.Equal(t, []string{ruleCounts, ruleLists}, skipped)
	var shown bytes.Buffer
	require.NoError(t, report.WriteTable(&shown))
	assert.Contains(t, shown.String(), "\nnot checked, as a rule before was broken:\n  – "+ruleCounts+"\n  – "+ruleLists+"\n")
}

func TestWaitingForCountsIsShown(t *testing.T) {
	s := &shop{onCounts: func(counts map[string]int64) { counts["confirmedOrders"] += counts["confirmedOrders"] / 20 }}
	o := small(s.open(t))
	o.LedgerWait = 300 * time.Millisecond
	var shown bytes.Buffer
	o.Out = &shown
	_, err := Run(t.Context(), o)
	require.ErrorContains(t, err, ruleCounts)
	assert.Contains(t, shown.String(), "counts of the ledger: 20 of 20\n")
}

func TestReportOfAServiceElsewhere(t *testing.T) {
	s := &shop{}
	o := small(s.open(t))
	o.Environment.Apart = true
	report, err := Run(t.Context(), o)
	require.NoError(t, err)
	assert.Equal(t, "not known from here", report.Environment.Service, "the shop does not say")
}

func TestScopesCountOneAsOne(t *testing.T) {
	assert.Equal(t, "the only order", allOf(1, "order"))
	assert.Equal(t, "all 1,000 orders", allOf(1000, "order"))
}

func TestNothingInsteadOfADefault(t *testing.T) {
	many, _ := scenarioOf("many-products")
	assert.Zero(t, Options{Uniform: true}.withDefaults(many).Zipf)
	assert.InDelta(t, 1, Options{}.withDefaults(many).Zipf, 0)
	sustained, _ := scenarioOf("sustained")
	assert.Zero(t, Options{NoWarmup: true}.withDefaults(sustained).Warmup)
	assert.Positive(t, Options{}.withDefaults(sustained).Warmup)
}
