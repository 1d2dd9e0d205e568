package reconcile

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"flashsale/engine"
)

// sweepRecords compares every order that Redis knows with its row: by its record, or by the log entry that a token stands for.
func (s *sweep) sweepRecords(ctx context.Context, partition int) error {
	near := s.ordersLook(partition)
	var entries []uint64 // by their sequences
	err := s.scan(ctx, partition, func(k engine.Keys) string { return k.Orders }, func(elements []string) error {
		entries = append(entries, namedEntries(elements)...) // tokens of the version before
		records := make(map[engine.OrderID]engine.Order, len(elements)/2)
		for i := 0; i+1 < len(elements); i += 2 {
			id, ok := idOf(elements[i])
			if !ok {
				continue
			}
			record, _, err := engine.ParseKept(id, elements[i+1])
			if err != nil { // then the row differs, whatever it is
				record = engine.Order{ID: id}
			}
			records[id] = record
		}
		s.report.Compared.Records += int64(len(records))
		return s.screenRecords(ctx, records, near)
	})
	if err != nil {
		return err
	}
	err = s.scan(ctx, partition, func(k engine.Keys) string { return k.Meta }, func(elements []string) error {
		entries = append(entries, namedEntries(elements)...)
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.sweepEntries(ctx, partition, entries, near); err != nil {
		return err
	}
	return near.flush(ctx)
}

// namedEntries returns the sequences of entries that tokens among the fields of a hash stand for.
func namedEntries(elements []string) (sequences []uint64) {
	for i := 0; i+1 < len(elements); i += 2 {
		if sequence, byToken := engine.ParseToken(elements[i], elements[i+1]); byToken {
			sequences = append(sequences, sequence)
		}
	}
	return sequences
}

// sweepEntries compares what was sold at once by entries of the log that Redis still had a moment ago. An entry that is gone is
// in the ledger.
func (s *sweep) sweepEntries(ctx context.Context, partition int, sequences []uint64, near *closeLook[engine.OrderID]) error {
	slices.Sort(sequences)
	for len(sequences) > 0 {
		keys, err := s.keysInForce(ctx, partition)
		if err != nil {
			return err
		}
		entries, err := s.tails[partition].peek(ctx, s.engine, keys, sequences[0])
		if err != nil || len(entries) == 0 {
			return err
		}
		records := make(map[engine.OrderID]engine.Order)
		for i := range entries {
			if _, named := slices.BinarySearch(sequences, entries[i].Sequence); named {
				soldBy(&entries[i], records)
			}
		}
		after := entries[len(entries)-1].Sequence + 1
		next, _ := slices.BinarySearch(sequences, after)
		sequences = sequences[next:]
		s.report.Compared.Records += int64(len(records))
		if err := s.screenRecords(ctx, records, near); err != nil {
			return err
		}
	}
	return nil
}

// soldBy adds the orders that an entry has sold at once.
func soldBy(entry *engine.Entry, records map[engine.OrderID]engine.Order) {
	for i := range entry.Orders {
		if o := &entry.Orders[i]; o.Err == nil && o.Record == "" {
			records[o.Order.ID] = o.Order
		}
	}
}

func idOf(text string) (id engine.OrderID, ok bool) {
	copy(id[:], text)
	return id, len(text) == len(id)
}

func (s *sweep) ordersLook(partition int) *closeLook[engine.OrderID] {
	return &closeLook[engine.OrderID]{look: func(ctx context.Context, ids []engine.OrderID) error {
		return s.compareOrders(ctx, partition, ids)
	}}
}

const selectStates = `SELECT id, product_id, user_id, quantity, status, version FROM orders WHERE id = ANY ($1)`

// screenRecords asks the ledger about records and has those looked at closely that differ.
func (s *sweep) screenRecords(ctx context.Context, records map[engine.OrderID]engine.Order, near *closeLook[engine.OrderID]) error {
	ids := make([]engine.OrderID, 0, len(records))
	for id := range records {
		ids = append(ids, id)
	}
	rows, err := s.pool.Query(ctx, selectStates, ids)
	if err != nil {
		return err
	}
	var o engine.Order
	_, err = pgx.ForEachRow(rows, []any{&o.ID, &o.Product, &o.User, &o.Quantity, &o.Status, &o.Version}, func() error {
		record := records[o.ID]
		inLog := record.Product == "" && record.Status == o.Status // of one sold at once, the rest is not known here
		if record.Version == o.Version && (inLog || sameOrder(&record, &o)) {
			delete(records, o.ID)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for id := range records {
		if err := near.add(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// sweepExpiry looks for what is among the holds that expire and is no hold.
func (s *sweep) sweepExpiry(ctx context.Context, partition int) error {
	near := s.ordersLook(partition)
	err := s.scan(ctx, partition, func(k engine.Keys) string { return k.Expiry }, func(elements []string) error {
		var holds []dueHold
		for i := 0; i+1 < len(elements); i += 2 {
			if id, ok := idOf(elements[i]); ok {
				score, _ := strconv.ParseFloat(elements[i+1], 64) // one that is no number differs from any time
				holds = append(holds, dueHold{id, int64(score)})
			}
		}
		return s.screenHolds(ctx, partition, holds, near)
	})
	if err != nil {
		return err
	}
	return near.flush(ctx)
}

// dueHold is a hold and when it is over, as one of those has it who should know.
type dueHold struct {
	id engine.OrderID
	ms int64
}

// screenHolds asks Redis about holds and has those looked at closely that it does not have as such.
func (s *sweep) screenHolds(ctx context.Context, partition int, holds []dueHold, near *closeLook[engine.OrderID]) error {
	for len(holds) > 0 {
		var q engine.AuditQuery
		var some []dueHold
		some, holds, _ = portion(holds, engine.MaxAudit)
		for _, h := range some {
			q.Orders = append(q.Orders, h.id)
		}
		audit, err := s.glance(ctx, partition, &q)
		if err != nil {
			return err
		}
		for i, id := range q.Orders {
			if audit.Guard == engine.GuardOK {
				if audit.Orders[i].DueAt(some[i].ms) {
					continue
				}
			}
			if err := near.add(ctx, id); err != nil {
				return err
			}
		}
	}
	return nil
}

const selectPendingIDs = `
SELECT id, coalesce(expires_at, 'epoch') FROM orders WHERE status = 'pending' AND ($1::text[] IS NULL OR product_id = ANY ($1))`

// sweepPending compares every hold that the ledger has, of all partitions: it reads the whole table.
func (s *sweep) sweepPending(ctx context.Context) error {
	tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx) //nolint:errcheck // it has read only
	if err := unlimited(ctx, tx); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, selectPendingIDs, s.config.Products)
	if err != nil {
		return err
	}
	portions := make([][]dueHold, s.engine.Partitions())
	near := make([]*closeLook[engine.OrderID], len(portions))
	for partition := range near {
		near[partition] = s.ordersLook(partition)
	}
	var id engine.OrderID
	var due time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &due}, func() error {
		partition := id.Partition()
		if partition >= len(portions) {
			return nil // no process has made it
		}
		portions[partition] = append(portions[partition], dueHold{id, due.UnixMilli()})
		if len(portions[partition]) < engine.MaxAudit {
			return nil
		}
		some := portions[partition]
		portions[partition] = nil
		return s.screenHolds(ctx, partition, some, near[partition])
	})
	for partition := range near {
		if err == nil {
			err = s.screenHolds(ctx, partition, portions[partition], near[partition])
		}
		if err == nil {
			err = near[partition].flush(ctx)
		}
	}
	return err
}

// sweepTail compares every order that the log names and the ledger has not taken in.
func (s *sweep) sweepTail(ctx context.Context, partition int) error {
	var ids []engine.OrderID
	err := s.compare(ctx, judgement{
		choose: func(_ context.Context, f *frame) error {
			f.looks = append(f.looks, &look{partition: partition}) // only how far the log has come
			return nil
		},
		judge: func(_ context.Context, f *frame) error {
			ids = nil
			s.noteArrears(f, partition)
			seen := make(map[engine.OrderID]bool)
			entries := f.tails[partition].until(f.looks[0].audit.Sequence)
			for i := range entries {
				for k := range entries[i].Orders {
					if id := entries[i].Orders[k].Order.ID; !seen[id] {
						seen[id] = true
						ids = append(ids, id)
					}
				}
			}
			return nil
		},
	})
	for len(ids) > 0 && err == nil {
		var part []engine.OrderID
		part, ids, _ = portion(ids, engine.MaxAudit)
		err = s.compareOrders(ctx, partition, part)
	}
	return err
}

// compareOrders looks closely at orders.
func (s *sweep) compareOrders(ctx context.Context, partition int, ids []engine.OrderID) error {
	return s.compare(ctx, judgement{
		choose: func(_ context.Context, f *frame) error {
			f.want(partition, engine.AuditQuery{Orders: ids}, nil)
			return nil
		},
		judge: func(ctx context.Context, f *frame) error {
			for _, l := range f.looks {
				facts, err := f.orderFacts(ctx, l)
				if err != nil {
					return fmt.Errorf("orders: %w", err)
				}
				for i := range facts {
					if facts[i].amiss != "" && s.concerns(facts[i].product()) {
						suspect(s.suspects, s.suspects.orders, facts[i].id, partition)
					}
				}
			}
			return nil
		},
	})
}
