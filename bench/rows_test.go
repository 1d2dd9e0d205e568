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
CREATE TABLE orders (id uuid, product_id text, user_id text, quantity bigint, status text);
CREATE TABLE dead_letters (product_id text);
INSERT INTO products VALUES ('shoe', 3), ('other', 9);
INSERT INTO orders VALUES ('00000000-0000-0000-0000-000000000001', 'shoe', 'shoe-1', 1, 'confirmed'),
  ('00000000-0000-0000-0000-000000000002', 'shoe', 'shoe-2', 1, 'confirmed'), ('00000000-0000-0000-0000-00000000000A', 'shoe', 'shoe-3', 1, 'confirmed'),
  ('00000000-0000-0000-0000-00000000000b', 'shoe', 'shoe-4', 1, 'cancelled'), ('00000000-0000-0000-0000-00000000000d', 'shoe', 'shoe-6', 1, 'expired'),
  ('00000000-0000-0000-0000-00000000000c', 'other', 'shoe-5', 9, 'confirmed')`

func TestRowsAreHeldAgainstWhatBuyersWereTold(t *testing.T) {
	for name, damage := range map[string]struct {
		statement string
		rules     []string
	}{
		"none":              {"SELECT", nil},
		"a row lost":        {"DELETE FROM orders WHERE id::text LIKE '%2'; UPDATE products SET sold = sold - 1", []string{ruleRows, ruleRowsSold}},
		"a row twice":       {"INSERT INTO orders SELECT * FROM orders WHERE id::text LIKE '%2'", []string{ruleRows, ruleRowsSold}},
		"an order unheard":  {"INSERT INTO orders VALUES (gen_random_uuid(), 'shoe', 'shoe-8', 1, 'cancelled')", []string{ruleStray}},
		"two units for one": {"UPDATE orders SET quantity = 2 WHERE id::text LIKE '%2'", []string{ruleRows, ruleStray, ruleRowsSold}},
		"oversold":          {"UPDATE products SET sold = 4 WHERE id = 'shoe'", []string{ruleRowsSold}},
		"not confirmed":     {"UPDATE orders SET status = 'failed' WHERE id::text LIKE '%2'", []string{ruleRows, ruleStray, ruleRowsSold}},
		"buyers exchanged":  {"UPDATE orders SET user_id = 'shoe-' || 3 - right(user_id, 1)::int WHERE user_id IN ('shoe-1', 'shoe-2')", []string{ruleRows, ruleStray}},
		"nobody's order":    {"UPDATE orders SET user_id = 'nobody' WHERE id::text LIKE '%b'", []string{ruleRows, ruleStray}},
		"a dead letter":     {"INSERT INTO dead_letters VALUES ('shoe')", []string{ruleDead}},
	} {
		t.Run(name, func(t *testing.T) {
			s := saleOf(t, damage.statement)
			const id = "00000000-0000-0000-0000-00000000000"
			for last, o := range map[string]order{
				"1": {buyer: 1, want: statusConfirmed}, "2": {buyer: 2, want: statusConfirmed}, "b": {buyer: 4, want: statusCancelled},
				"d": {buyer: 6}, // nobody knows how it ended
			} {
				s.book.place([]byte(id+last), o)
			}
			found := []order{{id: id + "a", buyer: 3, want: statusConfirmed}}
			var r rules
			require.NoError(t, s.checkRows(t.Context(), &settlement{stock: Stock{Sold: 3}, found: found}, &r))
			assert.Equal(t, damage.rules, rulesOf(r.broken))
			assert.Len(t, r.claims, 4)
		})
	}
}

// saleOf returns a sale whose ledger has been damaged by a statement.
func saleOf(t *testing.T, damage string) *sale {
	t.Helper()
	url := devtest.Database(t)
	db, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { _ = db.Close(t.Context()) }()
	for _, statement := range []string{ledgerTables, damage} {
		_, err = db.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	s, err := newSale(t.Context(), Options{Target: "http://127.0.0.1:1", Product: "shoe", DatabaseURL: url})
	require.NoError(t, err)
	return s
}

// TestRowsBeyondThoseThatAreKept are counted.
func TestRowsBeyondThoseThatAreKept(t *testing.T) {
	for name, damage := range map[string]struct {
		statement string
		rules     []string
	}{
		"none":             {"SELECT", nil},
		"a row lost":       {"DELETE FROM orders WHERE user_id = 'shoe-4'", []string{ruleRows}},
		"a kept row lost":  {"UPDATE orders SET status = 'failed' WHERE user_id = 'shoe-6'; INSERT INTO products VALUES ('x', 1)", []string{ruleRows, ruleStray}},
		"an order unheard": {"INSERT INTO orders VALUES (gen_random_uuid(), 'shoe', 'shoe-8', 1, 'cancelled')", []string{ruleStray}},
	} {
		t.Run(name, func(t *testing.T) {
			s := saleOf(t, damage.statement)
			s.book.most = 2
			const id = "00000000-0000-0000-0000-00000000000"
			s.book.place([]byte(id+"1"), order{buyer: 1, want: statusConfirmed})
			s.book.place([]byte(id+"d"), order{buyer: 6, want: statusExpired})
			s.book.place([]byte(id+"2"), order{buyer: 2, want: statusConfirmed})
			s.book.place([]byte(id+"b"), order{buyer: 4, want: statusCancelled})
			found := []order{{id: id + "a", buyer: 3, want: statusConfirmed}}
			var r rules
			require.NoError(t, s.checkRows(t.Context(), &settlement{stock: Stock{Sold: 3}, found: found}, &r))
			assert.Equal(t, damage.rules, rulesOf(r.broken))
			rows := Claim{Rule: ruleRows, Scope: "all 5 rows, read from Postgres; those of the first 3 orders one by one, of the others their number", Holds: true}
			if damage.rules == nil {
				assert.Equal(t, rows, r.claims[0])
			}
		})
	}
	partly := sampleReport()
	partly.RowsRead, partly.RowsUnread = true, 12_345
	assert.Contains(t, partly.Verdict(), "nothing twice (row by row, but of the last 12,345 orders, whose number is right)")
}

func TestRowsDifferWhereAnyPartDoes(t *testing.T) {
	s, err := newSale(t.Context(), Options{Target: "http://127.0.0.1:1", Product: "shoe", Products: 2, DatabaseURL: "postgres://"})
	require.NoError(t, err)
	id, told := []byte("order-1"), order{product: 1, buyer: 12, want: statusExpired}
	want := s.book.row(id, &told)
	require.Equal(t, want, s.book.rowOf(id, s.products[1], "shoe-12", "expired"))
	for name, other := range map[string]uint64{
		"id":      s.book.rowOf([]byte("order-2"), s.products[1], "shoe-12", "expired"),
		"product": s.book.rowOf(id, s.products[0], "shoe-12", "expired"),
		"buyer":   s.book.rowOf(id, s.products[1], "shoe-1", "expired"),
		"state":   s.book.rowOf(id, s.products[1], "shoe-12", "confirmed"),
	} {
		require.NotEqual(t, want, other, name)
	}
}
