package load

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

func TestStolenTime(t *testing.T) {
	begin := parseMachineTime([]byte("cpu  100 10 50 800 20 5 5 10 70 0\n"))
	require.Equal(t, machineTime{all: 1000, stolen: 10}, begin, "guests are counted once")
	end := parseMachineTime([]byte("cpu  130 10 60 840 20 5 5 30 90 0\n"))
	require.InDelta(t, 0.2, end.stolenSince(begin), 1e-9)
	require.Zero(t, begin.stolenSince(begin), "no time has passed")
	require.Zero(t, begin.stolenSince(end), "the clock went back")

	for _, other := range []string{"", "cpu\n", "cpu0 1 2 3 4 5 6 7 8\n", "cpu 1 2 3 4 5 6 7\n", "cpu 1 2 3 4 5 6 7 x\n"} {
		require.Zero(t, parseMachineTime([]byte(other)), other)
	}
	if runtime.GOOS == "linux" {
		require.Positive(t, machineTimeNow().all)
	}
}

// TestARunSaysWhatWasStolenFromItsBeginningToItsEnd: each answer takes a hundred ticks of the machine, and 20 of them are stolen.
func TestARunSaysWhatWasStolenFromItsBeginningToItsEnd(t *testing.T) {
	var answered atomic.Uint64
	target := serve(t, func(ctx *fasthttp.RequestCtx) {
		answered.Add(1)
		accept(ctx)
	})
	r, err := New(target, Plan{Connections: 2, Visits: 50}, maker(t, &target, Orders{}).Script)
	require.NoError(t, err)
	r.spent = func() machineTime {
		n := answered.Load()
		return machineTime{all: 5000 + 100*n, stolen: 2000 + 20*n}
	}
	result, err := r.Do(t.Context())
	require.NoError(t, err)
	require.InDelta(t, 0.2, result.Stolen, 1e-9)
}
