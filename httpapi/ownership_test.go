package httpapi_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/httpapi"
	"flashsale/httpapi/auth"
)

// bearers are API keys by name, as headers to send.
type bearers map[string][]string

// newBearers makes a key for each line of "name scopes [user]".
func newBearers(t *testing.T, lines ...string) (bearers, *auth.Keys) {
	t.Helper()
	var file strings.Builder
	all := bearers{}
	for _, line := range lines {
		words := append(strings.Fields(line), "")
		key := auth.NewKey()
		text, err := auth.KeyLine(key, words[1], words[0], words[2])
		require.NoError(t, err)
		file.WriteString(text + "\n")
		all[words[0]] = []string{"Authorization", "Bearer " + key}
	}
	keys, err := auth.ParseKeys(strings.NewReader(file.String()))
	require.NoError(t, err)
	return all, keys
}

func startWithKeys(t *testing.T) (*harness, bearers) {
	t.Helper()
	come, keys := newBearers(t, "shop buyer", "ann buyer ann", "bob buyer bob", "ops admin", "watch monitor")
	return start(t, httpapi.Config{Tokens: keys}), come
}

func TestABuyerOrdersForItself(t *testing.T) {
	h, come := startWithKeys(t)
	const forNobody, forAnn = `{"productId":"phone","quantity":1}`, `{"productId":"phone","userId":"ann","quantity":1}`
	for name, c := range map[string]struct {
		who, body string
		status    int
		code      engine.Code
		user      string
	}{
		"itself":                  {"ann", forAnn, 201, "", "ann"},
		"itself, left out":        {"ann", forNobody, 201, "", "ann"},
		"another":                 {"bob", forAnn, 403, engine.CodeForbidden, ""},
		"a longer name":           {"ann", strings.Replace(forAnn, "ann", "anna", 1), 403, engine.CodeForbidden, ""},
		"itself in capitals":      {"ann", strings.Replace(forAnn, "ann", "Ann", 1), 403, engine.CodeForbidden, ""},
		"null":                    {"ann", strings.Replace(forAnn, `"ann"`, "null", 1), 400, engine.CodeInvalidRequest, ""},
		"an empty name":           {"ann", strings.Replace(forAnn, `"ann"`, `""`, 1), 400, engine.CodeInvalidRequest, ""},
		"a number":                {"ann", strings.Replace(forAnn, `"ann"`, "1", 1), 400, engine.CodeInvalidRequest, ""},
		"the shop for a buyer":    {"shop", forAnn, 201, "", "ann"},
		"the shop for nobody":     {"shop", forNobody, 400, engine.CodeInvalidRequest, ""},
		"an admin for a buyer":    {"ops", forAnn, 201, "", "ann"},
		"an admin for nobody":     {"ops", forNobody, 400, engine.CodeInvalidRequest, ""},
		"a monitor for a buyer":   {"watch", forAnn, 403, engine.CodeForbidden, ""},
		"whoever for a buyer":     {"", forAnn, 401, engine.CodeUnauthorized, ""},
		"twice, itself and other": {"ann", strings.Replace(forAnn, "{", `{"userId":"bob",`, 1), 400, engine.CodeInvalidRequest, ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(h.reserver.reserved())
			got := h.send("POST", "/orders", c.body, come[c.who]...)
			if c.status != 201 {
				got.requireProblem(t, c.status, c.code)
				require.Len(t, h.reserver.reserved(), before, "nothing was asked of the engine")
				return
			}
			require.Equal(t, 201, got.status, got.body)
			require.Equal(t, c.user, got.json(t)["userId"])
			calls := h.reserver.reserved()
			require.Len(t, calls, before+1)
			require.Equal(t, c.user, calls[before].User)
		})
	}
}

// The memory of a call is used again: what one buyer's token allowed must not be left there for the next.
func TestWhoOrdersIsNotRemembered(t *testing.T) {
	h, come := startWithKeys(t)
	for range 50 {
		require.Equal(t, "ann", h.send("POST", "/orders", `{"productId":"p","quantity":1}`, come["ann"]...).json(t)["userId"])
		h.send("POST", "/orders", `{"productId":"p","quantity":1}`, come["shop"]...).requireProblem(t, 400, engine.CodeInvalidRequest)
		require.Equal(t, 201, h.send("POST", "/orders", `{"productId":"p","userId":"bob","quantity":1}`, come["shop"]...).status)
	}
}

func TestAnothersOrderIsAsAbsent(t *testing.T) {
	h, come := startWithKeys(t)
	when := time.UnixMilli(1_700_000_000_123)
	mine, absent := engine.NewOrderID(2, when), engine.NewOrderID(2, when)
	h.store.orders = map[engine.OrderID]engine.OrderView{
		mine: {Order: engine.Order{ID: mine, Product: "phone", User: "ann", Quantity: 1, Status: engine.StatusConfirmed}},
	}
	for who, sees := range map[string]bool{"ann": true, "shop": true, "ops": true, "bob": false} {
		for _, prefix := range []string{"", "/api/v1"} {
			got := h.send("GET", prefix+"/orders/"+mine.String(), "", come[who]...)
			if sees {
				require.Equal(t, 200, got.status, who)
				require.Equal(t, "ann", got.json(t)["userId"])
				continue
			}
			got.requireProblem(t, 404, engine.CodeNotFound)
			for _, id := range []string{absent.String(), "nonsense"} {
				other := h.send("GET", prefix+"/orders/"+id, "", come[who]...)
				require.Equal(t, other.body, got.body, "the same document")
				other.header.Del("Date")
				got.header.Del("Date")
				require.Equal(t, other.header, got.header)
			}
		}
	}
	h.send("GET", "/orders/"+mine.String(), "", come["watch"]...).requireProblem(t, 403, engine.CodeForbidden)
	h.send("GET", "/orders/"+mine.String(), "").requireProblem(t, 401, engine.CodeUnauthorized)
}

// The store has words of its own for an absent order; they must not tell it from another's.
func TestAbsentOrdersHaveOneDocument(t *testing.T) {
	h, come := startWithKeys(t)
	id := engine.NewOrderID(2, time.UnixMilli(1_700_000_000_123)).String()
	h.store.err = &engine.Error{Code: engine.CodeNotFound, Detail: "neither in Redis nor in the ledger"}
	got := h.send("GET", "/orders/"+id, "", come["ann"]...)
	require.Equal(t, h.send("GET", "/orders/nonsense", "", come["ann"]...).body, got.body)
}

func TestTheAuditNamesTheKey(t *testing.T) {
	h, come := startWithKeys(t)
	const product = `{"name":"x","price":1,"initialStock":1}`
	require.Equal(t, 201, h.send("POST", "/inventory", product, come["ops"]...).status)
	require.Equal(t, 201, h.admin("POST", "/inventory", product).status)
	require.Equal(t, 200, h.send("PUT", "/inventory/p", `{"name":"y"}`, come["ops"]...).status)
	require.Equal(t, "key:ops", h.store.created[0].Actor)
	require.Equal(t, "admin", h.store.created[1].Actor)
	require.Equal(t, "key:ops", h.store.changes[0].Actor)
}

func TestWhatATokenIsRefusedWith(t *testing.T) {
	h, come := startWithKeys(t)
	for name, c := range map[string]struct {
		header    []string
		challenge string
	}{
		"none":        {nil, `Bearer realm="flashsale"`},
		"made up":     {[]string{"Authorization", "Bearer " + auth.NewKey()}, `Bearer realm="flashsale", error="invalid_token"`},
		"cut off":     {[]string{"Authorization", come["ann"][1][:20]}, `Bearer realm="flashsale", error="invalid_token"`},
		"its hash":    {[]string{"Authorization", "Bearer sha256:00"}, `Bearer realm="flashsale", error="invalid_token"`},
		"wrong admin": {[]string{"Authorization", "Bearer " + adminToken[1:]}, `Bearer realm="flashsale", error="invalid_token"`},
	} {
		t.Run(name, func(t *testing.T) {
			got := h.send("POST", "/orders", goodOrder, c.header...)
			got.requireProblem(t, 401, engine.CodeUnauthorized)
			require.Equal(t, c.challenge, got.header.Get("WWW-Authenticate"))
		})
	}
}

// Whatever goes wrong, and whoever asks, no token gets into the log.
func TestTokensAreNotLogged(t *testing.T) {
	h, come := startWithKeys(t)
	h.reserver.decide = func(*engine.Reservation) error { panic("canary of the panic") }
	secrets := []string{adminToken, "wrong-" + auth.NewKey()}
	for _, header := range come {
		secrets = append(secrets, strings.TrimPrefix(header[1], "Bearer "))
	}
	for _, secret := range secrets {
		for _, header := range []string{"Bearer " + secret, "Basic " + secret, secret, "Bearer " + secret + strings.Repeat("x", 9000)} {
			for _, path := range []string{"/orders", "/inventory", "/nowhere"} {
				h.send("POST", path, goodOrder, "Authorization", header)
			}
		}
		conn, r := h.dial()
		_, err := conn.Write([]byte("Authorization: Bearer " + secret + "\r\nnonsense\r\n\r\n"))
		require.NoError(t, err)
		require.Equal(t, 400, h.next(r).status)
	}
	log := h.log.String()
	require.Contains(t, log, "canary of the panic", "the log is written")
	for _, secret := range secrets {
		require.NotContains(t, log, secret)
		require.NotContains(t, log, secret[:len(secret)-1])
	}
}

// The store is told whose order it must be, and answers for another's as for none.
func TestABuyerChangesItsOwnOrdersOnly(t *testing.T) {
	h, come := startWithKeys(t)
	id := engine.NewOrderID(2, time.UnixMilli(1_700_000_000_123))
	h.store.settle = func(tr *engine.Transition) error {
		if tr.User != "" && tr.User != "ann" {
			return &engine.Error{Code: engine.CodeNotFound, Detail: "in the store's own words"}
		}
		tr.Order = engine.Order{ID: id, Product: "phone", User: "ann", Quantity: 1, Status: engine.StatusConfirmed}
		return nil
	}
	for action, body := range map[string]string{"confirm": "", "cancel": "", "extend": `{"holdSeconds":5}`} {
		path := "/orders/" + id.String() + "/" + action
		for who, may := range map[string]bool{"ann": true, "shop": true, "ops": true, "bob": false} {
			got := h.send("POST", path, body, come[who]...)
			if may {
				require.Equal(t, 200, got.status, "%s: %s", who, got.body)
				continue
			}
			got.requireProblem(t, 404, engine.CodeNotFound)
			require.Equal(t, h.send("POST", "/orders/nonsense/"+action, body, come[who]...).body, got.body)
		}
		h.send("POST", path, body, come["watch"]...).requireProblem(t, 403, engine.CodeForbidden)
		h.send("POST", path, body).requireProblem(t, 401, engine.CodeUnauthorized)
	}
}

// A buyer's list and the queue show its own orders, another's are as absent as those that never were.
func TestABuyerListsItsOwnOrdersOnly(t *testing.T) {
	h, come := startWithKeys(t)
	id := engine.NewOrderID(2, time.UnixMilli(1_700_000_000_123))
	view := engine.OrderView{Order: engine.Order{ID: id, Product: "phone", User: "ann", Quantity: 1, Status: engine.StatusConfirmed}}
	h.store.page = engine.OrderPage{Orders: []engine.OrderView{view}}
	h.store.jobs = map[engine.OrderID]engine.Job{id: {OrderView: view, State: engine.JobCompleted}}
	for path, absent := range map[string]string{
		"/orders/user/ann": "", "/orders/queue/" + id.String(): "/orders/queue/" + engine.NewOrderID(1, time.UnixMilli(1)).String(),
	} {
		for who, may := range map[string]bool{"ann": true, "shop": true, "ops": true, "bob": false} {
			got := h.send("GET", path, "", come[who]...)
			if may {
				require.Equal(t, 200, got.status, "%s: %s", who, got.body)
				require.Contains(t, got.body, id.String())
				continue
			}
			got.requireProblem(t, 404, engine.CodeNotFound)
			if absent != "" {
				require.Equal(t, h.send("GET", absent, "", come[who]...).body, got.body)
			}
		}
		h.send("GET", path, "", come["watch"]...).requireProblem(t, 403, engine.CodeForbidden)
	}
	for _, asked := range h.store.asked {
		require.Equal(t, "ann", asked.user, "bob's question never reached the store")
	}
	require.Len(t, h.store.asked, 3)
}

// With a token of a buyer, what is done with orders counts against that buyer's limit.
func TestTransitionsCountForTheBuyer(t *testing.T) {
	come, keys := newBearers(t, "ann buyer ann", "shop buyer")
	limit, err := httpapi.ParseLimit("1/h:2")
	require.NoError(t, err)
	h := start(t, httpapi.Config{Tokens: keys, UserLimit: limit})
	h.store.settle = func(*engine.Transition) error { return nil }
	path := "/orders/" + engine.NewOrderID(2, time.UnixMilli(1_700_000_000_123)).String() + "/cancel"
	for range 2 {
		require.Equal(t, 200, h.send("POST", path, "", come["ann"]...).status)
	}
	got := h.send("POST", path, "", come["ann"]...)
	got.requireProblem(t, 429, "rate_limited")
	require.NotEmpty(t, got.header.Get("Retry-After"))
	require.Len(t, h.store.settled, 2, "a limited request reaches nothing")
	require.Equal(t, 200, h.send("POST", path, "", come["shop"]...).status, "the shop acts for many")
}
