package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// Promise 17: whatever clock the process has that mints an order's id, and whatever lies between its clock and Redis's,
// windows, locks, keys and holds go by Redis's alone. A second process, which has learnt the time by itself, agrees.
func TestOnlyRedisTimeCounts(t *testing.T) {
	client := connectTo(t, devtest.SharedRedis(t))
	for name, test := range map[string]struct {
		wrong time.Duration // the wall clock of the process, from the right time
		ahead time.Duration // Redis's, from the machine's
	}{
		"all right":                 {},
		"ten minutes slow":          {wrong: -10 * time.Minute},
		"ten minutes fast":          {wrong: 10 * time.Minute},
		"redis ahead":               {ahead: 10 * time.Minute},
		"redis ahead, process slow": {wrong: -10 * time.Minute, ahead: 10 * time.Minute},
		"redis ahead, process fast": {wrong: 20 * time.Minute, ahead: 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			config := Config{Prefix: "clocks", LockTTL: time.Minute, KeyTTL: time.Minute, LateConfirm: time.Minute, MaxExtensions: 1}
			n := lanesOnly(t, client, config)
			other := lanesOnly(t, client, config)
			require.NoError(t, other.Install(0, n.partitions[0].view.Load().Epoch))
			_, err := other.Check(t.Context(), 0)
			require.NoError(t, err)
			for _, p := range []*node{n, other} {
				p.wall = func() time.Time { return time.Now().Add(test.wrong) }
			}
			buy := func(n *node, user string, holdMs int64, key string) (*Reservation, error) {
				r := n.order("a", user, 1)
				r.HoldMs, r.Key = holdMs, key
				return r, n.Reserve(r, time.Now())
			}
			n.jump(t, test.ahead+time.Minute) // the clock stands from here on
			start := n.now(t)
			n.product(t, "a", 10, Terms{Active: true, StartsAt: time.UnixMilli(start + 1000), EndsAt: time.UnixMilli(start + 200_000)})
			at := func(ms int64) {
				n.jumpTo(t, start+ms)
				_, err := other.Check(t.Context(), 0)
				require.NoError(t, err)
			}
			at(0)
			for _, p := range []*node{n, other} {
				_, err = buy(p, "u", 0, "")
				require.Equal(t, ErrSaleNotStarted, err)
			}
			at(1000)
			sold, err := buy(other, "u", 0, "")
			require.NoError(t, err)
			require.Equal(t, start+1000, sold.Order.CreatedAtMs)
			early, err := buy(n, "u", 0, "")
			require.Equal(t, ErrDuplicateOrder, err)
			require.Equal(t, []int64{start + 61_000, 60_000}, []int64{early.RetryAtMs, early.RetryAfterMs})
			held, err := buy(n, "v", 30_000, "key")
			require.NoError(t, err)
			require.Equal(t, start+31_000, held.Order.ExpiresAtMs)
			extended, err := buy(other, "x", 30_000, "")
			require.NoError(t, err)
			longer, err := n.extend(extended.ID, 10*time.Minute)
			require.NoError(t, err)
			require.InDelta(t, start+601_000, longer.Order.ExpiresAtMs, 5000, "from Redis's now on")
			at(30_999)
			require.Zero(t, other.sweepOnce(t))
			_, err = buy(other, "u", 0, "")
			require.Equal(t, ErrDuplicateOrder, err)
			again, err := buy(other, "v", 30_000, "key")
			require.NoError(t, err)
			require.True(t, again.Replayed)
			at(31_000)
			require.Equal(t, int64(1), other.sweepOnce(t))
			at(61_000)
			_, err = buy(n, "u", 0, "")
			require.NoError(t, err, "the lock has ended")
			at(90_999)
			_, err = other.confirm(held.ID, 0)
			require.NoError(t, err, "within the minute for late confirms")
			at(200_000)
			_, err = buy(other, "w", 0, "")
			require.Equal(t, ErrSaleEnded, err)
			require.Equal(t, Stock{Current: 6, Held: 1, Sold: 3, Initial: 10, Change: 1}, n.stock(t, "a"))
		})
	}
}
