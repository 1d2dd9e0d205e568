package faults

import (
	"context"
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
	c := &crowd{site: s}
	sale, end := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.run(sale, p.seed)
	}()
	found := p.run(s, c)
	end()
	<-done
	s.quiet()
	r := s.judge(c, p.lossy)
	require.Positive(t, r.placed)
	t.Logf("seed %d: %s\n%s", p.seed, r, found)
}
