package bench

import (
	"context"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	// watchEvery is how often the stock and the ledger's lag are looked at in a short sale, after watchCloser looks at its
	// beginning: a rush is over in a moment.
	watchEvery  = 100 * time.Millisecond
	watchClose  = 10 * time.Millisecond
	watchCloser = 20
	// maxMoments bounds the looks that are kept: from there on half as often.
	maxMoments = 600
	// watchedProducts is of how many products the stock is looked at.
	watchedProducts = 4
)

// Moment is one look at the service in the middle of the sale.
type Moment struct {
	Seconds    float64 `json:"seconds"`    // since the first order
	Left       int64   `json:"left"`       // units not sold and not held, of the products that were watched
	Held       int64   `json:"held"`       // units
	LagOrders  int64   `json:"lagOrders"`  // orders that the ledger does not have yet
	LagSeconds float64 `json:"lagSeconds"` // how long ago the oldest of them was placed
}

// watcher looks, on a connection of its own, until it is stopped.
type watcher struct {
	sale    *sale
	conn    *conn
	begun   time.Time
	moments []Moment
	looks   int64
	unsound string // the first stock that did not add up
	end     chan struct{}
	ended   chan struct{}
}

func (s *sale) watch(ctx context.Context) *watcher {
	w := &watcher{
		sale: s, conn: newConn(ctx, &s.target, s.Timeout, s.Token),
		end: make(chan struct{}), ended: make(chan struct{}),
	}
	w.first()
	go w.run()
	return w
}

// first looks at what there is before the first order.
func (w *watcher) first() {
	if m, ok := w.look(); ok {
		m.Seconds = 0
		w.moments = append(w.moments, m)
	}
	w.begun = time.Now()
}

// stop looks a last time, and returns all that was seen with the lag in the end.
func (w *watcher) stop() ([]Moment, Moment) {
	close(w.end)
	<-w.ended
	defer w.conn.close()
	var last Moment
	if m, ok := w.look(); ok {
		last = m
		w.moments = append(w.moments, m)
	}
	return w.moments, last
}

func (w *watcher) run() {
	defer close(w.ended)
	every := watchEvery
	tick := time.NewTicker(watchClose)
	defer tick.Stop()
	for looks := 1; ; looks++ {
		select {
		case <-w.end:
			return
		case <-tick.C:
		}
		if m, ok := w.look(); ok {
			w.moments = append(w.moments, m)
		}
		if looks == watchCloser {
			tick.Reset(every)
		}
		if len(w.moments) >= maxMoments {
			w.moments = everySecond(w.moments)
			every *= 2
			tick.Reset(every)
		}
	}
}

func everySecond(moments []Moment) (half []Moment) {
	for i := 0; i < len(moments); i += 2 {
		half = append(half, moments[i])
	}
	return half
}

// look asks once; what is not answered is left out.
func (w *watcher) look() (m Moment, ok bool) {
	for _, product := range w.sale.products[:min(watchedProducts, len(w.sale.products))] {
		stock, err := w.sale.readStock(w.conn, product)
		if err != nil {
			return m, false
		}
		w.looks++
		if !stock.sound() && w.unsound == "" {
			w.unsound = stock.text()
		}
		m.Left += stock.Current
		m.Held += stock.Held
	}
	answer, err := w.conn.get("/monitoring/health")
	if err != nil || answer.status != fasthttp.StatusOK || !answer.doc.Exists("ledger", "lagOrders") {
		return m, false
	}
	m.LagOrders = answer.doc.GetInt64("ledger", "lagOrders")
	m.LagSeconds = answer.doc.GetFloat64("ledger", "lagSeconds")
	m.Seconds = time.Since(w.begun).Seconds()
	return m, true
}

// claims says what the looks showed.
func (w *watcher) claims() *rules {
	r := &rules{}
	r.scope("%s at the stock while it was sold", allOf(w.looks, "look"))
	r.check(w.unsound == "", ruleSumAlways, "current + held + sold = initial", w.unsound)
	return r
}
