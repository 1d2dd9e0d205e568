package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"flashsale/engine"
)

// probeTimeout bounds a sign of life; RequestTimeout may bound it further.
const probeTimeout = time.Second

// watchedCheck is a check that logs when it begins and ceases to fail: the client is not told the names of hosts.
type watchedCheck struct {
	Check
	failing atomic.Bool
}

func watchChecks(checks []Check) []*watchedCheck {
	watched := make([]*watchedCheck, 0, len(checks))
	for _, c := range checks {
		watched = append(watched, &watchedCheck{Check: c})
	}
	return watched
}

// What is told of a check that fails.
const (
	detailSilent = "no answer in time"
	detailAway   = "can't be reached"
	detailBroken = "does not work; the log says why"
)

// finding is what a check said.
type finding struct {
	name       string
	detail     string // "" = it lives
	ordersGoOn bool   // though it does not
	meanwhile  string
	took       time.Duration
}

// checksAge is for how long it is told again what the checks found: each takes a connection to a store, and anybody may ask.
const checksAge = time.Second

// lastChecks is what the checks found last, and the lock of who asks.
type lastChecks struct {
	mu    sync.Mutex
	found []finding
	at    time.Time // when all had answered or were given up; zero = never
}

// checked returns what the checks found in a run that was over at most checksAge ago; a run takes at most probeTimeout. One
// at a time asks; the others wait for it. The findings are not to be changed.
func (s *Server) checked() []finding {
	s.lastChecks.mu.Lock()
	defer s.lastChecks.mu.Unlock()
	last := &s.lastChecks
	if last.at.IsZero() || s.config.Clock().Sub(last.at) >= checksAge {
		last.found, last.at = s.runChecks(), s.config.Clock()
	}
	return last.found
}

// runChecks asks all at once and waits for them.
func (s *Server) runChecks() []finding {
	ctx, cancel := context.WithTimeout(context.Background(), min(probeTimeout, s.config.RequestTimeout))
	defer cancel()
	findings := make([]finding, len(s.checks))
	var probes sync.WaitGroup
	for i, c := range s.checks {
		probes.Go(func() { findings[i] = s.runCheck(ctx, c) })
	}
	probes.Wait()
	return findings
}

// logCheck says once that a check fails, and once that it does no more.
func (s *Server) logCheck(name string, err error) {
	if err != nil {
		s.log.Error("health check fails", "check", name, "error", err)
		return
	}
	s.log.Info("health check passes again", "check", name)
}

func (s *Server) runCheck(ctx context.Context, c *watchedCheck) finding {
	start := time.Now()
	err := probe(ctx, c.Probe)
	f := finding{name: c.Name, ordersGoOn: c.OrdersGoOn, meanwhile: c.Meanwhile, took: time.Since(start)}
	if s.opened.Load() && c.failing.Swap(err != nil) != (err != nil) { // before that, somebody else says what is waited for
		s.logCheck(c.Name, err)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded): // the drivers say either
		f.detail = detailSilent
	case errors.As(err, new(*net.OpError)): // refused, no route, no such host: nobody needs the log to know what to look at
		f.detail = detailAway
	case err != nil:
		f.detail = detailBroken
	}
	return f
}

// probe runs a probe; a panic is an error, since nothing else would catch it on this goroutine.
func probe(ctx context.Context, run func(context.Context) error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
		}
	}()
	return run(ctx)
}

func (s *Server) partitionStates() []engine.PartitionState {
	if !s.opened.Load() {
		return nil
	}
	states := make([]engine.PartitionState, s.deps.Reserver.Partitions())
	for i := range states {
		states[i] = s.deps.Reserver.State(i)
	}
	return states
}

// Statuses of the whole.
const (
	statusOK       = "ok"
	statusDegraded = "degraded"
	statusDown     = "down"
)

// getHealth tells people and machines how things are.
func (s *Server) getHealth(ctx *fasthttp.RequestCtx) {
	body, status := s.healthReport()
	code := fasthttp.StatusOK
	if status == statusDown {
		code = fasthttp.StatusServiceUnavailable
	}
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	sendJSON(ctx, code, body)
}

// healthReport says how all is.
func (s *Server) healthReport() (body []byte, status string) {
	findings, states := s.checked(), s.partitionStates()
	said := append(problems(findings, states), s.driftProblems()...)
	if !s.opened.Load() {
		said = append(said, reasonStarting)
	}
	failures := s.failureProblems()
	if sells(findings, states) { // where none can be placed that is said
		said = append(said, failures...)
	}
	status = overall(findings, states, said)
	body = appendStringMember(nil, `{"status":`, status)
	body = append(body, `,"problems":[`...)
	for i, problem := range said {
		body = appendString(separate(body, i), problem)
	}
	body = appendBoolMember(body, `],"ordersFail":`, len(failures) > 0)
	_, orders, lag := waiting(states)
	body = appendLedgerLag(body, orders, lag)
	body = s.appendReconciled(body)
	body = append(body, `,"checks":[`...)
	for i := range findings {
		body = appendFinding(separate(body, i), &findings[i])
	}
	body = append(body, `],"partitions":[`...)
	for i := range states {
		body = appendPartition(separate(body, i), &states[i])
	}
	body = appendStringMember(body, `],"version":`, s.config.Version)
	body = appendTime(append(body, `,"timestamp":`...), time.Now().UnixMilli())
	return append(body, '}'), status
}

// separate appends the comma before all but the first element.
func separate(dst []byte, index int) []byte {
	if index > 0 {
		return append(dst, ',')
	}
	return dst
}

func appendFinding(dst []byte, f *finding) []byte {
	status := statusOK
	if f.detail != "" {
		status = statusDown
	}
	dst = appendStringMember(dst, `{"name":`, f.name)
	dst = appendStringMember(dst, `,"status":`, status)
	if f.detail != "" {
		dst = appendStringMember(dst, `,"detail":`, f.detail)
	}
	dst = appendThousandths(append(dst, `,"latencyMs":`...), f.took.Microseconds())
	return append(dst, '}')
}

func appendPartition(dst []byte, p *engine.PartitionState) []byte {
	dst = appendIntMember(dst, `{"partition":`, int64(p.Partition))
	dst = strconv.AppendUint(append(dst, `,"epoch":`...), p.Epoch.Number, 10)
	dst = appendBoolMember(dst, `,"open":`, p.Open)
	if p.Reason != "" {
		dst = appendStringMember(dst, `,"reason":`, p.Reason)
	}
	dst = appendIntMember(dst, `,"backlog":`, p.Backlog)
	dst = appendThousandths(append(dst, `,"lagSeconds":`...), p.Lag.Milliseconds())
	dst = appendIntMember(dst, `,"queued":`, int64(p.Queued))
	dst = strconv.AppendUint(append(dst, `,"watermark":`...), p.Watermark.Sequence, 10)
	return append(dst, '}')
}

// getLive says that the process answers, whatever it depends on.
func (s *Server) getLive(ctx *fasthttp.RequestCtx) {
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString("ok")
}

// getReady tells a load balancer whether to send orders here: as long as any can be placed. What is wrong with a store or a
// partition is wrong for all processes at once, and to take them all out would end a sale that could go on.
func (s *Server) getReady(ctx *fasthttp.RequestCtx) {
	findings, states := s.checked(), s.partitionStates()
	body, reasons := []byte(nil), 0
	add := func(reason string) {
		body = appendString(separate(body, reasons), reason)
		reasons++
	}
	for i := range findings {
		if f := &findings[i]; f.detail != "" {
			add(f.name + ": " + f.detail)
		}
	}
	if !s.opened.Load() {
		add(reasonStarting)
	}
	for i := range states {
		if p := &states[i]; !p.Open {
			add("partition " + strconv.Itoa(p.Partition) + ": " + p.Reason)
		}
	}
	preparing := s.config.Preparing()
	if preparing != "" {
		add(preparing)
	}
	code, status := fasthttp.StatusOK, "ready"
	if !s.opened.Load() || preparing != "" || !sells(findings, states) {
		code, status = fasthttp.StatusServiceUnavailable, "not ready"
	}
	body = append(append(appendStringMember(nil, `{"status":`, status), `,"reasons":[`...), body...)
	sendJSON(ctx, code, append(body, "]}"...))
}
