package bench

import (
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/stretchr/testify/require"

	"flashsale/bench/load"
)

func TestStolenTimeIsReported(t *testing.T) {
	s, err := newSale(t.Context(), Options{Target: "http://127.0.0.1:1"})
	require.NoError(t, err)
	none := hdrhistogram.New(1, 1000, 1)
	var r Report
	r.count(&load.Result{Ops: []load.OpResult{{AcceptedUs: none, RefusedUs: none}}, LateUs: none, Stolen: 0.1}, s)
	require.InDelta(t, 0.1, r.Stolen, 1e-9)
}
