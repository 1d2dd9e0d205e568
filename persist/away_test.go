package persist_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
	"flashsale/persist"
)

func TestReadsAndChangesAreUnavailableWhilePostgresIsDown(t *testing.T) {
	postgres := devtest.Postgres(t)
	s := &stack{redisURL: devtest.Redis(t).URL(), dbURL: postgres.URL()}
	s.config.Partitions = 1
	s.pool = connect(t, s.dbURL)
	_, err := persist.MigrateUp(t.Context(), s.pool)
	require.NoError(t, err)
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	require.NoError(t, postgres.Kill())

	for name, ask := range map[string]func() error{
		"product":  func() error { _, err := n.store.Product(t.Context(), "lamp"); return err },
		"products": func() error { _, err := n.store.Products(t.Context(), "", 10); return err },
		"create": func() error {
			_, err := n.store.CreateProduct(t.Context(), engine.NewProduct{Product: engine.Product{ID: "sofa"}})
			return err
		},
		"change": func() error {
			_, err := n.store.ChangeProduct(t.Context(), "lamp", engine.ProductChange{Name: ptr("x")})
			return err
		},
	} {
		require.Equal(t, engine.CodeUnavailable, codeOf(ask()), name)
	}
	r, err := n.buy("lamp", "ann", 1)
	require.NoError(t, err, "orders go on")
	view, err := n.store.Order(t.Context(), r.ID)
	require.NoError(t, err)
	require.False(t, view.Durable)
	require.NoError(t, postgres.Restart(t.Context()))
	s.pool = connect(t, s.dbURL) // the connections of the old one are broken
	s.awaitLedger(t, n, "lamp", 1)
}

func TestManyChangesOfOneProductAllLand(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	const people = 20
	outcomes := make(chan error, people)
	for range people {
		go func() {
			_, err := n.store.ChangeProduct(t.Context(), "lamp", engine.ProductChange{AdjustStock: ptr[int64](1)})
			outcomes <- err
		}()
	}
	for range people {
		require.NoError(t, <-outcomes)
	}
	require.EqualValues(t, 10+people, s.count(t, `SELECT initial_stock FROM products`))
}
