package stream_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/fasthttp/websocket"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"

	"flashsale/httpapi/stream"
	"flashsale/internal/devstack/devtest"
)

const (
	interval = 20 * time.Millisecond
	patience = 30 * time.Second       // for what must happen soon
	stall    = 500 * time.Millisecond // for which a busy machine may keep a client from what it has to do in time
)

// station is a hub behind a real socket.
type station struct {
	t       *testing.T
	hub     *stream.Hub
	address string
	metrics *metrics.Set
	made    atomic.Int64 // updates
	padding atomic.Int64 // bytes that they are longer by
	slow    atomic.Bool  // making one takes as long as there is between two
	allowed atomic.Bool
	log     *strings.Builder
	stop    context.CancelFunc
	stopped chan struct{}
}

// open starts a hub. What a test leaves open is closed when it ends, and nothing may be left running.
func open(t *testing.T, config stream.Config) *station {
	t.Helper()
	before := goleak.IgnoreCurrent()
	s := &station{t: t, metrics: metrics.NewSet(), stopped: make(chan struct{}), log: &strings.Builder{}}
	s.allowed.Store(true)
	config.Metrics, config.Interval = s.metrics, interval
	config.Logger = slog.New(slog.NewTextHandler(s.log, nil))
	config.Update = func() (json.RawMessage, *stream.Refusal) {
		if s.slow.Load() {
			timer := time.NewTimer(interval + interval/10)
			defer timer.Stop()
			<-timer.C
		}
		return fmt.Appendf(nil, `{"n":%d,"padding":%q}`, s.made.Add(1), bytes.Repeat([]byte{'x'}, int(s.padding.Load()))), nil
	}
	s.hub = stream.New(config)
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go func() { defer close(s.stopped); s.hub.Run(ctx) }()

	upgrader := websocket.FastHTTPUpgrader{}
	server := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
		_ = upgrader.Upgrade(ctx, nil)
		ctx.Hijack(func(conn net.Conn) { s.hub.Serve(conn, stream.Permit{Still: s.allowed.Load}) })
	}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.address = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	t.Cleanup(func() {
		cancel()
		<-s.stopped
		require.NoError(t, server.Shutdown())
		require.NoError(t, <-served)
		goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction(cleaner), goleak.IgnoreAnyFunction(dater))
	})
	return s
}

// message is one in either direction.
type message struct {
	Event string         `json:"event"`
	Data  map[string]any `json:"data"`
}

// dial opens a WebSocket, all of which must be over soon.
func (s *station) dial() *websocket.Conn {
	s.t.Helper()
	socket, response, err := websocket.DefaultDialer.Dial("ws://"+s.address, nil)
	require.NoError(s.t, err)
	_ = response.Body.Close()
	s.t.Cleanup(func() { _ = socket.Close() })
	require.NoError(s.t, socket.SetReadDeadline(time.Now().Add(patience)))
	return socket
}

func (s *station) send(socket *websocket.Conn, text string) {
	s.t.Helper()
	require.NoError(s.t, socket.WriteMessage(websocket.TextMessage, []byte(text)))
}

func (s *station) receive(socket *websocket.Conn) (m message) {
	s.t.Helper()
	require.NoError(s.t, socket.ReadJSON(&m))
	return m
}

// await reads until a message of an event comes.
func (s *station) await(socket *websocket.Conn, event string) message {
	s.t.Helper()
	for {
		if m := s.receive(socket); m.Event == event {
			return m
		}
	}
}

// requireClosed reads until the connection ends, which must be by a close frame of that code.
func (s *station) requireClosed(socket *websocket.Conn, code int) {
	s.t.Helper()
	for {
		if _, _, err := socket.ReadMessage(); err != nil {
			require.True(s.t, websocket.IsCloseError(err, code), "%v", err)
			return
		}
	}
}

func (s *station) dropped(reason string) uint64 {
	return s.metrics.GetOrCreateCounter(`flashsale_stream_dropped_total{reason="` + reason + `"}`).Get()
}

func (s *station) eventually(what string, holds func() bool) {
	s.t.Helper()
	devtest.Eventually(s.t, patience, what, holds)
}

// fasthttp's own goroutines: the one ends some time after its server, the other never.
const (
	cleaner = "github.com/valyala/fasthttp.(*workerPool).Start.func2"
	dater   = "github.com/valyala/fasthttp.updateServerDate.func1"
)

const subscribe = `{"event":"subscribe-metrics"}`

// All get the same updates, however many they are: each is made once.
func TestUpdatesAreMadeOnceForAll(t *testing.T) {
	const clients, updates = 20, 5
	began := time.Now()
	s := open(t, stream.Config{})
	var reading sync.WaitGroup
	var seen [clients][]float64
	for i := range clients {
		socket := s.dial()
		s.send(socket, subscribe)
		first := s.receive(socket)
		require.Equal(t, "subscribe-metrics", first.Event)
		require.Equal(t, map[string]any{"subscribed": true, "intervalMs": 20.0}, first.Data)
		reading.Go(func() {
			for range updates {
				seen[i] = append(seen[i], s.await(socket, "metrics-update").Data["n"].(float64))
			}
		})
	}
	reading.Wait()
	made := float64(s.made.Load())
	for _, one := range seen {
		require.IsNonDecreasing(t, one)
		require.LessOrEqual(t, one[updates-1], made)
	}
	require.LessOrEqual(t, made, 2*float64(time.Since(began)/interval)+2, "made for each client apart")
	require.EqualValues(t, clients, s.hub.Clients())
}

func TestNothingIsMadeWhereNobodyListens(t *testing.T) {
	s := open(t, stream.Config{})
	socket, other := s.dial(), s.dial()
	s.send(socket, subscribe)
	s.await(socket, "metrics-update")
	s.send(socket, `{"event":"unsubscribe-metrics"}`)
	require.Equal(t, false, s.await(socket, "unsubscribe-metrics").Data["subscribed"])
	s.send(socket, `{"event":"nothing"}`)
	s.await(socket, "error")
	before := s.made.Load()
	ticker := time.NewTicker(5 * interval)
	defer ticker.Stop()
	<-ticker.C
	require.LessOrEqual(t, s.made.Load(), before+1, "but for one that was under way")
	_ = other
}

func TestQuestionsAreAnswered(t *testing.T) {
	var asked atomic.Int64
	s := open(t, stream.Config{Answers: map[string]stream.Answer{
		"fetch-it": func() (json.RawMessage, *stream.Refusal) {
			asked.Add(1)
			return json.RawMessage(`{"it":1}`), nil
		},
		"fetch-fails": func() (json.RawMessage, *stream.Refusal) {
			return nil, &stream.Refusal{Code: "unavailable", Detail: "no answer"}
		},
		"fetch-panics": func() (json.RawMessage, *stream.Refusal) { panic("not there") },
	}})
	socket := s.dial()
	for range 10 {
		s.send(socket, `{"event":"fetch-it","data":{"whatever":[]}}`)
		require.Equal(t, message{"fetch-it", map[string]any{"it": 1.0}}, s.receive(socket))
	}
	require.Less(t, asked.Load(), int64(10), "an answer is told again within the interval")
	s.send(socket, `{"event":"fetch-panics"}`)
	s.send(socket, `{"event":"fetch-fails"}`)
	require.Equal(t, message{"error", map[string]any{"code": "unavailable", "detail": "no answer", "event": "fetch-fails"}}, s.receive(socket))
	require.Contains(t, s.log.String(), "not there")
}

func TestWhatIsNotUnderstoodIsAnswered(t *testing.T) {
	s := open(t, stream.Config{Answers: map[string]stream.Answer{"fetch-it": nil}})
	socket := s.dial()
	for sent, event := range map[string]any{
		`{"event":"drop-table"}`: "drop-table", `{"event":"metrics-update"}`: "metrics-update",
		`{}`: nil, `[]`: nil, `"subscribe-metrics"`: nil, `{"event":1}`: nil, `{`: nil, ``: nil,
		`{"event":"` + strings.Repeat("y", 100) + `"}`: strings.Repeat("y", 64) + "…",
	} {
		s.send(socket, sent)
		m := s.receive(socket)
		require.Equal(t, "error", m.Event, sent)
		require.Equal(t, "invalid_request", m.Data["code"], sent)
		require.NotEmpty(t, m.Data["detail"])
		require.Equal(t, event, m.Data["event"], sent)
		require.Equal(t, []any{"subscribe-metrics", "unsubscribe-metrics", "fetch-it"}, m.Data["allowed"])
	}
	require.NoError(t, socket.WriteMessage(websocket.BinaryMessage, []byte(subscribe)))
	require.Equal(t, "error", s.receive(socket).Event)
}

func TestALongMessageEndsTheConnection(t *testing.T) {
	s := open(t, stream.Config{CloseWait: stall})
	socket := s.dial()
	s.send(socket, `{"event":"`+strings.Repeat("x", 1024-len(`{"event":""}`))+`"}`)
	require.Equal(t, "error", s.receive(socket).Event)
	s.send(socket, strings.Repeat("x", 1025))
	s.requireClosed(socket, websocket.CloseMessageTooBig)
	s.eventually("the client to be forgotten", func() bool { return s.hub.Clients() == 0 })
}

// A flood of whatever kind: what the protocol answers by itself costs too.
func TestAFloodEndsTheConnection(t *testing.T) {
	for name, kind := range map[string]int{"messages": websocket.TextMessage, "pings": websocket.PingMessage, "pongs": websocket.PongMessage} {
		t.Run(name, func(t *testing.T) {
			s := open(t, stream.Config{CloseWait: patience})
			socket := s.dial()
			go func() {
				for socket.WriteMessage(kind, []byte(`{"event":"unsubscribe-metrics"}`)) == nil {
					continue
				}
			}()
			s.requireClosed(socket, websocket.ClosePolicyViolation)
			s.eventually("it to be counted", func() bool { return s.dropped("flood") == 1 })
		})
	}
}

func TestAPingIsAnswered(t *testing.T) {
	s := open(t, stream.Config{})
	socket := s.dial()
	var answer string
	socket.SetPongHandler(func(data string) error {
		answer = data
		return nil
	})
	require.NoError(t, socket.WriteControl(websocket.PingMessage, []byte("there?"), time.Now().Add(patience)))
	s.send(socket, subscribe)
	s.await(socket, "metrics-update")
	require.Equal(t, "there?", answer)
}

// An update that took as long to make as the next one is due is not sent for the next one too.
func TestNoUpdateIsSentTwice(t *testing.T) {
	s := open(t, stream.Config{})
	socket := s.dial()
	s.slow.Store(true)
	s.send(socket, subscribe)
	last := 0.0
	for range 5 {
		n := s.await(socket, "metrics-update").Data["n"].(float64)
		require.Greater(t, n, last)
		last = n
	}
}

// A client that does not read costs a bounded queue and is dropped; the others notice nothing.
func TestASlowClientIsDropped(t *testing.T) {
	s := open(t, stream.Config{})
	s.padding.Store(128 << 10)
	stuck, healthy := s.dial(), s.dial()
	s.send(stuck, subscribe)
	s.send(healthy, subscribe)
	s.eventually("the slow client to be dropped", func() bool {
		_, _, err := healthy.ReadMessage()
		require.NoError(t, err)
		return s.dropped("slow") == 1
	})
	s.eventually("it to be forgotten", func() bool {
		_, _, err := healthy.ReadMessage()
		require.NoError(t, err)
		return s.hub.Clients() == 1
	})
}

// Nor does it cost what the kernel would take for it, megabytes each: what is under way to a client is bounded too.
func TestASlowClientHasLittleUnderWay(t *testing.T) {
	const padding, queued, underWay = 16 << 10, 32, 2 << 20 // bytes, messages, bytes
	s := open(t, stream.Config{WriteWait: time.Minute})
	s.padding.Store(padding)
	s.send(s.dial(), subscribe)
	s.eventually("the client to be dropped", func() bool { return s.dropped("slow") == 1 })
	require.Less(t, s.made.Load(), int64(queued+underWay/padding))
}

func TestWhoDoesNotAnswerPingsIsGone(t *testing.T) {
	s := open(t, stream.Config{PingEvery: interval, WriteWait: stall})
	silent, talking := s.dial(), s.dial()
	silent.SetPingHandler(func(string) error { return nil })
	var pings atomic.Int64
	talking.SetPingHandler(func(data string) error {
		pings.Add(1)
		return talking.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(patience))
	})
	go func() { _, _, _ = silent.ReadMessage() }()
	done := make(chan struct{})
	go func() { defer close(done); _, _, _ = talking.ReadMessage() }()
	began := time.Now()
	s.eventually("only the one that answers to be left", func() bool {
		return s.hub.Clients() == 1 && pings.Load() > 10 && time.Since(began) > 3*interval+stall
	})
	require.NoError(t, talking.Close())
	<-done
}

func TestAClientWhoseTokenExpiresIsDropped(t *testing.T) {
	s := open(t, stream.Config{PingEvery: interval})
	socket := s.dial()
	s.send(socket, subscribe)
	s.await(socket, "metrics-update")
	s.allowed.Store(false)
	s.requireClosed(socket, websocket.ClosePolicyViolation)
	s.eventually("it to be counted", func() bool { return s.dropped("expired") == 1 })
}

func TestThereIsRoomForSoMany(t *testing.T) {
	s := open(t, stream.Config{MaxClients: 2})
	first, second := s.dial(), s.dial()
	s.eventually("the hub to be full", func() bool { return !s.hub.HasRoom() })
	s.requireClosed(s.dial(), websocket.CloseTryAgainLater)
	require.NoError(t, first.Close())
	s.eventually("a place to be free", s.hub.HasRoom)
	s.send(second, subscribe)
	s.await(second, "metrics-update")
}

// The hub ends only when all clients are gone: those that answer the goodbye, and those that don't.
func TestStoppingSaysGoodbye(t *testing.T) {
	s := open(t, stream.Config{CloseWait: stall})
	polite, rude := s.dial(), s.dial()
	s.send(polite, subscribe)
	s.await(polite, "metrics-update")
	s.eventually("both to be known", func() bool { return s.hub.Clients() == 2 })
	s.stop()
	s.requireClosed(polite, websocket.CloseGoingAway)
	<-s.stopped
	require.Zero(t, s.hub.Clients())
	require.False(t, s.hub.HasRoom())
	s.requireClosed(rude, websocket.CloseGoingAway)
	s.requireClosed(s.dial(), websocket.CloseTryAgainLater)
}

// Nobody's goodbye is waited for behind what it does not read.
func TestStoppingCutsOffWhoDoesNotRead(t *testing.T) {
	s := open(t, stream.Config{CloseWait: interval})
	s.padding.Store(4 << 20)
	stuck := s.dial()
	s.send(stuck, subscribe)
	s.eventually("an update to be under way", func() bool { return s.made.Load() > 0 })
	s.stop()
	select {
	case <-s.stopped:
	case <-time.After(patience):
		t.Fatal("the hub waits for a client that does not read")
	}
}

// Who says goodbye hears it, with its own code, and is forgotten.
func TestAGoodbyeIsAnswered(t *testing.T) {
	s := open(t, stream.Config{})
	socket := s.dial()
	s.send(socket, subscribe)
	s.await(socket, "metrics-update")
	require.NoError(t, socket.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4321, "bye"), time.Now().Add(patience)))
	s.requireClosed(socket, 4321)
	s.eventually("it to be forgotten", func() bool { return s.hub.Clients() == 0 })
}
