package main

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBenchWatch has some watch a service.
func TestBenchWatch(t *testing.T) {
	t.Parallel()
	p := start(t, nil, newStores(t).env()...)
	cmd := exec.CommandContext(t.Context(), binary, "bench", "watch", "--target", p.base, "--clients", "20", "--for", "2500ms")
	cmd.Dir = t.TempDir()
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.Regexp(t, `^20 watched for [0-9]+s and got [0-9]\.[0-9]{2} updates a second each; 0 were let go of\n$`, string(said))

	p.kill()
	cmd = exec.CommandContext(t.Context(), binary, "bench", "watch", "--target", p.base, "--clients", "1")
	cmd.Dir = t.TempDir()
	said, err = cmd.CombinedOutput()
	require.Error(t, err)
	require.Regexp(t, `^flashsale: watch ws://127.0.0.1:[0-9]+/monitoring/stream: .*refused\n$`, string(said))
}
