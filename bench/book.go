package bench

import (
	"hash/maphash"
	"math/rand/v2"
	"sync"
)

const (
	// maxPlaced bounds the orders whose ids are held against each other, and against the ledger's rows: 8 bytes each.
	maxPlaced = 50_000_000
	// maxUnsure bounds the orders without an outcome that are looked up afterwards.
	maxUnsure = 100_000
	// buyersKept is how many buyers are asked for what they have, afterwards: as many who got something as who did not.
	buyersKept = 100
)

// order is one order as its buyer knows it.
type order struct {
	id      string
	product int
	buyer   int64
	want    string // state that it must end in; "" = whichever
	placed  bool   // surely
}

// productBook is what buyers were told about a product, in orders of one unit.
type productBook struct {
	placed    int64 // accepted orders, whatever became of them
	confirmed int64 // those of them that are sold for good
	soldOut   int64 // answers of that kind
	nameless  int64 // orders that may have been placed or not, without an id to look them up by
}

// book is what the scripts of a sale remember for its proof.
type book struct {
	mu       sync.Mutex
	seed     maphash.Seed
	random   *rand.Rand
	lookups  int
	products []productBook
	placed   int64            // of all products
	ids      []uint64         // of placed orders, as fingerprints
	ends     map[string]int64 // placed orders by the state that they must end in
	sample   []order          // of them; all where there are not more than lookups
	unsure   []order          // placed or not, or confirmed or not
	refused  []int64          // some of the buyers who were refused and got nothing
	turned   int64            // how many they are
	errors   map[string]int64 // what an answer contradicted, by rule
}

func newBook(o *Options) *book {
	return &book{
		seed: maphash.MakeSeed(), random: rand.New(rand.NewPCG(o.Seed, o.Seed)), lookups: o.Lookups,
		products: make([]productBook, o.Products), ends: map[string]int64{}, errors: map[string]int64{},
	}
}

func (b *book) fingerprint(id []byte) uint64 { return maphash.Bytes(b.seed, id) }

// place notes an order that was accepted and is to end as it wants.
func (b *book) place(id []byte, o order) {
	fingerprint := b.fingerprint(id)
	o.placed = true
	b.mu.Lock()
	defer b.mu.Unlock()
	p := &b.products[o.product]
	p.placed++
	b.placed++
	if o.want == statusConfirmed {
		p.confirmed++
	}
	b.ends[o.want]++
	if len(b.ids) < maxPlaced {
		b.ids = append(b.ids, fingerprint)
	}
	if at, kept := keep(b.random, b.placed, b.lookups); kept {
		o.id = string(id)
		b.sample = put(b.sample, at, o)
	}
}

// keep decides whether the n-th of a row, from 1, is kept among at most size, so that each has the same chance.
func keep(random *rand.Rand, n int64, size int) (at int, kept bool) {
	if n <= int64(size) {
		return int(n - 1), true
	}
	at64 := random.Int64N(n)
	return int(at64), at64 < int64(size)
}

func put[T any](kept []T, at int, one T) []T {
	if at == len(kept) {
		return append(kept, one)
	}
	kept[at] = one
	return kept
}

// doubt notes an order whose outcome is not known; id "" = and can't be looked up.
func (b *book) doubt(o order) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.id == "" || len(b.unsure) >= maxUnsure {
		b.products[o.product].nameless++
		return
	}
	b.unsure = append(b.unsure, o)
}

// turnAway notes a refusal.
func (b *book) turnAway(product int, why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if why == codeSoldOut {
		b.products[product].soldOut++
	}
}

// refuse notes the refusal of a buyer who gets nothing.
func (b *book) refuse(product int, buyer int64, why string) {
	b.turnAway(product, why)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turned++
	if at, kept := keep(b.random, b.turned, buyersKept); kept {
		b.refused = put(b.refused, at, buyer)
	}
}

// contradict notes an answer that breaks a rule by itself.
func (b *book) contradict(rule string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errors[rule]++
}

func (b *book) nameless() (n int64) {
	for i := range b.products {
		n += b.products[i].nameless
	}
	return n
}
