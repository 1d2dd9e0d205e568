//go:build disk

package faults

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// diskSize is how much room Redis has; the ballast takes what a sale leaves.
const diskSize = "size=64m"

// TestAFullDisk: while Redis can't write its file nothing is sold, health says so, and when there is room sales go on by
// themselves; what was answered is there. Needs the right to mount: `make test-faults-disk`, as root.
func TestAFullDisk(t *testing.T) {
	for _, fsync := range []string{"everysec", "always"} {
		t.Run("appendfsync "+fsync, func(t *testing.T) {
			disk := t.TempDir()
			require.NoError(t, syscall.Mount("tmpfs", disk, "tmpfs", 0, diskSize), "mounting needs root")
			t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
			s := newSiteOn(t, 2, newStore(t, "dir "+disk, "appendfsync "+fsync), "lamp")
			ended := s.sell(t, 1, func(c *crowd) {
				ballast := fill(t, disk)
				devtest.Eventually(t, comeback, "sales to stop", func() bool { return !c.sellsFor(time.Second) })
				devtest.Eventually(t, comeback, "health to say so", func() bool {
					_, health := s.nodes[0].get("/monitoring/health")
					return health.text("status") != "ok"
				})
				require.NoError(t, os.Remove(ballast))
				if fsync == "always" { // Redis ends where it can't keep that word: whoever runs it starts it again
					require.NoError(t, s.redis.Restart(t.Context()))
				}
				_, sells := c.acceptedWithin(comeback)
				require.True(t, sells, "sales to go on")
			})
			s.quiet()
			t.Logf("appendfsync %s: %s", fsync, s.judge(ended, none))
		})
	}
}

// fill leaves no room on a disk.
func fill(t *testing.T, disk string) (ballast string) {
	t.Helper()
	ballast = filepath.Join(disk, "ballast")
	file, err := os.Create(ballast)
	require.NoError(t, err)
	defer file.Close()
	chunk := make([]byte, 4096)
	for err == nil {
		_, err = file.Write(chunk)
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	return ballast
}

// sellsFor tells whether anything is sold within d.
func (c *crowd) sellsFor(d time.Duration) bool {
	_, sells := c.acceptedWithin(d)
	return sells
}
