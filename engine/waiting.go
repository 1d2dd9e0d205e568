package engine

import "time"

// request is what waits in a lane: something that embeds a waiting.
type request interface {
	wait() *waiting
	// known tells of a request that was granted whether that was decided before it came.
	known() bool
}

// waiting is the part of a request that its lane needs.
type waiting struct {
	deadline time.Time
	mode     Durability // what a yes is to mean
	err      error
	done     chan struct{}
}

func newWaiting() waiting { return waiting{done: make(chan struct{}, 1)} }

func (w *waiting) wait() *waiting { return w }

func (w *waiting) finish(err error) {
	w.err = err
	w.done <- struct{}{}
}
