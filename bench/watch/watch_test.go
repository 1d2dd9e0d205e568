package watch_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"flashsale/bench/watch"
)

// service is a stream that tells each client two updates, and to more than some clients nothing.
func service(t *testing.T, room int, after func(*websocket.Conn)) (base string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	places := make(chan struct{}, room)
	upgrader := websocket.FastHTTPUpgrader{Subprotocols: []string{"flashsale"}}
	server := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) {
		select {
		case places <- struct{}{}:
		default:
			ctx.SetStatusCode(fasthttp.StatusServiceUnavailable)
			return
		}
		_ = upgrader.Upgrade(ctx, func(socket *websocket.Conn) {
			_, asked, err := socket.ReadMessage()
			if err != nil || string(asked) != `{"event":"subscribe-metrics"}` {
				return
			}
			_ = socket.WriteMessage(websocket.TextMessage, []byte(`{"event":"subscribe-metrics","data":{"subscribed":true}}`))
			after(socket)
		})
	}}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(ln)
	}()
	t.Cleanup(func() {
		_ = server.Shutdown()
		<-served
	})
	return "http://" + ln.Addr().String()
}

// tell sends updates until the client is gone.
func tell(socket *websocket.Conn) {
	for socket.WriteMessage(websocket.TextMessage, []byte(`{"event":"metrics-update","data":{}}`)) == nil {
		timer := time.NewTimer(5 * time.Millisecond)
		<-timer.C
	}
}

func TestWatchersCountWhatTheyAreTold(t *testing.T) {
	told, err := watch.Run(t.Context(), watch.Options{Target: service(t, 40, tell), Clients: 40, For: time.Second})
	require.NoError(t, err)
	require.Equal(t, 40, told.Clients)
	require.Zero(t, told.Lost)
	require.Positive(t, told.PerClient())
}

func TestWatchersThatAreLetGoOfAreCounted(t *testing.T) {
	told, err := watch.Run(t.Context(), watch.Options{Target: service(t, 3, func(s *websocket.Conn) { _ = s.Close() }), Clients: 3, For: time.Hour})
	require.NoError(t, err)
	require.Equal(t, 3, told.Lost)
	require.Zero(t, told.Updates)
}

func TestAWatcherThatIsNotLetIn(t *testing.T) {
	_, err := watch.Run(t.Context(), watch.Options{Target: service(t, 2, tell), Clients: 3, For: time.Hour})
	require.ErrorContains(t, err, "status 503")
}

func TestWatchersStopWhenTheyAreTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	base := service(t, 1, func(s *websocket.Conn) {
		cancel()
		tell(s)
	})
	told, err := watch.Run(ctx, watch.Options{Target: base, Clients: 1, For: time.Hour})
	require.NoError(t, err)
	require.Equal(t, 1, told.Clients)
}
