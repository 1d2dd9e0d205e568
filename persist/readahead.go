package persist

import "flashsale/engine"

// portion is what one read of the log brought.
type portion struct {
	after   uint64 // the sequence that it follows
	entries []engine.Entry
	batch   batch  // what they come to
	replid  string // of the server, asked after the entries came
	more    bool   // there are more, or may be
	err     error
}

// readAhead reads the next portion of a backlog while the present one is written, and sizes reads so that one brings about
// as many orders as a transaction is to hold. It is for one goroutine at a time, which has nobody else read meanwhile.
//
// Only a drain under way reads ahead: whoever brings a partition in line wants to know what the log has now.
type readAhead struct {
	perEntry int          // orders an entry, in the last read
	on       bool         // a drain is under way
	next     chan portion // of one, where a read is under way or done; nil = none is
}

const (
	// firstRead is how many entries are asked for before anything is known of their size.
	firstRead = 64
	// maxRead is how many are asked for at the most: after an idle hour of orders that came alone, the next entries may
	// bring a whole batch each.
	maxRead = 1024
)

func (r *readAhead) begin() { r.on = true }

// end waits for the read under way and forgets what it brought.
func (r *readAhead) end() {
	r.on = false
	if r.next != nil {
		<-r.next
		r.next = nil
	}
}

// start reads what follows a sequence, while the caller does something else.
func (r *readAhead) start(after uint64, read func(after uint64) (portion, error)) {
	if !r.on {
		return
	}
	r.next = make(chan portion, 1)
	go func(into chan<- portion) {
		p, err := read(after)
		p.after, p.err = after, err
		into <- p
	}(r.next)
}

// take returns what follows a sequence: what was read ahead if that is it, else it reads now.
func (r *readAhead) take(after uint64, read func(after uint64) (portion, error)) (p portion, err error) {
	if next := r.next; next != nil {
		r.next = nil
		p = <-next
	}
	if p.after != after || p.err != nil || len(p.entries) == 0 {
		if p, err = read(after); err != nil {
			return p, err
		}
	}
	if len(p.entries) > 0 {
		r.learn(p.entries)
	}
	return p, nil
}

func (r *readAhead) count(orders int) int64 {
	if r.perEntry == 0 {
		return firstRead
	}
	return int64(min(max(1, orders/r.perEntry), maxRead))
}

func (r *readAhead) learn(entries []engine.Entry) {
	orders := 0
	for i := range entries {
		orders += len(entries[i].Orders)
	}
	r.perEntry = max(1, orders/len(entries))
}
