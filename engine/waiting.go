package engine

import "time"

// request is what waits in a lane: something that embeds a waiting.
type request interface{ wait() *waiting }

// waiting is the part of a request that its lane needs.
type waiting struct {
	deadline time.Time
	err      error
	done     chan struct{}
}

func newWaiting() waiting { return waiting{done: make(chan struct{}, 1)} }

func (w *waiting) wait() *waiting { return w }

func (w *waiting) finish(err error) {
	w.err = err
	w.done <- struct{}{}
}
