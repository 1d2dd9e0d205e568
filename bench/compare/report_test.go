package compare

import (
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/stretchr/testify/require"

	"flashsale/bench/load"
)

func TestStolenTimeIsThatOfAllRounds(t *testing.T) {
	none := hdrhistogram.New(1, 1000, 1)
	with := func(stolen float64) round {
		return newRound(&load.Result{Ops: []load.OpResult{{AcceptedUs: none}}, LateUs: none, Stolen: stolen})
	}
	c := comparison{entries: []*entry{{contender: floor{}, rounds: []round{with(0.1), with(0.2)}}, {contender: floor{}, rounds: []round{with(0.3)}}}}
	require.InDelta(t, 0.2, c.load().Stolen, 1e-9)
	require.Zero(t, (&comparison{entries: []*entry{{}}}).stolen(), "none was measured")
}
