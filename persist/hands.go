package persist

import (
	"sync/atomic"

	"flashsale/engine"
)

// hands show which log entries the drainers of a process have in hand: those of the transaction under way.
type hands struct {
	partitions []atomic.Pointer[handful]
}

// handful are the entries that one transaction brings.
type handful struct {
	epoch       uint64
	first, last uint64
	orders      int64 // that the entries name
}

func newHands(partitions int) *hands {
	return &hands{partitions: make([]atomic.Pointer[handful], partitions)}
}

func (h *hands) take(partition int, epoch uint64, entries []engine.Entry) {
	taken := &handful{epoch: epoch, first: entries[0].Sequence, last: entries[len(entries)-1].Sequence}
	for i := range entries {
		taken.orders += int64(len(entries[i].Orders))
	}
	h.partitions[partition].Store(taken)
}

func (h *hands) release(partition int) { h.partitions[partition].Store(nil) }

// hold tells whether an entry is in hand.
func (h *hands) hold(partition int, epoch, sequence uint64) bool {
	if h == nil {
		return false
	}
	in := h.partitions[partition].Load()
	return in != nil && in.epoch == epoch && in.first <= sequence && sequence <= in.last
}

// orders counts the orders in hand, of all partitions.
func (h *hands) orders() (n int64) {
	if h == nil {
		return 0
	}
	for i := range h.partitions {
		if in := h.partitions[i].Load(); in != nil {
			n += in.orders
		}
	}
	return n
}
