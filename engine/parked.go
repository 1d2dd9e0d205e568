package engine

import (
	"sync"
	"time"
)

// parked are the requests of a partition that Redis has granted and that wait for the ledger: each batch with the one log
// entry that it made, so a commit wakes exactly those whom it concerns. How many there can be is bounded by who lets them
// in (Engine.admit).
type parked struct {
	mu     sync.Mutex
	groups []parkedGroup // as they came
	count  int
	timer  *time.Timer // is to fire as long as there are groups, at next
	next   time.Time
	wanted chan struct{} // has a token after somebody began to wait
}

// parkedGroup are the requests of one batch.
type parkedGroup struct {
	epoch    uint64
	replid   string // server history that the entry is of
	sequence uint64
	refused  int64 // by the ledger, before the batch was sent
	waiting  []parkedRequest
}

type parkedRequest struct {
	*waiting
	known bool // it was decided before: the ledger may have refused it before the batch was sent
}

// parkTick is how often at the most deadlines are looked at.
const parkTick = 5 * time.Millisecond

// add parks a batch, unless the board shows that the ledger has it already.
func (p *parked) add(board *watermarkBoard, group parkedGroup) {
	p.mu.Lock()
	w := board.get() // under the lock: whatever is shown later finds the group parked
	passed := w.covers(group.epoch, group.sequence)
	if !passed {
		p.groups = append(p.groups, group)
		p.count += len(group.waiting)
		if first := group.firstDeadline(); len(p.groups) == 1 || first.Before(p.next) {
			p.arm(first)
		}
		p.want()
	}
	p.mu.Unlock()
	if passed {
		group.finish(w)
	}
}

// want tells whoever drains the partition that somebody waits.
func (p *parked) want() {
	select {
	case p.wanted <- struct{}{}:
	default:
	}
}

func (p *parked) length() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// release finishes the requests that a watermark covers.
func (p *parked) release(w Watermark) {
	p.mu.Lock()
	var passed []parkedGroup
	kept := p.groups[:0]
	for _, g := range p.groups {
		if w.covers(g.epoch, g.sequence) {
			passed = append(passed, g)
			p.count -= len(g.waiting)
		} else {
			kept = append(kept, g)
		}
	}
	clear(p.groups[len(kept):])
	p.groups = kept
	p.mu.Unlock()
	for i := range passed {
		passed[i].finish(w)
	}
}

// finish answers a group that a watermark covers.
func (g *parkedGroup) finish(w Watermark) {
	for _, r := range g.waiting {
		switch {
		case w.Epoch != g.epoch || w.Replid != g.replid: // the number may be another entry's by now
			r.finish(ErrEpochDecides)
		case r.known || w.Refused != g.refused:
			r.finish(ErrRowDecides)
		default:
			r.finish(nil)
		}
	}
}

func (g *parkedGroup) firstDeadline() time.Time { return earliest(g.waiting) }

// arm has the deadlines looked at at an instant; the caller holds the lock.
func (p *parked) arm(at time.Time) {
	p.next = at
	d := max(time.Until(at), parkTick)
	if p.timer == nil {
		p.timer = time.AfterFunc(d, p.expire)
		return
	}
	p.timer.Reset(d)
}

// expire gives up on the requests whose deadline has passed: nobody knows whether the ledger will take them.
func (p *parked) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.giveUpOn(time.Now())
	if len(p.groups) == 0 {
		return
	}
	next := p.groups[0].firstDeadline()
	for i := range p.groups {
		if first := p.groups[i].firstDeadline(); first.Before(next) {
			next = first
		}
	}
	p.arm(next)
}

// giveUpOn finishes the requests whose deadline is not after an instant; the caller holds the lock.
func (p *parked) giveUpOn(now time.Time) {
	groups := p.groups[:0]
	for _, g := range p.groups {
		kept := g.waiting[:0]
		for _, r := range g.waiting {
			if r.deadline.After(now) {
				kept = append(kept, r)
				continue
			}
			p.count--
			r.finish(ErrOutcomeUnknown)
		}
		g.waiting = kept
		if len(kept) > 0 {
			groups = append(groups, g)
		}
	}
	clear(p.groups[len(groups):])
	p.groups = groups
}

// giveUp finishes all that are left when the process ends.
func (p *parked) giveUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.groups {
		for _, r := range g.waiting {
			r.finish(ErrOutcomeUnknown)
		}
	}
	p.groups, p.count = nil, 0
	if p.timer != nil {
		p.timer.Stop()
	}
}
