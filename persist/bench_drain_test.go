package persist

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/internal/devstack/devtest"
)

const (
	benchEntryOrders = 32      // orders a log entry, about what a busy lane makes of 64 connections
	benchRoundOrders = 100_000 // orders a partition and round
)

// BenchmarkDrain is the rate at which a backlog of new orders is drained, from the log to the commit, as a ratio to what
// Postgres can do: binary COPY of as many such rows into the same table, one statement a batch, on as many connections.
// Floor and drain take turns; -benchtime 5x is five of each, of which the medians count.
func BenchmarkDrain(b *testing.B) {
	for _, partitions := range []int{1, 4} {
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) {
			rig := newDrainRig(b, partitions, "appendonly no")
			rig.drain(b) // until all is as warm as it gets
			var floors, drains []float64
			for b.Loop() {
				floors = append(floors, rig.floor(b))
				drains = append(drains, rig.drain(b))
			}
			floor, drain := middle(floors), middle(drains)
			b.ReportMetric(floor, "floor-orders/s")
			b.ReportMetric(drain, "orders/s")
			b.ReportMetric(drain/floor, "of-floor")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func middle(figures []float64) float64 {
	slices.Sort(figures)
	return figures[len(figures)/2]
}

// drainRig is a ledger and a Redis with one drainer a partition.
type drainRig struct {
	pool    *pgxpool.Pool
	client  rueidis.Client
	leaders []*leader
	replid  string
	logged  []uint64 // last sequence of each partition's log
}

func newDrainRig(b testing.TB, partitions int, redis ...string) *drainRig {
	pool := ledger(b, 1<<40)
	exec(b, pool, `INSERT INTO partitions (partition, epoch, namespace)
		SELECT n, 1, '1-0123456789abcdef' FROM generate_series(1, $1::int - 1) n`, partitions)
	exec(b, pool, `INSERT INTO products (id, partition, name, price_cents, initial_stock, change_number, change_taken)
		SELECT 'lamp-' || n, n, 'lamp', 0, 1::bigint << 40, 1, 1 FROM generate_series(0, $1::int - 1) n`, partitions)
	client, err := engine.Connect(b.Context(), devtest.Redis(b, redis...).URL())
	require.NoError(b, err)
	b.Cleanup(client.Close)
	e, err := engine.New(client, engine.Config{Partitions: partitions})
	require.NoError(b, err)
	keeper := NewKeeper(pool, e, KeeperConfig{Logger: slog.Default()})
	rig := &drainRig{pool: pool, client: client, logged: make([]uint64, partitions)}
	for p := range partitions {
		l := &leader{follower: &follower{Keeper: keeper, partition: p, log: slog.Default()}, conn: connOf(b, pool), last: context.Background()}
		l.link, err = e.Connect(b.Context(), p)
		require.NoError(b, err)
		b.Cleanup(l.link.Close)
		rig.leaders = append(rig.leaders, l)
	}
	rig.replid, err = rig.leaders[0].link.Replid(b.Context())
	require.NoError(b, err)
	exec(b, pool, `UPDATE partitions SET replid = $1`, rig.replid)
	return rig
}

// newOrders makes a partition's next orders, as a lane would have had them logged.
func (r *drainRig) newOrders(partition, orders int) []engine.Entry {
	entries := make([]engine.Entry, 0, orders/benchEntryOrders)
	began, product := time.Now(), fmt.Sprintf("lamp-%d", partition)
	for i := range cap(entries) {
		at := began.Add(time.Duration(i) * time.Millisecond)
		r.logged[partition]++
		e := engine.Entry{Sequence: r.logged[partition], TimeMs: at.UnixMilli()}
		for k := range benchEntryOrders {
			o := engine.Order{
				ID: engine.NewOrderID(partition, at), Product: product, User: fmt.Sprintf("user-%016x", rand.Uint64()), Quantity: 1,
				Status: engine.StatusConfirmed, Version: 1, CreatedAtMs: e.TimeMs, UpdatedAtMs: e.TimeMs, Sequence: e.Sequence, Index: k,
			}
			e.Orders = append(e.Orders, engine.LoggedOrder{Order: o, Record: o.Record()})
		}
		entries = append(entries, e)
	}
	return entries
}

// floor copies a round of orders into the ledger's table and returns how many a second.
func (r *drainRig) floor(b *testing.B) float64 {
	encoded := make([][][]byte, len(r.leaders))
	for p := range r.leaders {
		sequence := r.logged[p]
		for entries := r.newOrders(p, benchRoundOrders); len(entries) > 0; {
			head := cut(entries, defaultBatchOrders)
			entries = entries[len(head):]
			rows, err := io.ReadAll(newRowReader(p, 1, ordersOf(fold(head))))
			require.NoError(b, err)
			encoded[p] = append(encoded[p], rows)
		}
		r.logged[p] = sequence // they were never in the log
	}
	return r.rate(b, func(ctx context.Context, p int) error {
		for _, batch := range encoded[p] {
			if _, err := r.leaders[p].conn.PgConn().CopyFrom(ctx, bytes.NewReader(batch), newRowReader(p, 1, nil).statement()); err != nil {
				return err
			}
		}
		return nil
	})
}

// drain has a backlog of a round drained and returns how many orders a second.
func (r *drainRig) drain(b *testing.B) float64 {
	for p, l := range r.leaders {
		r.log(b, l, r.newOrders(p, benchRoundOrders))
	}
	return r.rate(b, func(ctx context.Context, p int) error {
		l := r.leaders[p]
		for {
			at, err := l.position(ctx)
			if err != nil || at.sequence == r.logged[p] {
				return err
			}
			if err := l.engine.Install(p, at.epoch); err != nil {
				return err
			}
			if err := l.drain(ctx, at, r.logged[p]); err != nil {
				return err
			}
		}
	})
}

// log writes entries into a partition's log, and forgets those before.
func (r *drainRig) log(b testing.TB, l *leader, entries []engine.Entry) {
	at, err := l.position(b.Context())
	require.NoError(b, err)
	keys, err := l.engine.EpochKeys(l.partition, at.epoch)
	require.NoError(b, err)
	require.NoError(b, r.client.Do(b.Context(), r.client.B().Xtrim().Key(keys.Log).Maxlen().Threshold("0").Build()).Error())
	r.append(b, keys, entries)
}

func (r *drainRig) append(b testing.TB, keys engine.Keys, entries []engine.Entry) {
	var commands rueidis.Commands
	for i := range entries {
		e := &entries[i]
		add := r.client.B().Xadd().Key(keys.Log).Id(fmt.Sprintf("%d-0", e.Sequence)).FieldValue().FieldValue("orders", fmt.Sprint(e.TimeMs))
		for k := range e.Orders {
			add = add.FieldValue(string(e.Orders[k].Order.ID[:]), e.Orders[k].Record)
		}
		commands = append(commands, add.Build())
	}
	for _, reply := range r.client.DoMulti(b.Context(), commands...) {
		require.NoError(b, reply.Error())
	}
}

// rate runs a partition's work for all of them at once and returns how many orders of a round went by in a second.
func (r *drainRig) rate(b *testing.B, work func(ctx context.Context, partition int) error) float64 {
	return float64(len(r.leaders)*benchRoundOrders) / r.inParallel(b, work).Seconds()
}

// inParallel runs a partition's work for all of them at once and returns how long it took.
func (r *drainRig) inParallel(b *testing.B, work func(ctx context.Context, partition int) error) time.Duration {
	errs := make([]error, len(r.leaders))
	var all sync.WaitGroup
	began := time.Now()
	for p := range r.leaders {
		all.Go(func() { errs[p] = work(b.Context(), p) })
	}
	all.Wait()
	took := time.Since(began)
	require.NoError(b, cmp.Or(errs...))
	return took
}

// flush empties the rig's own Redis.
func (r *drainRig) flush(b *testing.B) {
	require.NoError(b, r.client.Do(b.Context(), r.client.B().Flushall().Async().Build()).Error())
}
