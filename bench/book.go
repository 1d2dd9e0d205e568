package bench

import (
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
)

const (
	// maxPlaced bounds the orders whose ids are held against each other, 8 bytes each, and that are held against the ledger's
	// rows, another 8.
	maxPlaced = 50_000_000
	// maxUnsure bounds the orders without an outcome that are looked for afterwards.
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
	tried   string // where it is not known how it ended: the state that its buyer wanted; it may have expired instead
}

// productBook is what buyers were told about a product, in orders of one unit.
type productBook struct {
	placed    int64 // accepted orders, whatever became of them
	confirmed int64 // those of them that are sold for good
	soldOut   int64 // answers of that kind
	unknown   int64 // orders that may have been placed or not, and that nobody looks for: there are too many
	undecided int64 // the same of those that were placed, and may be sold for good or not
}

// book is what the scripts of a sale remember for its proof.
type book struct {
	mu       sync.Mutex
	seed     maphash.Seed
	random   *rand.Rand
	lookups  int
	most     int      // orders whose ids, and rows, are kept
	names    []string // of the products
	users    string   // first part of the buyers' ids; a number follows
	products []productBook
	placed   int64                  // of all products
	ids      []uint64               // of placed orders, as fingerprints
	keepRows bool                   // the ledger's rows are read
	rows     []uint64               // of placed orders, as the ledger must have them, as fingerprints
	ends     map[string]int64       // placed orders by the state that they must end in
	sample   []order                // of them; all where there are not more than lookups
	unsure   []order                // placed or not, or confirmed or not
	unnamed  []order                // placed or not, without an id to look them up by
	bought   func(buyer int64) bool // whether they have an order, where buyers come again; else nil
	refused  []int64                // some of the buyers who were refused and got nothing
	turned   int64                  // how many they are
	errors   map[string]int64       // what an answer contradicted, by rule
}

func newBook(o *Options, products []string) *book {
	return &book{
		seed: maphash.MakeSeed(), random: rand.New(rand.NewPCG(o.Seed, o.Seed)), lookups: o.Lookups, most: maxPlaced,
		names: products, users: o.Product + "-", keepRows: o.DatabaseURL != "",
		products: make([]productBook, len(products)), ends: map[string]int64{}, errors: map[string]int64{},
	}
}

func (b *book) fingerprint(id []byte) uint64 { return maphash.Bytes(b.seed, id) }

// user returns a buyer's id.
func (b *book) user(buyer int64) string { return b.users + strconv.FormatInt(buyer, 10) }

// rowLength is for a row as text: longer ones work, too.
const rowLength = 256

// row returns the fingerprint of an order as the ledger must have it; the id comes apart, for most orders are not kept with it.
func (b *book) row(id []byte, o *order) uint64 {
	var scratch [rowLength]byte
	row := appendRow(scratch[:0], id, b.names[o.product], o.want)
	row = append(row, b.users...)
	return maphash.Bytes(b.seed, strconv.AppendInt(row, o.buyer, 10))
}

// rowOf returns the same of a row that was read; status "" = whichever.
func (b *book) rowOf(id []byte, product, user, status string) uint64 {
	var scratch [rowLength]byte
	return maphash.Bytes(b.seed, append(appendRow(scratch[:0], id, product, status), user...))
}

// appendRow appends what is before the user's id.
func appendRow(b, id []byte, product, status string) []byte {
	b = append(append(b, id...), '\n')
	b = append(append(b, product...), '\n')
	return append(append(b, status...), '\n')
}

// place notes an order that was accepted and is to end as it wants.
func (b *book) place(id []byte, o order) {
	fingerprint, row := b.fingerprint(id), uint64(0)
	if b.keepRows {
		row = b.row(id, &o)
	}
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
	if len(b.ids) < b.most {
		b.ids = append(b.ids, fingerprint)
		if b.keepRows {
			b.rows = append(b.rows, row)
		}
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

// doubt notes an order whose outcome is not known; id "" = its buyer's list alone can tell.
func (b *book) doubt(o order) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch isFull := len(b.unsure)+len(b.unnamed) >= maxUnsure; {
	case isFull && o.placed:
		b.products[o.product].undecided++
	case isFull:
		b.products[o.product].unknown++
	case o.id == "":
		b.unnamed = append(b.unnamed, o)
	default:
		b.unsure = append(b.unsure, o)
	}
}

// dropAnswered forgets doubts about orders that another answer told of, or another doubt: a key that is sent again means the
// same order.
func (b *book) dropAnswered() {
	answered := map[uint64]bool{} // by fingerprint of a doubtful id
	isKnown := func(o order) bool {
		id := b.fingerprint([]byte(o.id))
		told, again := answered[id]
		answered[id] = told
		return again
	}
	b.unsure = slices.DeleteFunc(b.unsure, isKnown)
	for _, id := range b.ids {
		if _, doubted := answered[id]; doubted {
			answered[id] = true
		}
	}
	b.unsure = slices.DeleteFunc(b.unsure, func(o order) bool { return answered[b.fingerprint([]byte(o.id))] })
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

// beyond counts the orders that nobody looks for.
func (b *book) beyond() (unknown, undecided int64) {
	for i := range b.products {
		unknown += b.products[i].unknown
		undecided += b.products[i].undecided
	}
	return unknown, undecided
}

// unkept counts the placed orders whose ids are not kept.
func (b *book) unkept() int64 { return b.placed - int64(len(b.ids)) }
