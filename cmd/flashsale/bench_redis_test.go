package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/bench/cost"
	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
)

// A server that says nothing for a moment while it is to forget is asked again, in portions that it does not mind.
func TestBenchRedisForgetsPatiently(t *testing.T) {
	client, err := engine.Connect(t.Context(), devtest.Redis(t).URL())
	require.NoError(t, err)
	defer client.Close()
	opened, err := (&measuredEngine{client: client}).Open(t.Context(), cost.Shape{Products: 1})
	require.NoError(t, err)
	p := opened.(*measuredPartition) //nolint:forcetypeassert // as it is
	for i := range 6 {
		require.NoError(t, p.Decide(t.Context(), cost.Sale, i*1024, 1024))
	}
	const longerThanTheClientWaits = "700"
	require.NoError(t, client.Do(t.Context(), client.B().Arbitrary("CLIENT", "PAUSE", longerThanTheClientWaits, "ALL").Build()).Error())
	require.NoError(t, p.Forget(t.Context()))
	left, err := client.Do(t.Context(), client.B().Xlen().Key(p.keys.Log).Build()).AsInt64()
	require.NoError(t, err)
	require.Zero(t, left)
	stats, err := client.Do(t.Context(), client.B().Info().Section("commandstats").Build()).ToString()
	require.NoError(t, err)
	require.Regexp(t, `cmdstat_xtrim:calls=3,`, stats, "2048 orders at a time")
	require.NoError(t, p.Close(t.Context()))
}

// TestBenchRedis measures a Redis that is there, with every check on, and leaves nothing in it.
func TestBenchRedis(t *testing.T) {
	url := devtest.Redis(t).URL()
	measure := exec.Command(binary, "bench", "redis", "--json", "--orders=640", "--rounds=1", "--batches=1,64", "--products=1,100", "--buyers=5000,0")
	measure.Dir, measure.Env, measure.Stderr = t.TempDir(), []string{"REDIS_URL=" + url}, os.Stderr
	out, err := measure.Output()
	require.NoError(t, err)
	var report cost.Report
	require.NoError(t, json.Unmarshal(out, &report))

	require.Len(t, report.Shapes, 3)
	for _, s := range report.Shapes {
		for _, kind := range cost.Kinds() {
			require.Positive(t, s.Batches[0].Us[kind], kind)
			require.Positive(t, s.Batches[1].Us[kind], kind)
		}
	}
	require.Greater(t, report.Memory.Undrained.Log, 30.0, "the log holds each order")
	require.Positive(t, report.Memory.Undrained.Record)
	require.Less(t, report.Memory.Undrained.Record, 5.0, "a field a batch")
	require.Less(t, report.Memory.Drained.Order(), 5.0, "the drain takes them away")
	require.InDelta(t, report.Memory.Undrained.Buyer, report.Memory.Drained.Buyer, 0.1, "buyers stay")

	client, err := engine.Connect(t.Context(), url)
	require.NoError(t, err)
	defer client.Close()
	size, err := client.Do(t.Context(), client.B().Dbsize().Build()).AsInt64()
	require.NoError(t, err)
	require.Zero(t, size, "keys are left behind")
}
