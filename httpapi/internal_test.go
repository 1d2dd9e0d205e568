package httpapi

import (
	"context"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"

	"flashsale/engine"
	"flashsale/internal/atonce"
)

// codesOfEngine reads the codes from the engine's source, so that a new one can't be forgotten here.
func codesOfEngine(t *testing.T) []engine.Code {
	t.Helper()
	files, err := filepath.Glob("../engine/*.go")
	require.NoError(t, err)
	var codes []engine.Code
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		ast.Inspect(tree, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if typed, ok := spec.Type.(*ast.Ident); ok && typed.Name == "Code" {
				for _, value := range spec.Values {
					code, err := strconv.Unquote(value.(*ast.BasicLit).Value)
					require.NoError(t, err)
					codes = append(codes, engine.Code(code))
				}
			}
			return true
		})
	}
	require.NotEmpty(t, codes)
	return codes
}

func TestEveryCodeHasItsStatus(t *testing.T) {
	design := map[engine.Code]int{
		"invalid_request": 400, "unauthorized": 401, "forbidden": 403, "not_found": 404, "sold_out": 409, "limit_exceeded": 409,
		"duplicate_order": 409, "sale_not_started": 409, "sale_ended": 409, "sale_inactive": 409, "invalid_state": 409,
		"hold_expired": 410, "version_conflict": 412, "body_too_large": 413, "idempotency_conflict": 422, "rate_limited": 429,
		"internal": 500, "overloaded": 503, "unavailable": 503, "partition_closed": 503, "outcome_unknown": 504,
	}
	for _, code := range codesOfEngine(t) {
		require.Contains(t, kinds, code)
	}
	require.Len(t, kinds, len(design))
	s := New(Deps{}, Config{})
	for code, status := range design {
		var ctx fasthttp.RequestCtx
		s.refuse(&ctx, &engine.Error{Code: code, Detail: "a \"detail\"\n", Field: "f", RetryAfter: 1500 * time.Millisecond})
		require.Equal(t, status, ctx.Response.StatusCode(), code)
		require.Equal(t, "application/problem+json", string(ctx.Response.Header.ContentType()))
		var members map[string]any
		require.NoError(t, json.Unmarshal(ctx.Response.Body(), &members))
		require.Equal(t, map[string]any{
			"type": problemType + string(code), "title": kinds[code].title, "status": float64(status), "code": string(code),
			"detail": "a \"detail\"\n", "field": "f",
		}, members)
		want := "2"
		if code == engine.CodeOutcomeUnknown {
			want = ""
		}
		require.Equal(t, want, string(ctx.Response.Header.Peek("Retry-After")), code)
	}
	var ctx fasthttp.RequestCtx
	s.refuse(&ctx, &engine.Error{Code: "new_and_unknown", Detail: "d"})
	require.Equal(t, 500, ctx.Response.StatusCode())
}

func TestKnownProblemsAreWhatWouldBeWritten(t *testing.T) {
	for err, document := range knownProblems() {
		require.Equal(t, string(appendProblem(nil, err, kindOf(err))), string(document))
	}
}

func TestAppendTime(t *testing.T) {
	const first, last = -62_167_219_200_000, 253_402_300_799_999 // years 0 to 9999
	check := func(ms int64) {
		want := time.UnixMilli(ms).UTC().Format(`"2006-01-02T15:04:05.000Z"`)
		require.Equal(t, want, string(appendTime(nil, ms)), ms)
	}
	for _, ms := range []int64{0, -1, 1, first, last, 951_782_399_999, 951_782_400_000, 951_868_800_000, 4_107_542_400_000} {
		check(ms)
	}
	for range 20_000 {
		check(first + rand.Int64N(last-first))
	}
}

func TestAppendNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 1: "0.001", 10: "0.01", 1500: "1.5", 2000: "2", 1234567: "1234.567"} {
		require.Equal(t, want, string(appendThousandths(nil, n)))
	}
	for n, want := range map[int64]string{0: "0", 5: "0.05", 1950: "19.50", 2000: "20", 1_000_000_000_000: "10000000000"} {
		require.Equal(t, want, string(appendCents(nil, n)))
	}
	for text, want := range map[string]int64{"0": 0, "1": 100, "1.5": 150, "1.05": 105, "0.99": 99, "1234567890123456.78": 123456789012345678} {
		cents, ok := parseCents([]byte(text))
		require.True(t, ok, text)
		require.Equal(t, want, cents)
	}
	for _, text := range []string{"", ".", "1.", ".5", "1.005", "-1", "-0.5", "01", "1e2", "1.2.3", "1,5", "12345678901234567"} {
		_, ok := parseCents([]byte(text))
		require.False(t, ok, text)
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 12_000: "12,000", 1_234_567: "1,234,567"} {
		require.Equal(t, want, grouped(n))
	}
}

func TestWaitIsNeverMadeUp(t *testing.T) {
	for name, c := range map[string]struct {
		ahead int64
		rate  float64
		want  int64
	}{
		"none ahead": {0, 10, 0}, "rate not known": {5, 0, 0}, "no number": {5, math.NaN(), 0}, "nonsense": {5, -1, 0},
		"beyond all bounds": {math.MaxInt64, 1e-300, 0}, "known": {5, 2, 2500},
	} {
		s := &Server{deps: Deps{Reserver: fixedRate(c.rate)}}
		require.Equal(t, c.want, s.waitMs(&engine.Reservation{Ahead: c.ahead}), name)
	}
}

func TestClientOf(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7:1": "192.0.2.7/32", "[::ffff:192.0.2.7]:1": "192.0.2.7/32", "[2001:db8:1:2:3::7]:1": "2001:db8:1:2::/64",
	} {
		require.Equal(t, want, clientOf(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address))).String())
	}
	require.Equal(t, netip.Prefix{}, clientOf(&net.UnixAddr{}))
}

// askedConn is a connection of a server that stops, on which a request has been read.
func askedConn(t *testing.T) (c *trackedConn, client net.Conn) {
	t.Helper()
	here, there := net.Pipe()
	t.Cleanup(func() { require.NoError(t, there.Close()) })
	ln := trackConns(nil, 0)
	ln.stopping.Store(true)
	c = ln.track(here)
	require.True(t, ln.admit(c))
	sent := make(chan error, 1)
	go func() { _, err := there.Write([]byte("request")); sent <- err }()
	_, err := c.Read(make([]byte, 100))
	require.NoError(t, err)
	require.NoError(t, <-sent)
	return c, there
}

// fasthttp closes what it takes for idle: a request that was read is answered all the same.
func TestAStoppingServerAnswersWhatItHasRead(t *testing.T) {
	c, client := askedConn(t)
	require.NoError(t, c.Close(), "which is put off")
	got := make(chan byte, 1)
	go func() {
		var answer [1]byte
		_, _ = client.Read(answer[:])
		got <- answer[0]
	}()
	_, err := c.Write([]byte("!"))
	require.NoError(t, err)
	require.Equal(t, byte('!'), <-got)
	require.NoError(t, c.Close(), "by who has answered")
	_, err = c.Write([]byte("!"))
	require.Error(t, err)
	require.Empty(t, c.listener.conns)
}

func TestAStreamIsClosedAtOnce(t *testing.T) {
	c, _ := askedConn(t)
	c.handed.Store(true)
	require.NoError(t, c.Close())
	require.Empty(t, c.listener.conns)
}

// What arrives when nobody would answer it any more is not acted upon.
func TestWhatIsReadAfterTheCloseIsNotActedUpon(t *testing.T) {
	c, client := askedConn(t)
	require.NoError(t, c.Close(), "which is put off")
	go func() { _, _ = client.Write([]byte("one more")) }()
	n, err := c.Read(make([]byte, 100))
	require.ErrorIs(t, err, net.ErrClosed)
	require.Zero(t, n)
	require.NoError(t, c.Close())
}

// crowded is a listener that has no room for the first connections.
type crowded struct {
	net.Listener
	left int
}

func (c *crowded) Accept() (net.Conn, error) {
	if c.left--; c.left >= 0 {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return nil, net.ErrClosed
}

func TestAcceptOutlivesRunningOutOfFiles(t *testing.T) {
	crowd := &crowded{left: 2}
	_, err := trackConns(crowd, 0).Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	require.Equal(t, -1, crowd.left)
}

func TestClosingEndsTheWaitForFiles(t *testing.T) {
	ln := trackConns(&crowded{Listener: fasthttputil.NewInmemoryListener(), left: math.MaxInt}, 0)
	require.NoError(t, ln.Close())
	require.NoError(t, ln.Close(), "twice")
	_, err := ln.Accept()
	require.ErrorIs(t, err, syscall.EMFILE)
}

type fixedRate float64

func (r fixedRate) DrainRate(int) float64           { return float64(r) }
func (r fixedRate) Partitions() int                 { return 1 }
func (r fixedRate) TimeOf(string) time.Time         { return time.Time{} }
func (r fixedRate) State(int) engine.PartitionState { return engine.PartitionState{} }

func (r fixedRate) Reserve(o *engine.Reservation, _ time.Time) error {
	o.Order.Status, o.Order.CreatedAtMs, o.Ahead = engine.StatusConfirmed, 1_700_000_000_123, 17
	return nil
}

// fewLeft refuses every second order, each time with another figure.
type fewLeft struct {
	fixedRate
	calls *int64
}

func (f fewLeft) Reserve(r *engine.Reservation, now time.Time) error {
	if *f.calls++; *f.calls%2 == 0 {
		r.Left = *f.calls
		return engine.ErrSoldOut
	}
	return f.fixedRate.Reserve(r, now)
}

// Answers are written to the socket after the memory of their calls went back to the pool.
func TestAnswersOwnTheirMemory(t *testing.T) {
	s := New(Deps{Reserver: fewLeft{calls: new(int64)}}, Config{})
	answers := make([]fasthttp.RequestCtx, 40)
	for i := range answers {
		answers[i].Request.Header.SetMethod("POST")
		answers[i].Request.SetRequestURI("/orders")
		answers[i].Request.SetBodyString(`{"productId":"p","userId":"user-` + strconv.Itoa(100+i) + `","quantity":1}`)
		s.handle(&answers[i])
	}
	for i := range answers {
		want := `"left":` + strconv.Itoa(i+1) + "}"
		if i%2 == 0 {
			want = `"userId":"user-` + strconv.Itoa(100+i) + `"`
		}
		require.Contains(t, string(answers[i].Response.Body()), want)
	}
}

func FuzzAppendString(f *testing.F) {
	f.Add("plain")
	f.Add("\x00\x1f\"\\/é\xff\xe2\x82\u2028\U0001f600")
	f.Fuzz(func(t *testing.T, text string) {
		var back string
		require.NoError(t, json.Unmarshal(appendString(nil, text), &back))
		if utf8.ValidString(text) {
			require.Equal(t, text, back)
		}
	})
}

// Between the look whether there is room and the moment that a client is served others may come: it is told, not just cut off.
func TestWhoComesBesideTheLastBuyerIsTold(t *testing.T) {
	s := New(Deps{}, Config{})
	over, cancel := context.WithCancel(t.Context())
	cancel()
	s.feed.Run(over) // no room from now on
	here, there := net.Pipe()
	require.NoError(t, here.SetDeadline(time.Now().Add(10*time.Second)))
	go func() {
		s.serveStock(there, nil, "lamp")
		_ = there.Close()
	}()
	told, err := io.ReadAll(here)
	require.NoError(t, err)
	require.Contains(t, string(told), "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n")
}

// However many products were looked at, so many are remembered, the last one among them.
func TestWhatIsRememberedIsBounded(t *testing.T) {
	var s shelves
	for i := range maxShelves + 100 {
		name := strconv.Itoa(i)
		s.put(name, []engine.Product{{ID: name}})
		require.LessOrEqual(t, len(s.known), maxShelves)
		last, _ := s.get(name, time.Time{})
		require.Equal(t, []engine.Product{{ID: name}}, last)
	}
	require.Len(t, s.known, maxShelves)
}

// Streams write what the kernel takes past everything that lies between; where there is no kernel they are told so.
func TestStreamsReachTheKernel(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	there, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	defer there.Close()
	here, err := trackConns(ln, 0).Accept()
	require.NoError(t, err)
	defer here.Close()
	n, err := atonce.New(here).Write([]byte("x"))
	require.NoError(t, err)
	require.Equal(t, 1, n)

	piped, _ := net.Pipe()
	require.Nil(t, atonce.New(trackConns(nil, 0).track(piped)))
}
