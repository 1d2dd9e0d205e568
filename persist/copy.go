package persist

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"flashsale/engine"
)

// copyOrders is the fast way for orders that the ledger has not seen: no conflict to look for, no arrays to take apart. %s
// names the columns that may be empty, of which a batch brings those that some of its orders have.
const copyOrders = `
COPY orders (id, partition, product_id, user_id, quantity, status, version, epoch, sequence, idx, created_at, updated_at%s)
FROM STDIN (FORMAT binary)`

// copyColumns is how many columns every batch brings.
const copyColumns = 12

// mayLack is a column that most orders have nothing in. Read it takes Postgres as long as one that has something.
type mayLack struct {
	name   string
	has    func(o *engine.Order) bool
	append func(b []byte, o *engine.Order) []byte
}

var mayLackColumns = []mayLack{
	{
		"expires_at",
		func(o *engine.Order) bool { return o.ExpiresAtMs != 0 },
		func(b []byte, o *engine.Order) []byte { return appendTime(b, o.ExpiresAtMs) },
	},
	{
		"reason",
		func(o *engine.Order) bool { return o.Reason != "" },
		func(b []byte, o *engine.Order) []byte { return appendText(b, o.Reason) },
	},
	{
		"idempotency_key",
		func(o *engine.Order) bool { return o.IdempotencyKey != "" },
		func(b []byte, o *engine.Order) []byte { return appendText(b, o.IdempotencyKey) },
	},
	{
		"idempotency_request",
		func(o *engine.Order) bool { return o.Request != "" },
		func(b []byte, o *engine.Order) []byte { return appendText(b, o.Request) },
	},
}

// columnsOf returns the columns that may be empty and are not, in all of the rows.
func columnsOf(rows []*engine.Order) (columns []mayLack) {
	for _, c := range mayLackColumns {
		if slices.ContainsFunc(rows, c.has) {
			columns = append(columns, c)
		}
	}
	return columns
}

// The binary format of COPY (https://www.postgresql.org/docs/current/sql-copy.html): a header, rows of fields each with
// its length, a trailer.
const (
	copyHeader  = "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	copyTrailer = "\xff\xff"
	copyNull    = "\xff\xff\xff\xff"
	copyChunk   = 16 << 10 // bytes, about, that are encoded at once

	// postgresEpochMs is where Postgres begins to count time, 2000-01-01 UTC, in ms since 1970.
	postgresEpochMs = 946_684_800_000
)

// writeRows brings rows to the ledger and returns how many it wrote: those of new orders by COPY, the others beside what is
// there.
func (t *ledgerTx) writeRows(ctx context.Context, rows []*engine.Order) (written int64, err error) {
	fresh, changed := t.split(rows)
	if len(fresh) > 0 {
		written, err = copyIn(ctx, t.Conn().PgConn(), t.partition, t.from.epoch.Number, fresh)
	}
	if err != nil || len(changed) == 0 {
		return written, err
	}
	updated, err := t.insert(ctx, t.Tx, changed)
	return written + updated, err
}

// split tells the rows that the ledger does not have from those that it has. It is not asked about orders of version 1.
func (t *ledgerTx) split(rows []*engine.Order) (fresh, changed []*engine.Order) {
	if len(t.old) == 0 {
		return rows, nil
	}
	for i := range rows {
		if _, known := t.old[rows[i].ID]; known {
			changed = append(changed, rows[i])
		} else {
			fresh = append(fresh, rows[i])
		}
	}
	return fresh, changed
}

// copyIn writes new orders and returns how many. A row that the ledger has already is a unique violation.
func copyIn(ctx context.Context, conn *pgconn.PgConn, partition int, epoch uint64, rows []*engine.Order) (int64, error) {
	r := newRowReader(partition, epoch, rows)
	tag, err := conn.CopyFrom(ctx, r, r.statement())
	if err != nil {
		return 0, fmt.Errorf("copy orders: %w", err)
	}
	return tag.RowsAffected(), nil
}

// rowReader encodes rows as they are read, so that Postgres takes the first ones while the last ones are encoded.
type rowReader struct {
	partition int
	epoch     uint64
	rows      []*engine.Order
	more      []mayLack // columns beyond those that every batch brings
	begun     bool
	ended     bool
	pending   []byte // encoded and not read yet
	buffer    []byte // that pending is a part of
}

func newRowReader(partition int, epoch uint64, rows []*engine.Order) *rowReader {
	return &rowReader{partition: partition, epoch: epoch, rows: rows, more: columnsOf(rows)}
}

// statement is what the rows are the data of.
func (r *rowReader) statement() string {
	var names strings.Builder
	for i := range r.more {
		names.WriteString(", " + r.more[i].name)
	}
	return fmt.Sprintf(copyOrders, names.String())
}

// Read implements io.Reader.
func (r *rowReader) Read(into []byte) (n int, err error) {
	for n < len(into) {
		if len(r.pending) == 0 && !r.encode() {
			return n, io.EOF
		}
		copied := copy(into[n:], r.pending)
		r.pending = r.pending[copied:]
		n += copied
	}
	return n, nil
}

// encode encodes the next rows, about copyChunk bytes of them, and tells whether there was anything to be encoded.
func (r *rowReader) encode() bool {
	if r.ended {
		return false
	}
	b := r.buffer[:0]
	if !r.begun {
		b, r.begun = append(b, copyHeader...), true
	}
	for len(r.rows) > 0 && len(b) < copyChunk {
		b = r.appendRow(b, r.rows[0])
		r.rows = r.rows[1:]
	}
	if len(r.rows) == 0 {
		b, r.ended = append(b, copyTrailer...), true
	}
	r.buffer, r.pending = b, b
	return true
}

func (r *rowReader) appendRow(b []byte, o *engine.Order) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(copyColumns+len(r.more)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(o.ID)))
	b = append(b, o.ID[:]...)
	b = binary.BigEndian.AppendUint32(b, 2)
	b = binary.BigEndian.AppendUint16(b, uint16(r.partition))
	b = appendText(b, o.Product)
	b = appendText(b, o.User)
	b = appendInt64(b, o.Quantity)
	b = appendText(b, string(o.Status))
	b = appendInt64(b, o.Version)
	b = appendInt64(b, int64(r.epoch))
	b = appendInt64(b, int64(o.Sequence))
	b = binary.BigEndian.AppendUint32(b, 4)
	b = binary.BigEndian.AppendUint32(b, uint32(o.Index))
	b = appendTime(b, o.CreatedAtMs)
	b = appendTime(b, o.UpdatedAtMs)
	for i := range r.more {
		if r.more[i].has(o) {
			b = r.more[i].append(b, o)
		} else {
			b = append(b, copyNull...)
		}
	}
	return b
}

func appendText(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

func appendInt64(b []byte, n int64) []byte {
	b = binary.BigEndian.AppendUint32(b, 8)
	return binary.BigEndian.AppendUint64(b, uint64(n))
}

// appendTime writes a timestamptz: microseconds since 2000.
func appendTime(b []byte, unixMs int64) []byte { return appendInt64(b, (unixMs-postgresEpochMs)*1000) }
