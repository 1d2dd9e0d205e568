package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"flashsale/bench/cost"
	"flashsale/engine"
	"flashsale/internal/pause"
)

// Terms of the measured products: every check is on, and lets everybody through.
const (
	measuredLock  = 5 * time.Second
	measuredLimit = 2 // units a buyer
	measuredHold  = 10 * time.Minute
	measuredUnits = engine.MaxStock / 2
)

// measuredTimeout bounds one call, and so how long a slow server is waited for.
const measuredTimeout = 10 * time.Second

// measuredEngine opens partitions under a prefix of their own, without a ledger: what a call costs Redis does not depend
// on who drains it.
type measuredEngine struct {
	client rueidis.Client
}

// measuredPartition is an open one.
type measuredPartition struct {
	engine   *engine.Engine
	client   rueidis.Client
	keys     engine.Keys
	products int

	mu      sync.Mutex
	last    engine.Watermark       // of what was decided
	largest int                    // batch, in orders
	held    map[int]engine.OrderID // buyer -> hold
}

// Open makes an engine of one partition and loads it as a rebuild does.
func (m *measuredEngine) Open(ctx context.Context, shape cost.Shape) (cost.Partition, error) {
	known := ""
	if shape.Buyers > 0 { // what Redis keeps of a buyer is told by a real one
		sample, err := m.open(ctx, cost.Shape{Products: 1}, "")
		if err != nil {
			return nil, err
		}
		known, err = sample.sampleBuyer(ctx)
		if err := errors.Join(err, sample.Close(ctx)); err != nil {
			return nil, fmt.Errorf("sample buyer: %w", err)
		}
	}
	p, err := m.open(ctx, shape, known)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (m *measuredEngine) open(ctx context.Context, shape cost.Shape, known string) (*measuredPartition, error) {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails: it ends the process instead (crypto/rand)
	e, err := engine.New(m.client, engine.Config{
		Prefix: "bench-" + hex.EncodeToString(random[:]), Partitions: 1, LockTTL: measuredLock, Timeout: measuredTimeout,
	})
	if err != nil {
		return nil, err
	}
	link, err := e.Connect(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer link.Close()
	epoch := engine.Epoch{Number: 1, Namespace: engine.NewNamespace(1)}
	if epoch.Replid, err = link.Replid(ctx); err != nil {
		return nil, err
	}
	p := &measuredPartition{
		engine: e, client: m.client, products: shape.Products, held: make(map[int]engine.OrderID),
		last: engine.Watermark{Epoch: epoch.Number},
	}
	if p.keys, err = e.EpochKeys(0, epoch); err != nil {
		return nil, err
	}
	if err := p.load(ctx, shape, epoch, known); err != nil {
		return nil, errors.Join(err, p.Close(context.WithoutCancel(ctx)))
	}
	return p, nil
}

// measuredChunk is how many fields are loaded at once; Lua's unpack takes 7,900 values.
const measuredChunk = 3000

func (p *measuredPartition) load(ctx context.Context, shape cost.Shape, epoch engine.Epoch, known string) error {
	now := time.Now()
	terms := engine.Terms{
		PerUserLimit: measuredLimit, Active: true, StartsAt: now.Add(-time.Hour), EndsAt: now.Add(24 * time.Hour),
		HoldSeconds: int64(measuredHold.Seconds()),
	}.String()
	stock := engine.Stock{Current: measuredUnits, Initial: measuredUnits, Change: 1}.String()
	chunks := 0
	load := func(target string, n int, pair func(i int) (field, value string)) error {
		for first := 0; first < n; first += measuredChunk {
			var pairs []string
			for i := first; i < min(n, first+measuredChunk); i++ {
				field, value := pair(i)
				pairs = append(pairs, field, value)
			}
			chunks++
			if err := p.engine.Load(ctx, p.keys, target, chunks, epoch.Replid, pairs); err != nil {
				return err
			}
		}
		return nil
	}
	err := errors.Join(
		load(p.keys.Stock, shape.Products, func(i int) (string, string) { return p.product(i), stock }),
		load(p.keys.Terms, shape.Products, func(i int) (string, string) { return p.product(i), terms }),
		load(p.keys.Buyers, shape.Buyers, func(i int) (string, string) {
			return engine.BuyerField(p.product(i), measuredUser(i)), known
		}),
	)
	if err != nil {
		return fmt.Errorf("load partition: %w", err)
	}
	return p.seal(ctx, epoch, chunks, now)
}

func (p *measuredPartition) seal(ctx context.Context, epoch engine.Epoch, chunks int, now time.Time) error {
	generation := now.Unix() / int64((24 * time.Hour).Seconds()) // of the default KeyTTL
	if err := p.engine.Seal(ctx, p.keys, chunks, epoch.Replid, epoch.Number, 0, generation); err != nil {
		return err
	}
	if err := p.engine.Install(0, epoch); err != nil {
		return err
	}
	guard, err := p.engine.Check(ctx, 0)
	if err == nil && guard != engine.GuardOK {
		err = fmt.Errorf("the partition is not open: %s", guard)
	}
	return err
}

func (p *measuredPartition) product(buyer int) string { return fmt.Sprintf("p-%05d", buyer%p.products) }

// measuredUser has as many characters whoever it is: memory is to be the same.
func measuredUser(buyer int) string { return fmt.Sprintf("buyer-%09d", buyer) }

// sampleBuyer sells to one buyer and returns what Redis keeps of them.
func (p *measuredPartition) sampleBuyer(ctx context.Context) (string, error) {
	if err := p.Decide(ctx, cost.Sale, 0, 1); err != nil {
		return "", err
	}
	get := p.client.B().Hget().Key(p.keys.Buyers).Field(engine.BuyerField(p.product(0), measuredUser(0))).Build()
	return p.client.Do(ctx, get).ToString()
}

// Decide has one script call decide n orders.
func (p *measuredPartition) Decide(ctx context.Context, what cost.Kind, first, n int) error {
	ctx, cancel := context.WithTimeout(ctx, measuredTimeout)
	defer cancel()
	if what == cost.Confirm {
		return p.confirm(ctx, first, n)
	}
	batch := make([]*engine.Reservation, n)
	for i := range batch {
		batch[i] = p.reservation(what, first+i)
	}
	if err := p.engine.ReserveTogether(ctx, batch); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.largest = max(p.largest, n)
	for i, r := range batch {
		p.note(&r.Order)
		if what == cost.Hold {
			p.held[first+i] = r.ID
		}
	}
	return nil
}

func (p *measuredPartition) reservation(what cost.Kind, buyer int) *engine.Reservation {
	r := engine.NewReservation()
	r.Product, r.User, r.Quantity = p.product(buyer), measuredUser(buyer), 1
	switch what {
	case cost.Keyed:
		r.Key = engine.NewOrderID(0, time.Now()).String() // a UUID, as clients send
	case cost.Hold:
		r.HoldMs = measuredHold.Milliseconds()
	case cost.Sale, cost.Confirm:
	}
	return r
}

func (p *measuredPartition) confirm(ctx context.Context, first, n int) error {
	batch := make([]*engine.Transition, n)
	p.mu.Lock()
	for i := range batch {
		batch[i] = engine.NewTransition()
		batch[i].ID, batch[i].Action = p.held[first+i], engine.ActionConfirm
		delete(p.held, first+i)
	}
	p.mu.Unlock()
	if err := p.engine.SettleTogether(ctx, batch); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.largest = max(p.largest, n)
	for _, t := range batch {
		p.note(&t.Order)
	}
	return nil
}

// note remembers how far the log goes. Calls may come back out of order.
func (p *measuredPartition) note(o *engine.Order) {
	p.last.Sequence, p.last.Orders = max(p.last.Sequence, o.Sequence), max(p.last.Orders, o.Number)
}

const (
	// forgetOrders is how many orders one call forgets, about: a few ms of Redis, which the client waits half a second for.
	forgetOrders = 2048
	// forgetPause is between a call that went wrong and the next. What it has forgotten all the same is not missed.
	forgetPause = 100 * time.Millisecond
)

// Forget shows the engine a watermark as if a ledger had everything, and trims until nothing goes any more. A server that
// says nothing is asked again for as long as any call may take.
func (p *measuredPartition) Forget(ctx context.Context) error {
	p.engine.Advance(0, p.last)
	patient := time.Now().Add(measuredTimeout)
	for {
		removed, err := p.engine.Trim(ctx, 0, 0, max(1, forgetOrders/max(1, p.largest)))
		switch {
		case err == nil && removed == 0:
			return nil
		case err == nil:
			patient = time.Now().Add(measuredTimeout)
		case time.Now().After(patient) || !pause.For(ctx, forgetPause):
			return err
		}
	}
}

// Keys names what grows.
func (p *measuredPartition) Keys() cost.Keys {
	return cost.Keys{Log: p.keys.Log, Meta: p.keys.Meta, Orders: p.keys.Orders, Buyers: p.keys.Buyers}
}

// Close unlinks the namespace.
func (p *measuredPartition) Close(ctx context.Context) error { return p.engine.Drop(ctx, p.keys) }
