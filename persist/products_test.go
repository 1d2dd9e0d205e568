package persist_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
)

func ptr[T any](v T) *T { return &v }

func codeOf(err error) engine.Code {
	var known *engine.Error
	if errors.As(err, &known) {
		return known.Code
	}
	return ""
}

func TestProductChanges(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	_, err := n.buy("lamp", "ann", 4)
	require.NoError(t, err)

	steps := []struct {
		name    string
		change  engine.ProductChange
		code    engine.Code
		want    engine.Stock
		version int64
	}{
		{
			name: "more units", change: engine.ProductChange{AdjustStock: ptr[int64](5)},
			want: engine.Stock{Current: 11, Sold: 4, Initial: 15, Change: 2}, version: 2,
		},
		{
			name: "fewer units", change: engine.ProductChange{AdjustStock: ptr[int64](-3)},
			want: engine.Stock{Current: 8, Sold: 4, Initial: 12, Change: 3}, version: 3,
		},
		{
			name: "more is taken away than is left", change: engine.ProductChange{AdjustStock: ptr[int64](-9), Name: ptr("never")},
			code: engine.CodeInvalidState, want: engine.Stock{Current: 8, Sold: 4, Initial: 12, Change: 4}, version: 3,
		},
		{
			name: "so many left, fewer than now", change: engine.ProductChange{CurrentStock: ptr[int64](2)},
			want: engine.Stock{Current: 2, Sold: 4, Initial: 6, Change: 5}, version: 4,
		},
		{
			name: "so many left, more than now", change: engine.ProductChange{CurrentStock: ptr[int64](20)},
			want: engine.Stock{Current: 20, Sold: 4, Initial: 24, Change: 6}, version: 5,
		},
		{
			name: "terms only", change: engine.ProductChange{Active: ptr(false), Name: ptr("Lamp")},
			want: engine.Stock{Current: 20, Sold: 4, Initial: 24, Change: 7}, version: 6,
		},
		{
			name: "somebody was faster", change: engine.ProductChange{Name: ptr("never"), IfVersion: 5},
			code: engine.CodeVersionConflict, want: engine.Stock{Current: 20, Sold: 4, Initial: 24, Change: 7}, version: 6,
		},
		{
			name: "more than there may be", change: engine.ProductChange{AdjustStock: ptr[int64](engine.MaxStock)},
			code: engine.CodeInvalidRequest, want: engine.Stock{Current: 20, Sold: 4, Initial: 24, Change: 7}, version: 6,
		},
	}
	for _, step := range steps {
		step.change.Actor, step.change.Reason = "test", step.name
		_, err := n.store.ChangeProduct(t.Context(), "lamp", step.change)
		require.Equal(t, step.code, codeOf(err), "%s: %v", step.name, err)
		p, err := n.store.Product(t.Context(), "lamp")
		require.NoError(t, err, step.name)
		require.Equal(t, step.want, p.Stock, step.name)
		require.Equal(t, step.version, p.Version, step.name)
		require.Equal(t, step.want.Initial, s.count(t, `SELECT initial_stock FROM products`), step.name)
		require.NotEqual(t, "never", p.Name, step.name)
	}
	_, err = n.buy("lamp", "bob", 1)
	require.ErrorIs(t, err, engine.ErrSaleInactive)
	require.EqualValues(t, 7, s.count(t, `SELECT count(*) FROM stock_changes WHERE taken_at IS NOT NULL`))
	require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM stock_changes WHERE outcome = 'refused' AND applied = 0`))
	_, err = n.store.ChangeProduct(t.Context(), "nobody", engine.ProductChange{Name: ptr("x")})
	require.Equal(t, engine.CodeNotFound, codeOf(err))
	_, err = n.store.CreateProduct(t.Context(), engine.NewProduct{Product: engine.Product{ID: "lamp"}})
	require.Equal(t, engine.CodeInvalidState, codeOf(err))
}

func TestAChangeLeftBehindIsHandedOver(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	// A process wrote the change into the ledger and died before Redis heard of it.
	_, err := s.pool.Exec(t.Context(), `
INSERT INTO stock_changes (product_id, number, kind, amount, at_once, name, price_cents, per_user_limit, active, actor)
VALUES ('lamp', 2, 'add', 5, true, 'lamp', 0, 0, true, 'test')`)
	require.NoError(t, err)
	_, err = s.pool.Exec(t.Context(), `UPDATE products SET change_number = 2, initial_stock = 15`)
	require.NoError(t, err)

	eventually(t, "the change to be taken", func() bool {
		return s.count(t, `SELECT change_taken FROM products`) == 2
	})
	stock, _, err := n.Stock(t.Context(), "lamp")
	require.NoError(t, err)
	require.Equal(t, engine.Stock{Current: 15, Initial: 15, Change: 2}, stock)
}

func TestARebuildLeavesOutAChangeUnderWay(t *testing.T) {
	redis := devtest.Redis(t)
	s := newStack(t, redis.URL())
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	n.stop()
	_, err := s.pool.Exec(t.Context(), `
INSERT INTO stock_changes (product_id, number, kind, amount, at_once, name, price_cents, per_user_limit, active, actor)
VALUES ('lamp', 2, 'add', 5, true, 'lamp', 0, 0, true, 'test')`)
	require.NoError(t, err)
	_, err = s.pool.Exec(t.Context(), `UPDATE products SET change_number = 2, initial_stock = 15`)
	require.NoError(t, err)
	c := client(t, redis.URL())
	require.NoError(t, c.Do(t.Context(), c.B().Flushall().Build()).Error())

	n = s.start(t)
	eventually(t, "the change to be taken, once", func() bool {
		return s.count(t, `SELECT change_taken FROM products`) == 2
	})
	stock, _, err := n.Stock(t.Context(), "lamp")
	require.NoError(t, err)
	require.Equal(t, engine.Stock{Current: 15, Initial: 15, Change: 2}, stock)
}

func TestAChangeThatMayHaveBeenCommittedIsUnknown(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	_, err := s.pool.Exec(t.Context(), `
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		BEGIN PERFORM pg_sleep(1); EXCEPTION WHEN query_canceled THEN NULL; END;
		RETURN NULL;
	END $$;
CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON stock_changes DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow();`)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 900*time.Millisecond)
	defer cancel()
	_, err = n.store.ChangeProduct(ctx, "lamp", engine.ProductChange{AdjustStock: ptr[int64](10), Actor: "test"})
	require.Equal(t, engine.CodeOutcomeUnknown, codeOf(err), "%v", err)
	eventually(t, "the change after all", func() bool { return s.count(t, `SELECT initial_stock FROM products`) == 20 })

	ctx, cancel = context.WithTimeout(t.Context(), 900*time.Millisecond)
	defer cancel()
	sofa := engine.NewProduct{Product: engine.Product{ID: "sofa", Name: "sofa", Terms: onSale}, Actor: "test"}
	_, err = n.store.CreateProduct(ctx, sofa)
	require.Equal(t, engine.CodeOutcomeUnknown, codeOf(err), "%v", err)
	eventually(t, "the product after all", func() bool { return s.count(t, `SELECT count(*) FROM products`) == 2 })
}

func TestACommitThatPostgresRefusesIsDefinite(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	_, err := s.pool.Exec(t.Context(), `
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'check_violation'; END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON stock_changes DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();`)
	require.NoError(t, err)
	_, err = n.store.ChangeProduct(t.Context(), "lamp", engine.ProductChange{AdjustStock: ptr[int64](10), Actor: "test"})
	require.ErrorContains(t, err, "23514")
	require.Empty(t, codeOf(err))
	require.EqualValues(t, 10, s.count(t, `SELECT initial_stock FROM products`))
}

func TestADecreaseOfAStockThatRedisMadeUpDoesNotStopTheDrain(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	n := s.start(t)
	n.product(t, "lamp", 10, onSale)
	_, err := n.buy("lamp", "ann", 10)
	require.NoError(t, err)
	s.awaitLedger(t, n, "lamp", 10)
	s.tamper(t, n, "lamp", stockKey, "lamp", "5,0,5,10,1")
	_, err = n.store.ChangeProduct(t.Context(), "lamp", engine.ProductChange{AdjustStock: ptr[int64](-5), Actor: "test"})
	require.Equal(t, engine.CodeInvalidState, codeOf(err), "%v", err)
	eventually(t, "a rebuild", func() bool {
		stock, _, err := n.Stock(t.Context(), "lamp")
		return err == nil && stock == engine.Stock{Sold: 10, Initial: 10, Change: 2}
	})
}
