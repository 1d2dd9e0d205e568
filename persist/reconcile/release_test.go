package reconcile_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
	"flashsale/persist"
	"flashsale/persist/persisttest"
	"flashsale/persist/reconcile"
)

// A hold is released while every process that remembers where the ledger was still runs: none of them puts it back, and all of
// them sell again.
func TestAHoldIsReleasedBesideThoseWhoNoticed(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"sequence": `UPDATE partitions SET sequence = sequence - 1`,
		"epoch": `UPDATE partitions SET epoch = 1, namespace = '1-0123456789abcdef', sequence = 1;
UPDATE orders SET epoch = 1`,
	}
	for name, restore := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, "release-"+name, 1)
			beside := &shop{Process: persisttest.Run(t, s.Pool, s.Redis, s.second, persist.KeeperConfig{OrderGrace: grace})}
			s.product(t, "lamp", 20)
			r := reconcile.New(s.Pool, s.second, reconcile.Config{Actor: "test"})
			defer r.Close()
			opens := func(one *shop, epoch uint64) {
				t.Helper()
				devtest.Eventually(t, patience, "everybody to sell", func() bool {
					return one.State(0).Open && one.State(0).Epoch.Number == epoch
				})
			}
			rebuilt, err := r.Rebuild(t.Context(), 0, false)
			require.NoError(t, err)
			opens(s, rebuilt.Epoch)
			s.buy(t, "lamp", "ann", 1)
			s.drained(t)
			had := s.State(0).Watermark
			devtest.Eventually(t, patience, "the other process to know", func() bool { return beside.Watermark(0) == had })

			s.tell(t, restore)
			devtest.Eventually(t, patience, "the hold", func() bool {
				return s.count(t, `SELECT count(*) FROM partitions WHERE operator_hold IS NOT NULL`) == 1
			})
			_, err = r.Rebuild(t.Context(), 0, false)
			require.ErrorIs(t, err, reconcile.ErrHeld)
			done, err := r.Rebuild(t.Context(), 0, true)
			require.NoError(t, err)
			require.Contains(t, done.Released, "was at epoch")
			require.EqualValues(t, s.count(t, `SELECT epoch FROM partitions`), done.Epoch)
			require.Greater(t, done.Epoch, had.Epoch, "later than anybody remembers")
			for who, one := range map[string]*shop{"ben": s, "cem": beside} {
				opens(one, done.Epoch)
				bought, err := one.orderAs(engine.DurabilityLedger, "lamp", who, "", 1)
				require.NoError(t, err, who)
				require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM orders WHERE id = $1`, bought.Order.ID))
			}
			require.Zero(t, s.count(t, `SELECT count(*) FROM partitions WHERE operator_hold IS NOT NULL`))
		})
	}
}
