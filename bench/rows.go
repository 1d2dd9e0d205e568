package bench

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// rowsProof is what the ledger has of this sale.
type rowsProof struct {
	told    []uint64 // fingerprints of the orders as buyers were told of them, sorted
	met     []bool   // by index of told
	rows    int64
	twice   int64
	stray   int64
	example string // of a stray row
}

// ledgerRow is an order as the ledger has it.
type ledgerRow struct {
	id                    [16]byte
	product, user, status string
	quantity              int64
}

// selectRows has all orders of some products; their units are one each.
const selectRows = `SELECT id, product_id, user_id, status, quantity FROM orders WHERE product_id = ANY($1)`

// selectSums has what the ledger counts for them, its confirmed rows, and what it could not make rows of.
const selectSums = `
SELECT (SELECT coalesce(sum(sold), 0)::bigint FROM products WHERE id = ANY($1)),
       (SELECT coalesce(sum(quantity), 0)::bigint FROM orders WHERE product_id = ANY($1) AND status = 'confirmed'),
       (SELECT count(*) FROM dead_letters WHERE product_id = ANY($1))`

var errOtherLedger = errors.New("--rows: the products of this sale are not in the database at DATABASE_URL: it is another service's")

// findInLedger fails where the rows could not be read after the sale, or are those of another service. There is nothing to
// find where none are to be read.
func (s *sale) findInLedger(ctx context.Context, products []string) error {
	if s.DatabaseURL == "" {
		return nil
	}
	db, err := pgx.Connect(ctx, s.DatabaseURL)
	if err != nil {
		return fmt.Errorf("--rows: ledger: %w", err)
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	found := 0
	if err := db.QueryRow(ctx, `SELECT count(*) FROM products WHERE id = ANY($1)`, products).Scan(&found); err != nil {
		return fmt.Errorf("--rows: products of the ledger: %w", err)
	}
	if found < len(products) {
		return errOtherLedger
	}
	return nil
}

// checkRows reads the ledger itself, once all orders are there. It holds each row against what buyers were told, in memory
// of 9 bytes an order, beside the 8 of its id.
func (s *sale) checkRows(ctx context.Context, settled *settlement, r *rules) error {
	db, err := pgx.Connect(ctx, s.DatabaseURL)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	unkept := s.book.unkept()
	proof := s.told(settled)
	if err := proof.read(ctx, db, s); err != nil {
		return err
	}
	all := int64(len(proof.told)) + unkept
	missing := int64(0)
	for _, met := range proof.met {
		if !met {
			missing++
		}
	}
	missing += max(0, unkept-proof.stray) // each of them looks like a stray
	proof.stray = max(0, proof.stray-unkept)
	r.scope("all %s rows, read from Postgres", grouped(proof.rows))
	if unkept > 0 {
		r.scope("all %s rows, read from Postgres; those of the first %s orders one by one, of the others their number",
			grouped(proof.rows), grouped(all-unkept))
	}
	r.check(missing+proof.twice == 0, ruleRows, all, fmt.Sprintf("%s, and %s of them twice", grouped(all-missing), grouped(proof.twice)))
	r.check(proof.stray <= settled.unresolved, ruleStray, settled.unresolved, grouped(proof.stray)+", such as "+proof.example)
	return s.checkSums(ctx, db, settled, r)
}

// told collects the orders that surely were placed. The book's are not used again.
func (s *sale) told(settled *settlement) *rowsProof {
	told := s.book.rows
	for i := range settled.found {
		told = append(told, s.book.row([]byte(settled.found[i].id), &settled.found[i]))
	}
	slices.Sort(told)
	return &rowsProof{told: told, met: make([]bool, len(told))}
}

func (p *rowsProof) read(ctx context.Context, db *pgx.Conn, s *sale) error {
	rows, err := db.Query(ctx, selectRows, s.products)
	if err != nil {
		return fmt.Errorf("rows of orders: %w", err)
	}
	defer rows.Close()
	var row ledgerRow
	for rows.Next() {
		if err := rows.Scan(&row.id, &row.product, &row.user, &row.status, &row.quantity); err != nil {
			return fmt.Errorf("rows of orders: %w", err)
		}
		p.note(s.book, &row)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("rows of orders: %w", err)
	}
	return nil
}

// note counts a row; one of more than one unit is nobody's, nor is one of another buyer or product, or in another state.
func (p *rowsProof) note(b *book, row *ledgerRow) {
	p.rows++
	var text [36]byte
	id := appendUUID(text[:0], row.id)
	at, known := slices.BinarySearch(p.told, b.rowOf(id, row.product, row.user, row.status))
	if !known { // its buyer may not know how it ended
		at, known = slices.BinarySearch(p.told, b.rowOf(id, row.product, row.user, ""))
	}
	switch {
	case !known || row.quantity != 1:
		p.stray++
		if p.example == "" {
			p.example = fmt.Sprintf("%s: %d of %s for %s, %s", id, row.quantity, row.product, row.user, row.status)
		}
	case p.met[at]:
		p.twice++
	default:
		p.met[at] = true
	}
}

// appendUUID appends the text form of an id, as the API shows it.
func appendUUID(b []byte, id [16]byte) []byte {
	for i, part := range [][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return b
}

func (s *sale) checkSums(ctx context.Context, db *pgx.Conn, settled *settlement, r *rules) error {
	var sold, confirmed, dead int64
	if err := db.QueryRow(ctx, selectSums, s.products).Scan(&sold, &confirmed, &dead); err != nil {
		return fmt.Errorf("sums of the ledger: %w", err)
	}
	r.scope("the ledger's own sums")
	r.check(sold == settled.stock.Sold && confirmed == sold, ruleRowsSold, settled.stock.Sold,
		fmt.Sprintf("%s sold, %s in confirmed rows", grouped(sold), grouped(confirmed)))
	r.check(dead == 0, ruleDead, 0, dead)
	return nil
}
