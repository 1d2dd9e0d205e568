package faults

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNothingIsLost: servers and processes die, freeze and lose each other, and with Redis' file synced always every order
// that was answered is in the ledger, whatever its mode.
func TestNothingIsLost(t *testing.T) { attack(t, newPlan(t, none, serverKinds, linkKinds)) }

// TestAPromotedReplica: replicas take the primary's place too, under the feet of some processes and not of others. Orders of
// mode fast that the replica did not have are gone then, and are counted; those of the other modes are not.
func TestAPromotedReplica(t *testing.T) { attack(t, newPlan(t, behind, serverKinds, linkKinds)) }

// TestAnEmptiedRedis: Redis is emptied and its file torn too. Orders of mode ledger are kept, and nothing is sold twice.
func TestAnEmptiedRedis(t *testing.T) { attack(t, newPlan(t, all, serverKinds, linkKinds)) }

func attack(t *testing.T, p plan) {
	t.Parallel()
	p.attack(newSite(t, 2, "lamp", "chair", "table"))
}

// attack breaks a site under load, and judges what came of it.
func (p *plan) attack(s *site) {
	t := s.t
	var found costs
	c := s.sell(t, p.seed, func(c *crowd) { found = p.run(s, c) })
	s.quiet()
	r := s.judge(c, p.worst)
	require.Positive(t, r.placed)
	t.Logf("seed %d: %s\n%s", p.seed, r, found)
}
