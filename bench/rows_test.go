package bench

import (
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }

// ledgerTables are as much of the ledger's as the proof reads.
const ledgerTables = `
CREATE TABLE products (id text, sold bigint);
CREATE TABLE orders (id uuid, product_id text, quantity bigint, status text);
CREATE TABLE dead_letters (product_id text);
INSERT INTO products VALUES ('shoe', 3), ('other', 9);
INSERT INTO orders VALUES ('00000000-0000-0000-0000-000000000001', 'shoe', 1, 'confirmed'),
  ('00000000-0000-0000-0000-000000000002', 'shoe', 1, 'confirmed'), ('00000000-0000-0000-0000-00000000000A', 'shoe', 1, 'confirmed'),
  ('00000000-0000-0000-0000-00000000000b', 'shoe', 1, 'cancelled'), ('00000000-0000-0000-0000-00000000000c', 'other', 9, 'confirmed')`

func TestRowsAreHeldAgainstWhatBuyersWereTold(t *testing.T) {
	for name, damage := range map[string]struct {
		statement string
		rules     []string
	}{
		"none":              {"SELECT", nil},
		"a row lost":        {"DELETE FROM orders WHERE id::text LIKE '%2'; UPDATE products SET sold = sold - 1", []string{ruleRows, ruleRowsSold}},
		"a row twice":       {"INSERT INTO orders SELECT * FROM orders WHERE id::text LIKE '%2'", []string{ruleRows, ruleRowsSold}},
		"an order unheard":  {"INSERT INTO orders VALUES (gen_random_uuid(), 'shoe', 1, 'cancelled')", []string{ruleStray}},
		"two units for one": {"UPDATE orders SET quantity = 2 WHERE id::text LIKE '%2'", []string{ruleRows, ruleStray, ruleRowsSold}},
		"oversold":          {"UPDATE products SET sold = 4 WHERE id = 'shoe'", []string{ruleRowsSold}},
		"not confirmed":     {"UPDATE orders SET status = 'failed' WHERE id::text LIKE '%2'", []string{ruleRowsSold}},
		"a dead letter":     {"INSERT INTO dead_letters VALUES ('shoe')", []string{ruleDead}},
	} {
		t.Run(name, func(t *testing.T) {
			url := devtest.Database(t)
			db, err := pgx.Connect(t.Context(), url)
			require.NoError(t, err)
			defer func() { _ = db.Close(t.Context()) }()
			for _, statement := range []string{ledgerTables, damage.statement} {
				_, err = db.Exec(t.Context(), statement)
				require.NoError(t, err)
			}
			s, err := newSale(Options{Target: "http://127.0.0.1:1", Product: "shoe", DatabaseURL: url})
			require.NoError(t, err)
			for _, last := range []string{"1", "2", "a", "b"} {
				s.book.place([]byte("00000000-0000-0000-0000-00000000000"+last), order{want: statusConfirmed})
			}
			var r rules
			require.NoError(t, s.checkRows(t.Context(), &settlement{stock: Stock{Sold: 3}}, &r))
			assert.Equal(t, damage.rules, rulesOf(r.broken))
			assert.Len(t, r.claims, 4)
		})
	}
}
