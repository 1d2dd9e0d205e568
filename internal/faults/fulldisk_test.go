//go:build privileged && linux

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
// themselves; what was answered is there.
func TestAFullDisk(t *testing.T) {
	for _, fsync := range []string{"everysec", "always"} {
		t.Run("appendfsync "+fsync, func(t *testing.T) {
			disk := t.TempDir()
			require.NoError(t, syscall.Mount("tmpfs", disk, "tmpfs", 0, diskSize), "mounting needs root")
			t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
			s := newSiteOn(t, 2, newStore(t, "dir "+disk, "appendfsync "+fsync), "lamp")
			ended := s.sell(t, 1, func(c *crowd) {
				ballast := fill(t, disk)
				s.awaitNoSales(c)
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

// awaitNoSales waits until nothing is sold, and health says so.
func (s *site) awaitNoSales(c *crowd) {
	s.t.Helper()
	devtest.Eventually(s.t, comeback, "sales to stop", func() bool { return !c.sellsFor(time.Second) })
	devtest.Eventually(s.t, comeback, "health to say so", func() bool {
		_, health := s.nodes[0].get("/monitoring/health")
		return health.text("status") != "ok"
	})
}

// sellsFor tells whether anything is sold within d.
func (c *crowd) sellsFor(d time.Duration) bool {
	_, sells := c.acceptedWithin(d)
	return sells
}

// TestADiskThatFails: the same where Redis' disk has errors: with appendfsync everysec Redis lives on, refuses to write, and
// goes on when its disk does. After a sync that failed it has to be started anew.
func TestADiskThatFails(t *testing.T) {
	for name, ill := range map[string]trouble{"to write": {failWrites: true}, "to sync": {failSyncs: true}} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t, 1)
			s := newSiteOn(t, 2, newStore(t, "dir "+d.path, "appendfsync everysec"), "lamp")
			ended := s.sell(t, 1, func(c *crowd) {
				mend := d.fail(ill)
				s.awaitNoSales(c)
				mend()
				if ill.failSyncs { // Redis syncs no more where nothing is written, so it never finds out that it could
					require.NoError(t, s.redis.Restart(t.Context()))
				}
				_, sells := c.acceptedWithin(comeback)
				require.True(t, sells, "sales to go on")
			})
			s.quiet()
			t.Logf("a disk that fails %s: %s", name, s.judge(ended, none))
		})
	}
}
