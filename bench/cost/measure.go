package cost

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// Measure measures an engine on the Redis at a URL that has nothing else to do. It leaves no key behind.
func Measure(ctx context.Context, url string, engine Engine, o Options) (report Report, err error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return Report{}, err
	}
	s, err := connect(ctx, url)
	if err != nil {
		return Report{}, err
	}
	defer s.client.Close()
	m := &measurement{Options: o, server: s, engine: engine, samples: make(map[place][]float64)}
	report = Report{Orders: o.Orders, Rounds: o.Rounds, InFlight: o.InFlight, Backlog: o.Backlog, Redis: s.version, Kinds: o.kinds()}
	if err := m.cpu(ctx, &report); err != nil {
		return report, err
	}
	if !o.NoMemory {
		if report.Memory, err = m.memory(ctx); err != nil {
			return report, fmt.Errorf("memory: %w", err)
		}
	}
	return report, nil
}

type measurement struct {
	Options
	server *server
	engine Engine

	samples map[place][]float64 // µs a call of a floor, or an order
}

// place is where a sample belongs.
type place struct {
	shape int // -1 = a floor
	batch int // place among the floors, for those
	kind  Kind
}

func (m *measurement) note(at place, us float64) { m.samples[at] = append(m.samples[at], us) }

func (m *measurement) median(at place) float64 { return median(m.samples[at]) }

func (m *measurement) say(format string, args ...any) {
	_, _ = fmt.Fprintf(m.Out, format+"\n", args...) // progress that can't be written is not worth an error
}

// cpu measures all shapes and the floors in turn, so that what the machine does meanwhile hits all of them.
func (m *measurement) cpu(ctx context.Context, report *Report) (err error) {
	var all []*buyers
	defer func() { err = errors.Join(err, closeAll(ctx, all)) }()
	for i, shape := range m.shapes() {
		b, err := m.prepare(ctx, i, shape)
		if b != nil {
			all = append(all, b)
		}
		if err != nil {
			return fmt.Errorf("%d products, %d buyers: %w", shape.Products, shape.Buyers, err)
		}
	}
	for round := range m.Rounds {
		m.say("round %d of %d", round+1, m.Rounds)
		if err := m.round(ctx, all); err != nil {
			return err
		}
	}
	for i, f := range floorScripts {
		report.Floors = append(report.Floors, Floor{Name: f.name, Us: m.median(place{shape: noShape, batch: i})})
	}
	for i, shape := range m.shapes() {
		report.Shapes = append(report.Shapes, ShapeCost{Shape: shape, Batches: m.medians(i)})
	}
	return nil
}

// closeAll removes what was opened, also where ctx has ended: nothing may stay behind.
func closeAll(ctx context.Context, all []*buyers) (err error) {
	for _, b := range all {
		err = errors.Join(err, b.partition.Close(context.WithoutCancel(ctx)))
	}
	return err
}

func (m *measurement) prepare(ctx context.Context, i int, shape Shape) (*buyers, error) {
	m.say("preparing %d products, %d buyers who have bought before", shape.Products, shape.Buyers)
	p, err := m.engine.Open(ctx, shape)
	if err != nil {
		return nil, err
	}
	b := &buyers{measurement: m, partition: p, shape: i, next: shape.Buyers}
	err = b.decide(ctx, Sale, backlogBatch, b.take(m.Backlog, 1))
	return b, err
}

func (m *measurement) round(ctx context.Context, all []*buyers) error {
	for i, f := range floorScripts {
		us, err := m.floor(ctx, f.script)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		m.note(place{shape: noShape, batch: i}, us)
	}
	for _, batch := range m.Batches {
		for _, b := range all {
			if err := b.round(ctx, batch); err != nil {
				return err
			}
		}
	}
	return nil
}

// noShape is the place of floors.
const noShape = -1

// backlogBatch is how the backlog is made.
const backlogBatch = 512

// buyers come to a partition, each number once.
type buyers struct {
	*measurement
	partition Partition
	shape     int
	next      int
}

// span is a range of buyers.
type span struct{ first, n int }

// take reserves the numbers of at least n buyers, in whole batches.
func (b *buyers) take(n, batch int) span {
	s := span{first: b.next, n: (n + batch - 1) / batch * batch}
	b.next += s.n
	return s
}

// round measures every kind once at one batch size.
func (b *buyers) round(ctx context.Context, batch int) error {
	var held span
	for _, kind := range b.kinds() {
		who := held
		if kind != Confirm {
			who = b.take(b.Orders, batch)
		}
		if kind == Hold {
			held = who
		}
		us, err := b.server.cpuOf(ctx, func() error { return b.decide(ctx, kind, batch, who) })
		if err != nil {
			return fmt.Errorf("%s in batches of %d: %w", kind, batch, err)
		}
		b.note(place{b.shape, batch, kind}, us/float64(who.n))
	}
	if b.Backlog > 0 {
		return nil
	}
	return b.partition.Forget(ctx)
}

// decide has the orders of a span decided, with as many calls in flight as were asked for.
func (b *buyers) decide(ctx context.Context, kind Kind, batch int, who span) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range b.InFlight {
		workers.Go(func() {
			for ctx.Err() == nil {
				offset := int(next.Add(int64(batch))) - batch
				n := min(batch, who.n-offset)
				if n <= 0 {
					return
				}
				if err := b.partition.Decide(ctx, kind, who.first+offset, n); err != nil {
					cancel(err)
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

func (m *measurement) medians(shape int) []BatchCost {
	costs := make([]BatchCost, len(m.Batches))
	for i, batch := range m.Batches {
		costs[i] = BatchCost{Batch: batch, Us: make(map[Kind]float64)}
		for _, kind := range m.kinds() {
			costs[i].Us[kind] = m.median(place{shape, batch, kind})
		}
	}
	return costs
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
