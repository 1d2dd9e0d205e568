package bench

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// How often progress is shown.
const (
	paintEvery = 100 * time.Millisecond // on a terminal
	lineEvery  = time.Second            // elsewhere
)

// progress shows how far a stage is. Counting is one atomic addition; showing it is another goroutine's work, which
// stop waits for.
type progress struct {
	done  atomic.Int64
	end   chan struct{}
	ended chan struct{}
}

// showProgress begins a stage of so many steps. Who calls it calls stop.
func showProgress(out io.Writer, stage string, steps int) *progress {
	p := &progress{end: make(chan struct{}), ended: make(chan struct{})}
	if isTerminal(out) && steps > 0 {
		go p.run(paintEvery, painter(out, stage, steps))
	} else {
		go p.run(lineEvery, liner(out, stage, steps))
	}
	return p
}

func (p *progress) add(n int) { p.done.Add(int64(n)) }

// stop shows the last state and returns when it is written.
func (p *progress) stop() {
	close(p.end)
	<-p.ended
}

func (p *progress) run(every time.Duration, show func(done int64)) {
	defer close(p.ended)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-p.end:
			show(p.done.Load())
			return
		case <-tick.C:
			show(p.done.Load())
		}
	}
}

func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Progress that can't be written is not worth an error.

func liner(out io.Writer, stage string, steps int) func(int64) {
	return func(done int64) { _, _ = fmt.Fprintf(out, "%s: %d of %d\n", stage, done, steps) }
}

func painter(out io.Writer, stage string, steps int) func(int64) {
	bar := progressbar.NewOptions(steps,
		progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(stage), progressbar.OptionShowCount(),
		progressbar.OptionShowIts(), progressbar.OptionOnCompletion(func() { _, _ = fmt.Fprintln(out) }))
	return func(done int64) { _ = bar.Set64(done) }
}
