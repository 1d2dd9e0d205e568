package httpapi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/httpapi"
)

func TestIdempotencyKeyIsTakenPlainOrQuoted(t *testing.T) {
	h := start(t, httpapi.Config{})
	for given, want := range map[string]string{
		"k": "k", "a b": "a b", `"k"`: "k", `"say \"hi\" \\ bye"`: `say "hi" \ bye`, "it's=fine;x": "it's=fine;x",
		strings.Repeat("k", 255): strings.Repeat("k", 255), `"` + strings.Repeat("k", 255) + `"`: strings.Repeat("k", 255),
		`back\slash`: `back\slash`,
	} {
		require.Equal(t, 201, h.send("POST", "/orders", goodOrder, "Idempotency-Key", given).status, "%s", given)
		calls := h.reserver.reserved()
		require.Equal(t, want, calls[len(calls)-1].Key, "key of %s", given)
	}
	require.Equal(t, 201, h.send("POST", "/orders", goodOrder).status)
	calls := h.reserver.reserved()
	require.Empty(t, calls[len(calls)-1].Key, "a request without a key after those with one")
}

func TestBadIdempotencyKeysChangeNothing(t *testing.T) {
	h := start(t, httpapi.Config{})
	for _, bad := range []string{
		"", `""`, `"`, `"open`, `"a"b"`, `"a\"`, `"a\n"`, strings.Repeat("k", 256), "t\tab", "caf\u00e9", `"` + strings.Repeat("k", 256) + `"`,
	} {
		problem := h.send("POST", "/orders", goodOrder, "Idempotency-Key", bad).requireProblem(t, 400, engine.CodeInvalidRequest)
		require.Equal(t, "Idempotency-Key", problem["field"], "%q", bad)
		require.Contains(t, problem["detail"], "1 to 255 printable ASCII characters")
	}
	conn, r := h.dial()
	_, err := fmt.Fprintf(conn, "POST /orders HTTP/1.1\r\nHost: x\r\nIdempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: %d\r\n\r\n%s", len(goodOrder), goodOrder)
	require.NoError(t, err)
	problem := h.next(r).requireProblem(t, 400, engine.CodeInvalidRequest)
	require.Equal(t, "Idempotency-Key", problem["field"], "two keys")
	require.Empty(t, h.reserver.reserved())
}

func TestReplayAnswersWithTheFirstOrder(t *testing.T) {
	h := start(t, httpapi.Config{})
	first := engine.NewOrderID(2, time.UnixMilli(1_700_000_000_123))
	h.reserver.decide = func(r *engine.Reservation) error {
		r.Replayed = true
		r.Order = engine.Order{ID: first, Status: engine.StatusPending, CreatedAtMs: 1_700_000_000_123, ExpiresAtMs: 1_700_000_060_123}
		return nil
	}
	answer := h.send("POST", "/orders", goodOrder, "Idempotency-Key", "k")
	require.Equal(t, 201, answer.status)
	require.Equal(t, "true", answer.header.Get("Idempotent-Replayed"))
	require.Equal(t, "/orders/"+first.String(), answer.header.Get("Location"))
	body := answer.json(t)
	require.Equal(t, first.String(), body["orderId"])
	require.Equal(t, "pending", body["status"])
	require.Equal(t, "2023-11-14T22:14:20.123Z", body["expiresAt"])
	require.Contains(t, h.send("GET", "/metrics", "").body, `flashsale_orders_total{outcome="replayed"} 1`)
}

func TestKeyConflictIs422(t *testing.T) {
	h := start(t, httpapi.Config{})
	h.reserver.decide = func(*engine.Reservation) error { return engine.ErrKeyConflict }
	problem := h.send("POST", "/orders", goodOrder, "Idempotency-Key", "k").requireProblem(t, 422, engine.CodeKeyConflict)
	require.Equal(t, "Idempotency-Key", problem["field"])
}

// A replay that waits for the ledger or a replica in vain names the order that there is, not the attempt.
func TestUnknownOutcomeOfAReplayNamesTheFirstOrder(t *testing.T) {
	h := start(t, httpapi.Config{})
	first := engine.NewOrderID(2, time.UnixMilli(1_700_000_000_123))
	h.reserver.decide = func(r *engine.Reservation) error {
		r.Replayed, r.Order = true, engine.Order{ID: first}
		return engine.ErrOutcomeUnknown
	}
	answer := h.send("POST", "/orders", goodOrder, "Idempotency-Key", "k")
	problem := answer.requireProblem(t, 504, engine.CodeOutcomeUnknown)
	require.Equal(t, first.String(), problem["orderId"])
	require.Equal(t, "1", answer.header.Get("Retry-After"))
}

// Only with a key is it safe to send an order again whose outcome is not known.
func TestUnknownOutcomeMayBeRetriedWithAKey(t *testing.T) {
	h := start(t, httpapi.Config{})
	h.reserver.decide = func(*engine.Reservation) error { return engine.ErrOutcomeUnknown }
	answer := h.send("POST", "/orders", goodOrder, "Idempotency-Key", "k")
	answer.requireProblem(t, 504, engine.CodeOutcomeUnknown)
	require.Equal(t, "1", answer.header.Get("Retry-After"))
	answer = h.send("POST", "/orders", goodOrder)
	answer.requireProblem(t, 504, engine.CodeOutcomeUnknown)
	require.Empty(t, answer.header.Get("Retry-After"), "without a key")
}
