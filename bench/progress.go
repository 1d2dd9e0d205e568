package bench

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"flashsale/bench/load"
)

// How often progress is shown.
const (
	paintEvery = 100 * time.Millisecond // on a terminal
	lineEvery  = time.Second            // elsewhere
)

// barColumns is how wide a terminal must be for a bar with rates. On a narrower one it would break its line each time.
const barColumns = 120

// progress shows how far a stage is; showing is another goroutine's work, which stop waits for.
type progress struct {
	done  *atomic.Int64
	end   chan struct{}
	ended chan struct{}
}

// showSteps begins a stage of so many steps, which done counts; nil = its own counter. Who calls it calls stop.
func showSteps(out io.Writer, stage string, steps int, done *atomic.Int64) *progress {
	if done == nil {
		done = &atomic.Int64{}
	}
	p := &progress{done: done, end: make(chan struct{}), ended: make(chan struct{})}
	if isTerminal(out) && steps > 0 {
		bar := newBar(out, int64(steps), stage)
		go p.run(paintEvery, func() { _ = bar.Set64(done.Load()) })
	} else {
		go p.run(lineEvery, func() { printLine(out, "%s: %s of %s", stage, grouped(done.Load()), grouped(int64(steps))) })
	}
	return p
}

// showProgress shows a load that ends after so many visits, or after so long where that is not 0.
func showProgress(out io.Writer, stage string, now func() load.Progress, visits int64, length time.Duration) *progress {
	p := &progress{done: &atomic.Int64{}, end: make(chan struct{}), ended: make(chan struct{})}
	paces := pace{now: now}
	if columns := columnsOf(out); columns > 0 && columns < barColumns {
		line := func() { _, _ = io.WriteString(out, "\r"+fit(stage+"  "+paces.text(), columns)) }
		go p.run(paintEvery, line, func() { printLine(out, "") })
		return p
	}
	if !isTerminal(out) {
		go p.run(lineEvery, func() { printLine(out, "%s: %s", stage, paces.text()) })
		return p
	}
	bar := newBar(out, max(1, visits), stage)
	if length > 0 {
		bar = newBar(out, int64(length), stage)
	}
	go p.run(paintEvery, func() {
		bar.Describe(stage + "  " + paces.text())
		done := paces.last.Answers()
		if length > 0 {
			done = int64(paces.last.Elapsed)
		}
		_ = bar.Set64(min(done, bar.GetMax64()))
	})
	return p
}

// pace tells how fast a load is, from one look to the next.
type pace struct {
	now  func() load.Progress
	last load.Progress
	rate float64 // answers a second
}

// shortestLook is what a rate is told of at the least: the last look comes right after another one, when the load is over.
const shortestLook = 50 * time.Millisecond

func (p *pace) text() string {
	before := p.last
	p.last = p.now()
	if passed := p.last.Elapsed - before.Elapsed; passed >= shortestLook || passed > 0 && before.Elapsed == 0 {
		p.rate = float64(p.last.Answers()-before.Answers()) / passed.Seconds()
	}
	return fmt.Sprintf("%s/s  accepted %s  refused %s  failed %s", grouped(int64(p.rate)),
		grouped(p.last.Accepted), grouped(p.last.Refused), grouped(p.last.Failed))
}

func (p *progress) add(n int) { p.done.Add(int64(n)) }

// stop shows the last state and returns when it is written. What was never begun may be stopped too.
func (p *progress) stop() {
	if p == nil {
		return
	}
	close(p.end)
	<-p.ended
}

// run shows until it is stopped; last comes after that, where it is given.
func (p *progress) run(every time.Duration, show func(), last ...func()) {
	defer close(p.ended)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-p.end:
			show()
			for _, end := range last {
				end()
			}
			return
		case <-tick.C:
			show()
		}
	}
}

func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// columnsOf returns how wide a terminal is; 0 = it is none, or does not tell.
func columnsOf(out io.Writer) int {
	file, ok := out.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// fit cuts a line so that it stays one, or fills it up so that nothing is left of the one before.
func fit(text string, columns int) string {
	room := max(1, columns-1)
	line := []rune(text)
	return fmt.Sprintf("%-*s", room, string(line[:min(len(line), room)]))
}

// Progress that can't be written is not worth an error.

func printLine(out io.Writer, format string, values ...any) {
	_, _ = fmt.Fprintf(out, format+"\n", values...)
}

func newBar(out io.Writer, steps int64, stage string) *progressbar.ProgressBar {
	return progressbar.NewOptions64(steps,
		progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(stage), progressbar.OptionSetWidth(24),
		progressbar.OptionOnCompletion(func() { _, _ = fmt.Fprintln(out) }))
}
