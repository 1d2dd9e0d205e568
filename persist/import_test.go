package persist_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
	"flashsale/persist"
)

func manyProducts(n int, units int64) []engine.NewProduct {
	products := make([]engine.NewProduct, n)
	for i := range products {
		p := &products[i]
		p.ID, p.Name, p.PriceCents = fmt.Sprintf("p-%05d", i), fmt.Sprintf("Product %d", i), int64(i)
		p.Stock.Initial, p.Terms.Active, p.Actor, p.Reason = units, true, "import test", "the sale"
	}
	return products
}

func idsOf(products []engine.NewProduct) []string {
	ids := make([]string, len(products))
	for i := range products {
		ids[i] = products[i].ID
	}
	return ids
}

func (s *stack) awaitTaken(t *testing.T, ids []string) {
	t.Helper()
	eventually(t, "all products to be taken", func() bool {
		left, err := persist.Untaken(t.Context(), s.pool, ids)
		require.NoError(t, err)
		return len(left) == 0
	})
}

func TestThousandsOfProductsAreImportedAndEachIsSold(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	n := s.start(t)
	products := manyProducts(2000, 1)
	began := time.Now()
	require.NoError(t, persist.ImportProducts(t.Context(), s.pool, 2, products))
	t.Logf("recorded within %s", time.Since(began))
	s.awaitTaken(t, idsOf(products))
	t.Logf("on sale within %s", time.Since(began))

	sellEach(t, n, products)
	eventually(t, "all orders in the ledger", func() bool { return s.count(t, `SELECT count(*) FROM orders`) == 2000 })
	require.Zero(t, s.count(t, `SELECT count(*) FROM products WHERE sold <> 1 OR initial_stock <> 1 OR change_taken <> 1 OR version <> 1`))
	require.EqualValues(t, 2000, s.count(t, `
SELECT count(*) FROM stock_changes WHERE number = 1 AND kind = 'add' AND amount = 1 AND at_once AND outcome = 'applied'
   AND applied = 1 AND actor = 'import test' AND reason = 'the sale'`))
	p, err := n.store.Product(t.Context(), "p-00007")
	require.NoError(t, err)
	require.Equal(t, "Product 7", p.Name)
	require.EqualValues(t, 7, p.PriceCents)
	require.Equal(t, engine.Stock{Sold: 1, Initial: 1, Change: 1}, p.Stock)
}

// sellEach buys the one unit of each product, twice.
func sellEach(t *testing.T, n *node, products []engine.NewProduct) {
	t.Helper()
	const crowd = 32
	var buyers sync.WaitGroup
	for worker := range crowd {
		buyers.Go(func() {
			for i := worker; i < len(products); i += crowd {
				_, err := n.buy(products[i].ID, "ann", 1)
				if err != nil {
					t.Errorf("%s: %v", products[i].ID, err)
				}
				if _, err := n.buy(products[i].ID, "bob", 1); codeOf(err) != engine.CodeSoldOut {
					t.Errorf("%s is sold twice: %v", products[i].ID, err)
				}
			}
		})
	}
	buyers.Wait()
}

func TestAnImportedProductIsWhatAMadeOneIs(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	n := s.start(t)
	p := engine.NewProduct{Actor: "somebody", Reason: "why"}
	p.Name, p.PriceCents, p.Stock.Initial = "Lamp", 990, 10
	p.Terms = engine.Terms{
		PerUserLimit: 3, Active: true,
		StartsAt: time.UnixMilli(1_700_000_000_001).UTC(), EndsAt: time.UnixMilli(1_900_000_000_999).UTC(),
	}
	p.ID = "made"
	_, err := n.store.CreateProduct(t.Context(), p)
	require.NoError(t, err)
	p.ID = "imported"
	require.NoError(t, persist.ImportProducts(t.Context(), s.pool, 2, []engine.NewProduct{p}))
	s.awaitTaken(t, []string{"imported"})
	for table, id := range map[string]string{"products": "id", "stock_changes": "product_id"} {
		require.EqualValues(t, 1, s.count(t, fmt.Sprintf(`
SELECT count(DISTINCT to_jsonb(r) - '{%s,partition,created_at,updated_at,taken_at}'::text[]) FROM %s r`, id, table)), table)
	}
	require.EqualValues(t, engine.PartitionOf("imported", 2), s.count(t, `SELECT partition FROM products WHERE id = 'imported'`))
}

func TestTheLedgersNumberOfPartitionsCounts(t *testing.T) {
	for name, c := range map[string]struct{ recorded, setting, want int }{
		"recorded, another setting": {recorded: 3, setting: 7, want: 3},
		"a new ledger":              {setting: 7, want: 7},
	} {
		t.Run(name, func(t *testing.T) {
			pool := connect(t, newLedger(t))
			if c.recorded > 0 {
				require.NoError(t, persist.EnsurePartitions(t.Context(), pool, c.recorded))
			}
			products := manyProducts(50, 1)
			require.NoError(t, persist.ImportProducts(t.Context(), pool, c.setting, products))
			require.NoError(t, persist.EnsurePartitions(t.Context(), pool, c.want))
			rows, err := pool.Query(t.Context(), `SELECT id, partition FROM products`)
			require.NoError(t, err)
			defer rows.Close()
			for rows.Next() {
				var id string
				var partition int
				require.NoError(t, rows.Scan(&id, &partition))
				require.Equal(t, engine.PartitionOf(id, c.want), partition)
			}
			require.NoError(t, rows.Err())
			require.EqualValues(t, 50, rows.CommandTag().RowsAffected())
		})
	}
}

func TestAnImportThatMeetsAProductRecordsNothing(t *testing.T) {
	s := newStack(t, devtest.SharedRedis(t))
	products := manyProducts(100, 1)
	require.NoError(t, persist.ImportProducts(t.Context(), s.pool, 2, products[60:61]))
	require.ErrorIs(t, persist.ImportProducts(t.Context(), s.pool, 2, products), persist.ErrImportClash)
	require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM products`))
	require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM stock_changes`))
	existing, err := persist.ExistingProducts(t.Context(), s.pool, idsOf(products))
	require.NoError(t, err)
	require.Equal(t, []string{"p-00060"}, existing)
}

// TestAnImportThatIsBrokenOffRecordsNothing cancels it between its two tables.
func TestAnImportThatIsBrokenOffRecordsNothing(t *testing.T) {
	s := newStack(t, devtest.SharedRedis(t))
	block, err := s.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = block.Exec(t.Context(), `LOCK TABLE stock_changes`)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	importer := connect(t, s.dbURL)
	go func() { ended <- persist.ImportProducts(ctx, importer, 2, manyProducts(100, 1)) }()
	eventually(t, "the import to wait for its second table", func() bool {
		return s.count(t, `SELECT count(*) FROM pg_locks WHERE relation = 'stock_changes'::regclass AND NOT granted`) == 1
	})
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.NoError(t, block.Rollback(t.Context()))
	for _, table := range []string{"products", "stock_changes", "partitions"} {
		require.Zero(t, s.count(t, `SELECT count(*) FROM `+table), table)
	}
}

func TestAnImportBeforeTheFirstServerIsOnSaleWithIt(t *testing.T) {
	s := newStack(t, devtest.Redis(t).URL())
	products := manyProducts(20, 5)
	require.NoError(t, persist.ImportProducts(t.Context(), s.pool, s.config.Partitions, products))
	left, err := persist.Untaken(t.Context(), s.pool, idsOf(products))
	require.NoError(t, err)
	require.Len(t, left, 20)
	n := s.start(t)
	s.awaitTaken(t, idsOf(products))
	_, err = n.buy("p-00019", "ann", 5)
	require.NoError(t, err)
}

func TestAnExportIsWhatTheLedgerHas(t *testing.T) {
	s := newStack(t, devtest.SharedRedis(t))
	products := manyProducts(1001, 9) // more than a page
	require.NoError(t, persist.ImportProducts(t.Context(), s.pool, 2, products))
	_, err := s.pool.Exec(t.Context(), `UPDATE products SET sold = 2 WHERE id = 'p-00003'`)
	require.NoError(t, err)
	_, err = s.pool.Exec(t.Context(), `
INSERT INTO orders (id, partition, product_id, user_id, quantity, status, version, epoch, sequence, idx, created_at, updated_at)
SELECT gen_random_uuid(), 0, 'p-00003', 'ann', 3, status, 1, 1, 1, 0, now(), now() FROM unnest('{pending,expired}'::text[]) AS o (status)`)
	require.NoError(t, err)

	for _, withHeld := range []bool{false, true} {
		at := 0
		err = persist.ExportProducts(t.Context(), s.pool, withHeld, func(p *engine.Product) error {
			want := engine.Stock{Current: 9, Initial: 9}
			if p.ID == "p-00003" {
				want = engine.Stock{Current: 7, Sold: 2, Initial: 9}
			}
			if p.ID == "p-00003" && withHeld {
				want = engine.Stock{Current: 4, Held: 3, Sold: 2, Initial: 9}
			}
			require.Equal(t, products[at].ID, p.ID)
			require.Equal(t, want, p.Stock)
			at++
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, 1001, at)
	}
	last := ""
	err = persist.ExportProducts(t.Context(), s.pool, false, func(p *engine.Product) error {
		last = p.Name
		_, err := s.pool.Exec(t.Context(), `UPDATE products SET name = 'later' WHERE id = 'p-01000' AND name <> 'later'`)
		return err
	})
	require.NoError(t, err)
	require.Equal(t, "Product 1000", last, "all is of one instant")
	err = persist.ExportProducts(t.Context(), s.pool, false, func(*engine.Product) error { return context.DeadlineExceeded })
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
