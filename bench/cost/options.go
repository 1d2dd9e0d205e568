package cost

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"flashsale/internal/positive"
)

// Options say what is measured. Empty lists and values that are not positive become the defaults.
type Options struct {
	Batches  []int // orders a call; default 1, 2, 4 … 128
	Orders   int   // in each measurement, rounded up to whole batches; default 10,000
	Rounds   int   // of which the medians count; default 3
	InFlight int   // calls under way at once; default 2
	Products []int // the first is the base; default 1
	Buyers   []int // who have bought before; the first is the base; default 1,000
	Kinds    []Kind
	Backlog  int  // orders that are logged before and not drained; 0 = none, and what was measured is forgotten each time
	NoMemory bool // leave memory out

	Out io.Writer // for progress, a line a step; nil = none
}

// Bounds of [Options].
const (
	maxBatch    = 1024 // of the engine
	maxOrders   = 10_000_000
	maxRounds   = 100
	maxInFlight = 64
	maxProducts = 1_000_000
	maxBuyers   = 100_000_000
	maxShapes   = 16
)

// ErrOptions is what [Measure] wraps when it was asked for something that it can't do.
var ErrOptions = errors.New("bench redis options")

func (o Options) withDefaults() Options {
	if len(o.Batches) == 0 {
		o.Batches = []int{1, 2, 4, 8, 16, 32, 64, 128}
	}
	if len(o.Products) == 0 {
		o.Products = []int{1}
	}
	if len(o.Buyers) == 0 {
		o.Buyers = []int{1000}
	}
	if len(o.Kinds) == 0 {
		o.Kinds = Kinds()
	}
	o.Orders = positive.Or(o.Orders, 10_000)
	o.Rounds = positive.Or(o.Rounds, 3)
	o.InFlight = positive.Or(o.InFlight, 2)
	if o.Out == nil {
		o.Out = io.Discard
	}
	return o
}

// Check returns what [Measure] would say of the options before it begins: an error names the flag, what was given, and what is
// allowed.
func (o *Options) Check() error {
	full := o.withDefaults()
	return full.check()
}

func (o *Options) check() error {
	lists := []struct {
		name        string
		values      []int
		least, most int
	}{
		{"--batches", o.Batches, 1, maxBatch},
		{"--products", o.Products, 1, maxProducts},
		{"--buyers", o.Buyers, 0, maxBuyers},
		{"--orders", []int{o.Orders}, 1, maxOrders},
		{"--rounds", []int{o.Rounds}, 1, maxRounds},
		{"--in-flight", []int{o.InFlight}, 1, maxInFlight},
		{"--backlog", []int{o.Backlog}, 0, maxOrders},
	}
	for _, l := range lists {
		for _, value := range l.values {
			if value < l.least || value > l.most {
				return fmt.Errorf("%w: %s %d: from %d to %d", ErrOptions, l.name, value, l.least, l.most)
			}
		}
	}
	if n := len(o.shapes()); n > maxShapes {
		return fmt.Errorf("%w: --products and --buyers have %d values: at most %d", ErrOptions, n+1, maxShapes+1)
	}
	return o.checkKinds()
}

func (o *Options) checkKinds() error {
	for _, kind := range o.Kinds {
		if !slices.Contains(Kinds(), kind) {
			return fmt.Errorf("%w: --kinds %s: %v or several of them", ErrOptions, kind, Kinds())
		}
	}
	if slices.Contains(o.Kinds, Confirm) && !slices.Contains(o.Kinds, Hold) {
		return fmt.Errorf("%w: --kinds %s: it needs %s too", ErrOptions, Confirm, Hold)
	}
	return nil
}

// shapes vary one thing at a time: the base, then the other numbers of products, then those of buyers.
func (o *Options) shapes() []Shape {
	base := Shape{Products: o.Products[0], Buyers: o.Buyers[0]}
	shapes := []Shape{base}
	for _, products := range o.Products[1:] {
		shapes = append(shapes, Shape{Products: products, Buyers: base.Buyers})
	}
	for _, buyers := range o.Buyers[1:] {
		shapes = append(shapes, Shape{Products: base.Products, Buyers: buyers})
	}
	return shapes
}

// kinds are those that were asked for, in the order of [Kinds].
func (o *Options) kinds() []Kind {
	return slices.DeleteFunc(Kinds(), func(k Kind) bool { return !slices.Contains(o.Kinds, k) })
}
