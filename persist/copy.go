package persist

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5/pgconn"

	"flashsale/engine"
)

// copyOrders is the fast way for orders that the ledger has not seen: no conflict to look for, no arrays to take apart.
const copyOrders = `
COPY orders (id, partition, product_id, user_id, quantity, status, version, epoch, sequence, idx, created_at, updated_at,
             expires_at, reason, idempotency_key, idempotency_request)
FROM STDIN (FORMAT binary)`

// The binary format of COPY (https://www.postgresql.org/docs/current/sql-copy.html): a header, rows of fields each with
// its length, a trailer.
const (
	copyHeader  = "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	copyTrailer = "\xff\xff"
	copyColumns = 16
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
	tag, err := conn.CopyFrom(ctx, &rowReader{partition: partition, epoch: epoch, rows: rows}, copyOrders)
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
	begun     bool
	ended     bool
	pending   []byte // encoded and not read yet
	buffer    []byte // that pending is a part of
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
		b = appendRow(b, r.partition, r.epoch, r.rows[0])
		r.rows = r.rows[1:]
	}
	if len(r.rows) == 0 {
		b, r.ended = append(b, copyTrailer...), true
	}
	r.buffer, r.pending = b, b
	return true
}

func appendRow(b []byte, partition int, epoch uint64, o *engine.Order) []byte {
	b = binary.BigEndian.AppendUint16(b, copyColumns)
	b = binary.BigEndian.AppendUint32(b, uint32(len(o.ID)))
	b = append(b, o.ID[:]...)
	b = binary.BigEndian.AppendUint32(b, 2)
	b = binary.BigEndian.AppendUint16(b, uint16(partition))
	b = appendText(b, o.Product)
	b = appendText(b, o.User)
	b = appendInt64(b, o.Quantity)
	b = appendText(b, string(o.Status))
	b = appendInt64(b, o.Version)
	b = appendInt64(b, int64(epoch))
	b = appendInt64(b, int64(o.Sequence))
	b = binary.BigEndian.AppendUint32(b, 4)
	b = binary.BigEndian.AppendUint32(b, uint32(o.Index))
	b = appendTime(b, o.CreatedAtMs)
	b = appendTime(b, o.UpdatedAtMs)
	if o.ExpiresAtMs == 0 {
		b = append(b, copyNull...)
	} else {
		b = appendTime(b, o.ExpiresAtMs)
	}
	b = appendTextOrNull(b, o.Reason)
	b = appendTextOrNull(b, o.IdempotencyKey)
	return appendTextOrNull(b, o.Request)
}

// appendTextOrNull writes NULL for no text.
func appendTextOrNull(b []byte, s string) []byte {
	if s == "" {
		return append(b, copyNull...)
	}
	return appendText(b, s)
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
