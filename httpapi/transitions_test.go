package httpapi_test

import (
	"cmp"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/httpapi"
)

func heldOrder() engine.Order {
	return engine.Order{
		ID: engine.NewOrderID(1, time.UnixMilli(1_700_000_000_000)), Product: "phone", User: "ann", Quantity: 2,
		Status: engine.StatusPending, Version: 2, CreatedAtMs: 1_700_000_000_123, UpdatedAtMs: 1_700_000_001_000,
		ExpiresAtMs: 1_700_000_061_000,
	}
}

func TestTransitionsAnswerWithTheOrder(t *testing.T) {
	order := heldOrder()
	for name, test := range map[string]struct {
		path, body string
		want       engine.Transition
	}{
		"confirm":             {"/confirm", "", engine.Transition{Action: engine.ActionConfirm}},
		"confirm some":        {"/confirm", `{"quantity":1}`, engine.Transition{Action: engine.ActionConfirm, Quantity: 1}},
		"confirm with {}":     {"/confirm", `{}`, engine.Transition{Action: engine.ActionConfirm}},
		"cancel":              {"/cancel", "", engine.Transition{Action: engine.ActionCancel}},
		"cancel with {}":      {"/cancel", `{}`, engine.Transition{Action: engine.ActionCancel}},
		"extend":              {"/extend", `{"holdSeconds":60}`, engine.Transition{Action: engine.ActionExtend, HoldFor: time.Minute}},
		"confirm in a mode":   {"/confirm", `{"durability":"ledger","quantity":1}`, engine.Transition{Action: engine.ActionConfirm, Quantity: 1, Durability: engine.DurabilityLedger}},
		"cancel in a mode":    {"/cancel", `{"durability":"fast"}`, engine.Transition{Action: engine.ActionCancel, Durability: engine.DurabilityFast}},
		"extend in a mode":    {"/extend", `{"durability":"replicated","holdSeconds":60}`, engine.Transition{Action: engine.ActionExtend, HoldFor: time.Minute, Durability: engine.DurabilityReplicated}},
		"extend to the bound": {"/extend", `{"holdSeconds":900}`, engine.Transition{Action: engine.ActionExtend, HoldFor: 15 * time.Minute}},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, httpapi.Config{})
			h.store.settle = func(asked *engine.Transition) error { asked.Order = order; return nil }
			path := "/orders/" + order.ID.String() + test.path
			got := h.send("POST", path, test.body)
			require.Equal(t, 200, got.status, got.body)
			require.JSONEq(t, `{"orderId":"`+order.ID.String()+`","jobId":"`+order.ID.String()+`","status":"pending","productId":"phone",
				"userId":"ann","quantity":2,"durability":"`+cmp.Or(test.want.Durability, engine.DurabilityFast).String()+`","version":2,"createdAt":"2023-11-14T22:13:20.123Z",
				"updatedAt":"2023-11-14T22:13:21.000Z","expiresAt":"2023-11-14T22:14:21.000Z"}`, got.body)
			test.want.ID = order.ID
			require.Equal(t, []engine.Transition{test.want}, h.store.settled)
		})
	}
}

func TestTransitionsRefuseBadInput(t *testing.T) {
	h := start(t, httpapi.Config{MaxHold: 10 * time.Minute})
	id := heldOrder().ID.String()
	for name, test := range map[string]struct{ path, body, field, words string }{
		"quantity of nothing":  {"/confirm", `{"quantity":0}`, "quantity", "from 1 to 1000000"},
		"less than nothing":    {"/confirm", `{"quantity":-1}`, "quantity", "from 1 to 1000000"},
		"half a unit":          {"/confirm", `{"quantity":1.5}`, "quantity", "from 1 to 1000000"},
		"quantity in words":    {"/confirm", `{"quantity":"1"}`, "quantity", "from 1 to 1000000"},
		"more than there is":   {"/confirm", `{"quantity":9223372036854775808}`, "quantity", "from 1 to 1000000"},
		"unknown field":        {"/confirm", `{"holdSeconds":1}`, "holdSeconds", "not a field"},
		"repeated field":       {"/confirm", `{"quantity":1,"quantity":1}`, "quantity", "twice"},
		"no object":            {"/confirm", `[]`, "", "one JSON object"},
		"no JSON":              {"/confirm", `{`, "", "not well-formed"},
		"cancel some":          {"/cancel", `{"quantity":1}`, "quantity", "not a field"},
		"extend by what":       {"/extend", ``, "holdSeconds", "missing"},
		"extend by nothing":    {"/extend", `{"holdSeconds":0}`, "holdSeconds", "from 1 to 600"},
		"extend for ever":      {"/extend", `{"holdSeconds":601}`, "holdSeconds", "from 1 to 600"},
		"extend by half":       {"/extend", `{"holdSeconds":0.5}`, "holdSeconds", "from 1 to 600"},
		"confirm for good":     {"/confirm", `{"durability":"for good"}`, "durability", "fast, replicated or ledger"},
		"cancel for good":      {"/cancel", `{"durability":true}`, "durability", "fast, replicated or ledger"},
		"extend for good":      {"/extend", `{"holdSeconds":1,"durability":"LEDGER"}`, "durability", "fast, replicated or ledger"},
		"extend and something": {"/extend", `{"holdSeconds":1,"x":1}`, "x", "not a field"},
	} {
		t.Run(name, func(t *testing.T) {
			problem := h.send("POST", "/orders/"+id+test.path, test.body).requireProblem(t, 400, engine.CodeInvalidRequest)
			require.Contains(t, problem["detail"], test.words)
			if test.field != "" {
				require.Equal(t, test.field, problem["field"])
			}
		})
	}
	problem := h.send("POST", "/orders/"+id+"/cancel", "{}", "Content-Type", "text/plain").requireProblem(t, 400, engine.CodeInvalidRequest)
	require.Equal(t, "Content-Type", problem["field"])
	for _, no := range []string{"42", id + "0"} {
		h.send("POST", "/orders/"+no+"/cancel", "").requireProblem(t, 404, engine.CodeNotFound)
	}
	require.Empty(t, h.store.settled, "a refused request changes nothing")
}

func TestTransitionsRefused(t *testing.T) {
	order := heldOrder()
	for _, test := range []struct {
		err    error
		status int
		code   engine.Code
		retry  string
	}{
		{engine.ErrNoOrder, 404, engine.CodeNotFound, ""},
		{engine.ErrInvalidState, 409, engine.CodeInvalidState, ""},
		{engine.ErrHoldExtended, 409, engine.CodeLimitExceeded, ""},
		{engine.ErrHoldExpired, 410, engine.CodeHoldExpired, ""},
		{engine.ErrMoreThanHeld, 400, engine.CodeInvalidRequest, ""},
		{engine.ErrQueueFull, 503, engine.CodeOverloaded, "1"},
		{engine.ErrPartitionClosed, 503, engine.CodePartitionClosed, "1"},
		{engine.ErrOutcomeUnknown, 504, engine.CodeOutcomeUnknown, "1"},
		{errors.New("a fault of ours"), 500, engine.CodeInternal, ""},
	} {
		t.Run(string(test.code)+" "+test.err.Error(), func(t *testing.T) {
			h := start(t, httpapi.Config{})
			h.store.settle = func(asked *engine.Transition) error {
				if test.status < 500 && test.status != 404 {
					asked.Order = order
				}
				return test.err
			}
			got := h.send("POST", "/orders/"+order.ID.String()+"/confirm", "")
			problem := got.requireProblem(t, test.status, test.code)
			require.Equal(t, test.retry, got.header.Get("Retry-After"))
			if test.status < 500 && test.status != 404 {
				require.Equal(t, "pending", problem["orderStatus"])
			} else {
				require.NotContains(t, problem, "orderStatus")
			}
			if test.code == engine.CodeOutcomeUnknown {
				require.Equal(t, order.ID.String(), problem["orderId"])
			}
			outcome := "refused"
			if test.status >= 500 {
				outcome = "failed"
			}
			require.Contains(t, h.send("GET", "/metrics", "").body, `flashsale_transitions_total{action="confirm",outcome="`+outcome+`"} 1`)
		})
	}
}

func TestHoldIsHandedOn(t *testing.T) {
	h := start(t, httpapi.Config{MaxHold: 10 * time.Minute})
	got := h.send("POST", "/orders", `{"productId":"p","userId":"u","quantity":1,"holdSeconds":600}`)
	require.Equal(t, 201, got.status, got.body)
	require.Equal(t, int64(600_000), h.reserver.reserved()[0].HoldMs)

	h.reserver.decide = func(r *engine.Reservation) error { r.MaxHoldMs = 90_000; return engine.ErrHoldTooLong }
	problem := h.send("POST", "/orders", `{"productId":"p","userId":"u","quantity":1,"holdSeconds":600}`).requireProblem(t, 400, engine.CodeInvalidRequest)
	require.Equal(t, "holdSeconds", problem["field"])
	require.InDelta(t, 90, problem["maxHoldSeconds"], 0)
}
