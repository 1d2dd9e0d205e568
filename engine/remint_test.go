package engine

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// minted is a call that notes the ids it has given.
type minted struct {
	*reserveCall
	ids [][]OrderID // of each time
}

func (c *minted) mint(p *partition, batch []*Reservation) {
	c.reserveCall.mint(p, batch)
	var ids []OrderID
	for _, r := range batch {
		ids = append(ids, r.ID)
	}
	c.ids = append(c.ids, ids)
}

// What is asked again once due holds have expired is asked as a batch of its own, unless nobody knows what became of an
// earlier attempt: then its orders keep their ids, and what is sold later than the others is known by its own.
func TestWhatIsAskedAgainHasItsIDFromTheLastDefiniteAnswer(t *testing.T) {
	for name, lost := range map[string]int64{"every answer came": 0, "the first was lost": 1} {
		t.Run(name, func(t *testing.T) {
			server := devtest.Redis(t, "appendonly no")
			between := newProxy(t, server.URL())
			n := newNode(t, connectTo(t, between.url()), Config{Timeout: patience})
			n.product(t, "a", 1, onSale)
			n.product(t, "b", 1, onSale)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			hold := n.order("a", "holder", 1)
			hold.HoldMs = 1000
			require.NoError(t, n.ReserveTogether(ctx, []*Reservation{hold}))
			n.jump(t, 2*time.Second)

			c := &minted{reserveCall: newReserveCall(n.Engine)}
			s := newSender[*Reservation](n.Engine, n.partitions[0], c)
			defer s.own.drop()
			batch := []*Reservation{n.order("a", "u", 1), n.order("b", "v", 1)}
			for _, r := range batch {
				r.shelf, r.buyer = n.shelves.find(r.Product, crc16(r.Product), n.partitions[0]), BuyerField(r.Product, r.User)
				r.deadline = time.Now().Add(patience)
			}
			s.batch = append(s.batch, batch...)
			between.loseReplies(lost)
			s.send()
			require.Equal(t, lost, between.lost.Load())
			for _, r := range batch {
				<-r.done
				require.NoError(t, r.err, r.User)
				require.Equal(t, r.ID, r.Order.ID)
				require.Equal(t, n.find(t, r.ID).Sequence, r.Order.Sequence)
			}
			late, other := batch[0], batch[1]
			require.Greater(t, late.Order.Sequence, other.Order.Sequence)
			fields := n.fieldsOfOrders(t)
			delete(fields, string(hold.ID[:]))
			if lost > 0 {
				require.Len(t, c.ids, 1)
				require.Equal(t, map[string]string{tokenIn(other.ID): formatUint(other.Order.Sequence), string(late.ID[:]): formatUint(late.Order.Sequence)}, fields)
				return
			}
			require.Len(t, c.ids, 2)
			require.Equal(t, []OrderID{late.ID}, c.ids[1])
			require.NotEqual(t, tokenIn(other.ID), tokenIn(late.ID))
			require.Equal(t, map[string]string{tokenIn(other.ID): formatUint(other.Order.Sequence), tokenIn(late.ID): formatUint(late.Order.Sequence)}, fields)
		})
	}
}
