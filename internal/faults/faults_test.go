package faults

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNothingIsLost: servers and processes die, freeze and lose each other, and with Redis' file synced always every order
// that was answered is in the ledger, whatever its mode.
func TestNothingIsLost(t *testing.T) { attack(t, newPlan(t, none)) }

// TestAPromotedReplica: replicas take the primary's place too, under the feet of some processes and not of others. Orders of
// mode fast that the replica did not have are gone then, and are counted; those of the other modes are not.
func TestAPromotedReplica(t *testing.T) { attack(t, newPlan(t, behind)) }

// TestAnEmptiedRedis: Redis is emptied and its file torn too. Orders of mode ledger are kept, and nothing is sold twice.
func TestAnEmptiedRedis(t *testing.T) { attack(t, newPlan(t, all)) }

func attack(t *testing.T, p plan) {
	t.Parallel()
	s := newSite(t, 2, "lamp", "chair", "table")
	var found costs
	c := s.sell(t, p.seed, func(c *crowd) { found = p.run(s, c) })
	s.quiet()
	r := s.judge(c, p.worst)
	require.Positive(t, r.placed)
	t.Logf("seed %d: %s\n%s", p.seed, r, found)
}
