package persist_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
	"flashsale/persist"
)

func TestADurableOrderIsNeverShownOtherThanTheLedgerHasIt(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	n := s.start(t)
	n.product(t, "lamp", 3, onSale)
	s.tamper(t, n, "lamp", stockKey, "lamp", "10,0,0,10,1") // seven units that nobody has
	var last engine.OrderID
	for i := range 10 {
		if r, err := n.buy("lamp", fmt.Sprint("buyer-", i), 1); err == nil {
			last = r.ID
		}
	}
	eventually(t, "the ledger's refusal", func() bool {
		view, err := n.store.Order(t.Context(), last)
		require.NoError(t, err)
		if view.Durable {
			require.Equal(t, engine.StatusFailed, view.Status)
		}
		return view.Durable
	})
}

func TestADeadOrderHasFailed(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	s.keeper.OrderGrace = patience // so that its record stays until the test shortens that
	_, err := s.pool.Exec(t.Context(), `ALTER TABLE orders ADD CONSTRAINT no_poison CHECK (user_id <> 'poison')`)
	require.NoError(t, err)
	n := s.start(t)
	n.product(t, "lamp", 3, onSale)
	r, err := n.buy("lamp", "poison", 2)
	require.NoError(t, err)

	dead := func(when string) {
		view, err := n.store.Order(t.Context(), r.ID)
		require.NoError(t, err, when)
		require.Equal(t, engine.StatusFailed, view.Status, when)
		require.True(t, view.Durable, when)
		require.Contains(t, view.Reason, "no_poison", when)
		require.Equal(t, []any{"lamp", "lamp", "poison", int64(2)}, []any{view.Product, view.ProductName, view.User, view.Quantity}, when)
	}
	eventually(t, "the burial", func() bool {
		order, found, err := n.Find(t.Context(), r.ID)
		require.NoError(t, err)
		return found && n.Durable(&order)
	})
	dead("while Redis has its record")
	_, err = n.Trim(t.Context(), n.PartitionOf("lamp"), 0, 100)
	require.NoError(t, err)
	_, found, err := n.Find(t.Context(), r.ID)
	require.NoError(t, err)
	require.False(t, found)
	dead("after its record has gone")
}

func TestAnOrderInRedisIsShownWithoutPostgres(t *testing.T) {
	postgres := devtest.Postgres(t)
	s := &stack{redisURL: devtest.Redis(t).URL(), dbURL: postgres.URL()}
	s.config.Partitions = 1
	s.pool = connect(t, s.dbURL)
	_, err := persist.MigrateUp(t.Context(), s.pool)
	require.NoError(t, err)
	n := s.start(t)
	n.product(t, "lamp", 3, onSale)
	r, err := n.buy("lamp", "ann", 2)
	require.NoError(t, err)
	require.NoError(t, postgres.Kill())
	view, err := n.store.Order(t.Context(), r.ID)
	require.NoError(t, err)
	require.Equal(t, engine.StatusConfirmed, view.Status)
	require.False(t, view.Durable)
	require.Empty(t, view.ProductName)
	require.NoError(t, postgres.Restart(t.Context()))
}

func TestAnOrderOfALaterEpochIsFound(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	s.config.Partitions = 1
	n := s.start(t)
	n.product(t, "lamp", 3, onSale)

	// A process that has not heard of the epoch in force yet, and a ledger that has not drained the order.
	late, err := engine.New(client(t, s.redisURL), s.config)
	require.NoError(t, err)
	require.NoError(t, late.Install(0, engine.Epoch{Number: 0, Namespace: engine.NewNamespace(0), Replid: "old"}))
	store := persist.NewStore(s.pool, late)
	tx, err := s.pool.Begin(t.Context())
	require.NoError(t, err)
	defer tx.Rollback(context.Background())
	_, err = tx.Exec(t.Context(), `SELECT 1 FROM partitions FOR UPDATE`)
	require.NoError(t, err)
	r, err := n.buy("lamp", "ann", 1)
	require.NoError(t, err)

	view, err := store.Order(t.Context(), r.ID)
	require.NoError(t, err)
	require.Equal(t, engine.StatusConfirmed, view.Status)
	require.Equal(t, n.State(0).Epoch, late.State(0).Epoch)
	_, err = store.Order(t.Context(), engine.OrderID{15: 1})
	require.Equal(t, engine.CodeNotFound, codeOf(err))
}
