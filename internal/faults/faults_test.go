package faults

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNothingIsLost: servers and processes die, freeze and lose each other, and with Redis' file synced always every order
// that was answered is in the ledger, whatever its mode.
func TestNothingIsLost(t *testing.T) { attack(t, newPlan(t, false)) }

// TestLossesStayWithinTheirMode: Redis is emptied and its file torn too. Orders of mode fast may be gone then, and are
// counted; those of mode ledger are not, and nothing is sold twice.
func TestLossesStayWithinTheirMode(t *testing.T) { attack(t, newPlan(t, true)) }

func attack(t *testing.T, p plan) {
	t.Parallel()
	s := newSite(t, 2, "lamp", "chair", "table")
	var found costs
	c := s.sell(t, p.seed, func(c *crowd) { found = p.run(s, c) })
	s.quiet()
	r := s.judge(c, p.lossy)
	require.Positive(t, r.placed)
	t.Logf("seed %d: %s\n%s", p.seed, r, found)
}
