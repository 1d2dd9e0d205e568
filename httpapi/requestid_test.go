package httpapi_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/httpapi"
)

func TestARequestKeepsTheIDThatItsClientGaveIt(t *testing.T) {
	h := start(t, httpapi.Config{UserLimit: httpapi.Limit{Requests: 1, Per: time.Hour, Burst: 3}})
	const id = "shop-7f.3_A"
	require.Equal(t, id, h.send("POST", "/orders", goodOrder, "X-Request-Id", id).header.Get("X-Request-Id"))
	require.Equal(t, id, h.send("GET", "/livez", "", "X-Request-Id", id).header.Get("X-Request-Id"))
	h.reserver.decide = func(*engine.Reservation) error { return engine.ErrSoldOut }
	refused := h.send("POST", "/orders", goodOrder, "X-Request-Id", id)
	require.Equal(t, id, refused.header.Get("X-Request-Id"))
	require.Equal(t, id, refused.json(t)["requestId"])
	require.NotContains(t, h.send("POST", "/orders", goodOrder).body, "requestId")
	for range 2 { // the document of a limit is made once: nobody else's id may get into it
		limited := h.send("POST", "/orders", goodOrder, "X-Request-Id", id)
		require.Equal(t, 429, limited.status)
		require.Equal(t, id, limited.json(t)["requestId"])
		require.NotContains(t, h.send("POST", "/orders", goodOrder).body, "requestId")
	}
}

func TestWhatIsNoRequestID(t *testing.T) {
	h := start(t, httpapi.Config{})
	for _, id := range []string{"a b", `a"b`, "a;b", "\u00e4", strings.Repeat("a", 65), "a/b", "@", "[", "{"} {
		require.Empty(t, h.send("GET", "/livez", "", "X-Request-Id", id).header.Get("X-Request-Id"), id)
	}
	longest := strings.Repeat("z", 64)
	require.Equal(t, longest, h.send("GET", "/livez", "", "X-Request-Id", longest).header.Get("X-Request-Id"))
}

func TestTheLogHasAFailureUnderTheIDOfItsAnswer(t *testing.T) {
	h := start(t, httpapi.Config{})
	h.reserver.decide = func(*engine.Reservation) error { return errors.New("broken pipe") }
	given := h.send("POST", "/orders", goodOrder, "X-Request-Id", "of-the-shop")
	require.Equal(t, "of-the-shop", given.json(t)["requestId"])
	require.Contains(t, h.log.String(), "request_id=of-the-shop")
	made := h.send("POST", "/orders", goodOrder)
	id := made.header.Get("X-Request-Id")
	require.NotEmpty(t, id)
	require.Equal(t, id, made.json(t)["requestId"])
	require.Contains(t, h.log.String(), "request_id="+id)

	h.reserver.decide = func(*engine.Reservation) error { panic("at the disco") }
	panicked := h.send("POST", "/orders", goodOrder, "X-Request-Id", "of-a-panic")
	require.Equal(t, "of-a-panic", panicked.header.Get("X-Request-Id"))
	require.Contains(t, h.log.String(), "request_id=of-a-panic")

	h.reserver.decide = func(*engine.Reservation) error { return engine.ErrUnavailable }
	h.send("POST", "/orders", goodOrder, "X-Request-Id", "of-an-outage")
	require.NotContains(t, h.log.String(), "of-an-outage", "not one line for each order while a store is away")
}
