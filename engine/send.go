package engine

import (
	"context"
	"time"

	"github.com/redis/rueidis"
)

// call is how a batch of one kind of requests is asked of Redis. It keeps its memory between batches.
type call[R request] interface {
	// mint gives the requests of a batch what tells their attempts from those of others, before the first attempt, and anew
	// once all that were made have a definite answer.
	mint(p *partition, batch []R)
	// run asks once and reads the reply into the requests: where the guard let it through, each has its outcome.
	run(ctx context.Context, conn rueidis.CommandClient, p *partition, v *view, batch []R) (replyHead, error)
	// learn takes in what such a reply, asked for at an instant, says beyond the requests.
	learn(batch []R, asked time.Time)
	// short tells whether an outcome may be another once due holds have expired.
	short(r R) bool
}

// replyHead is how the replies of reserve.lua and settle.lua begin.
type replyHead struct {
	guard    Guard
	nowMs    int64
	sequence uint64
	orders   int64 // running count after the batch
	due      bool  // something was refused for what holds that are due have taken
}

func (r *replyReader) head() replyHead {
	h := replyHead{guard: Guard(r.text()), nowMs: r.number()}
	if r.err == nil && h.guard == GuardOK {
		h.sequence, h.orders, h.due = uint64(r.number()), r.number(), r.number() != 0
	}
	return h
}

// sender brings one batch after another to its outcome.
type sender[R request] struct {
	engine    *Engine
	partition *partition
	call      call[R]
	batch     []R
	again     bool // an attempt of this batch has failed
	unknown   bool // an attempt of this batch may have been executed though its reply was lost
	sweeps    int  // how often due holds have expired for this batch
	own       *ownConn
	fence     *fence // that waits for replicas on it; nil = nobody does
	refused   int64  // by the ledger, before this batch was sent
	granted   []R    // what a reply granted in a mode that asks for more than that
}

func newSender[R request](e *Engine, p *partition, c call[R]) *sender[R] {
	return &sender[R]{engine: e, partition: p, call: c, own: &ownConn{engine: e}}
}

// retryPause bounds the pauses between the attempts of a batch; they double from the first to the last.
const (
	firstRetryPause = 2 * time.Millisecond
	lastRetryPause  = 100 * time.Millisecond

	// shortestAttempt is how much time an attempt needs: one that its deadline breaks off turns a definite no into an
	// unknown outcome.
	shortestAttempt = 10 * time.Millisecond
)

// send repeats an attempt whose reply was lost, for the scripts recognise what they have done, until the earliest
// deadline of the batch. It never repeats into another epoch, nor what was refused for good.
func (s *sender[R]) send() {
	deadline := earliest(s.batch)
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	began := s.partition.view.Load()
	s.again, s.unknown, s.sweeps, s.refused = false, false, 0, s.partition.watermark.get().Refused
	s.call.mint(s.partition, s.batch)
	for pause := firstRetryPause; len(s.batch) > 0; pause = min(2*pause, lastRetryPause) {
		v := s.partition.view.Load()
		if v.guard != GuardOK || v.Number != began.Number || v.Namespace != began.Namespace {
			s.finishAll(ErrPartitionClosed)
			return
		}
		err := s.attempt(ctx, v)
		if err == nil {
			if len(s.batch) > 0 && !s.unknown {
				s.call.mint(s.partition, s.batch)
			}
			continue
		}
		s.engine.metrics.failedCalls.Inc()
		s.partition.fail(err)
		s.again = true
		s.unknown = s.unknown || maybeExecuted(err)
		if !s.unknown { // a definite no: whoever asks again gets a fresh answer
			s.finishAll(ErrUnavailable)
			return
		}
		if time.Until(deadline) < pause+shortestAttempt || !sleep(ctx, pause) {
			s.finishAll(ErrOutcomeUnknown)
			return
		}
	}
}

// earliest returns the first deadline of a batch. It is not always that of who came first: what is asked anew keeps its own.
func earliest[R interface{ wait() *waiting }](batch []R) time.Time {
	first := batch[0].wait().deadline
	for _, r := range batch[1:] {
		if d := r.wait().deadline; d.Before(first) {
			first = d
		}
	}
	return first
}

// attempt asks once and finishes the requests that have their outcome by that, unless it returns an error.
func (s *sender[R]) attempt(ctx context.Context, v *view) error {
	if !s.replicasAgain(ctx, v) {
		return nil
	}
	head, asked, err := s.ask(ctx, v)
	if err != nil {
		return err
	}
	switch head.guard {
	case GuardOK:
		s.partition.logged(v, head.sequence, head.orders, asked)
		s.call.learn(s.batch, asked)
		s.deliver(head.due && s.expireDue(ctx, v))
		if len(s.granted) > 0 {
			s.secure(ctx, v, head.sequence)
		}
	case GuardLate:
		s.engine.metrics.tooLate.Add(len(s.batch))
		s.finishAll(ErrTooLate)
	default:
		s.disconnect(false)
		s.partition.hear(v, head.guard)
		s.finishAll(ErrPartitionClosed)
	}
	return nil
}

// ask runs the script on the batch and returns how its reply begins, and when it was asked.
func (s *sender[R]) ask(ctx context.Context, v *view) (head replyHead, asked time.Time, err error) {
	conn, err := s.connect(ctx, v)
	if err != nil {
		return head, asked, err
	}
	asked = time.Now()
	head, err = s.call.run(ctx, conn, s.partition, v, s.batch)
	if err != nil {
		s.disconnect(true)
		return head, asked, err
	}
	answered := time.Now()
	s.own.answered()
	s.partition.succeed()
	s.engine.metrics.batch(len(s.batch), answered.Sub(asked))
	s.partition.clock.observe(head.nowMs, answered)
	return head, asked, nil
}

// deliver finishes the requests of a reply, but for those that were granted in a mode that asks for more than that, and those
// that came short, where it is worth asking again: these stay in the batch.
func (s *sender[R]) deliver(again bool) {
	kept := s.batch[:0]
	for _, r := range s.batch {
		w := r.wait()
		switch {
		case again && s.call.short(r):
			kept = append(kept, r)
		case w.err == nil && w.mode > DurabilityFast:
			s.granted = append(s.granted, r)
		default:
			w.finish(definite(w.err, s.unknown))
		}
	}
	s.batch = kept
}

// maxSweeps bounds how often a batch has due holds expire, for the next batch waits behind it: where holds by the thousand
// are due at once, the longest due first, whoever finds too little stock after so many is refused.
const maxSweeps = 16

// expireDue gives back what due holds have held and tells whether it is worth asking again.
func (s *sender[R]) expireDue(ctx context.Context, v *view) bool {
	if deadline, _ := ctx.Deadline(); s.sweeps == maxSweeps || time.Until(deadline) < 2*shortestAttempt {
		return false
	}
	s.sweeps++
	swept, err := s.engine.expire(ctx, s.partition, v)
	return err == nil && swept.expired > 0
}

// definite returns an outcome, or ErrOutcomeUnknown where it is a refusal and an earlier attempt may yet have happened.
func definite(outcome error, unknown bool) error {
	if outcome != nil && unknown {
		return ErrOutcomeUnknown
	}
	return outcome
}

func (s *sender[R]) finishAll(outcome error) {
	for _, r := range s.batch {
		r.wait().finish(definite(outcome, s.unknown))
	}
	s.batch = s.batch[:0]
}

// sleep pauses for d; false means that the context ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
