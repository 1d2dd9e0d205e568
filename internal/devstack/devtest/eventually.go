package devtest

import (
	"time"

	"github.com/stretchr/testify/require"
)

// pollInterval is how often [Eventually] looks.
const pollInterval = 5 * time.Millisecond

// T is what a test and a property check have in common.
type T interface {
	require.TestingT
	Helper()
}

// Eventually polls until a condition holds, and fails the test where it does not within patience.
func Eventually(t T, patience time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			require.FailNow(t, "waited in vain", "for %s", what)
		}
	}
}
