package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
)

// requireStock holds the three counters that buyers see against what they should be, on every process.
func requireStock(t *testing.T, shop []*process, product string, current, held, sold int) {
	t.Helper()
	for _, p := range shop {
		_, a := p.get("/inventory/" + product)
		require.EqualValues(t, current, a["currentStock"], "currentStock")
		require.EqualValues(t, held, a["heldStock"], "heldStock")
		require.EqualValues(t, sold, a["soldStock"], "soldStock")
	}
}

// requireRow waits until the ledger has an order in a state.
func (s *sharedStores) requireRow(t *testing.T, id, status string, quantity int) {
	t.Helper()
	eventually(t, "the row "+status, func() bool {
		return s.count(t, `SELECT count(*) FROM orders WHERE id = $1 AND status = $2 AND quantity = $3`, id, status, quantity) == 1
	})
}

// TestTheLifeOfAHold goes through reserve, extend, partial confirm, look-up and cancel, and looks at the stock, at what
// the buyer may still have and at the ledger after each step. Each step goes to another process.
func TestTheLifeOfAHold(t *testing.T) {
	s := newStores(t)
	env := append(s.env(), "LOCK_TTL=0")
	shop := []*process{start(t, nil, env...), start(t, nil, env...)}
	a, b := shop[0], shop[1]
	status, got := a.post("/inventory", `{"id":"lamp","name":"Lamp","price":20,"initialStock":10,"perUserLimit":3}`)
	require.Equal(t, http.StatusCreated, status, "%v", got)
	mayBuy := func(quantity, status int) {
		t.Helper()
		got, answer := b.post("/orders", fmt.Sprintf(`{"productId":"lamp","userId":"ann","quantity":%d}`, quantity))
		require.Equal(t, status, got, "%v", answer)
	}

	status, hold := a.post("/orders", `{"productId":"lamp","userId":"ann","quantity":3,"holdSeconds":60}`)
	require.Equal(t, http.StatusCreated, status, "%v", hold)
	require.Equal(t, "pending", hold["status"])
	id, _ := hold["orderId"].(string)
	path := "/orders/" + id
	requireStock(t, shop, "lamp", 7, 3, 0)
	mayBuy(1, http.StatusConflict)
	s.requireRow(t, id, "pending", 3)

	status, extended := b.post(path+"/extend", `{"holdSeconds":300}`)
	require.Equal(t, http.StatusOK, status, "%v", extended)
	require.Equal(t, "pending", extended["status"])
	require.Greater(t, extended["expiresAt"], hold["expiresAt"])
	requireStock(t, shop, "lamp", 7, 3, 0)

	status, confirmed := a.post(path+"/confirm", `{"quantity":2}`)
	require.Equal(t, http.StatusOK, status, "%v", confirmed)
	require.Equal(t, "confirmed", confirmed["status"])
	requireStock(t, shop, "lamp", 8, 0, 2)
	mayBuy(2, http.StatusConflict)
	s.requireRow(t, id, "confirmed", 2)
	require.EqualValues(t, 2, s.count(t, `SELECT sold FROM products`))

	status, again := b.post(path+"/confirm", `{"quantity":2}`)
	require.Equal(t, http.StatusOK, status, "a confirm may be repeated: %v", again)
	require.Equal(t, confirmed, again)
	status, other := b.post(path+"/confirm", `{"quantity":1}`)
	require.Equal(t, http.StatusConflict, status, "but not with another quantity: %v", other)
	require.Equal(t, "confirmed", other["orderStatus"])

	_, found := b.get(path)
	require.Equal(t, "confirmed", found["status"])
	require.EqualValues(t, 2, found["quantity"])

	status, cancelled := b.post(path+"/cancel", "")
	require.Equal(t, http.StatusOK, status, "%v", cancelled)
	require.Equal(t, "cancelled", cancelled["status"])
	requireStock(t, shop, "lamp", 10, 0, 0)
	s.requireRow(t, id, "cancelled", 2)
	require.EqualValues(t, 0, s.count(t, `SELECT sold FROM products`))
	mayBuy(3, http.StatusCreated)
	status, got = a.post(path+"/confirm", "")
	require.Equal(t, http.StatusConflict, status, "%v", got)
	require.Equal(t, "invalid_state", got["code"])
}

// TestAnOrderThatHasLeftRedisIsCancelled: its record is trimmed, so the ledger's row is brought along.
func TestAnOrderThatHasLeftRedisIsCancelled(t *testing.T) {
	s := newStores(t)
	p := start(t, nil, append(s.env(), "REQUEST_TIMEOUT=1s", "ORDER_GRACE=3s")...)
	p.product("lamp", 5)
	status, order := p.order("lamp", "ann")
	require.Equal(t, http.StatusCreated, status, "%v", order)
	id, _ := order["orderId"].(string)
	s.requireRow(t, id, "confirmed", 1)
	redis, err := engine.Connect(t.Context(), s.redis.URL())
	require.NoError(t, err)
	defer redis.Close()
	eventually(t, "the record to leave Redis", func() bool {
		records, err := redis.Do(t.Context(), redis.B().Keys().Pattern("*:orders").Build()).AsStrSlice()
		require.NoError(t, err)
		return len(records) == 0
	})

	var clicks sync.WaitGroup
	answers := newTally()
	for range 20 {
		clicks.Go(func() { answers.add(p.post("/orders/"+id+"/cancel", "")) })
	}
	clicks.Wait()
	require.Equal(t, map[string]int{"200": 20}, answers.answers, "each cancel finds the first one's outcome")
	requireStock(t, []*process{p}, "lamp", 5, 0, 0)
	s.requireRow(t, id, "cancelled", 1)
	require.EqualValues(t, 0, s.count(t, `SELECT sold FROM products`))
	require.EqualValues(t, 2, s.count(t, `SELECT version FROM orders`), "cancelled once")
}

// keyed sends an order with an idempotency key and tells whether the answer is a replay.
func (p *process) keyed(body, key string) (status int, replayed bool, a answer) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, p.base+"/api/v1/orders", strings.NewReader(body))
	require.NoError(p.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	resp, err := httpClient.Do(req)
	require.NoError(p.t, err)
	defer resp.Body.Close()
	require.NoError(p.t, json.NewDecoder(resp.Body).Decode(&a))
	return resp.StatusCode, resp.Header.Get("Idempotent-Replayed") == "true", a
}

// TestOneKeySentFiftyTimesAtOnce is promise 2 over HTTP, on two processes.
func TestOneKeySentFiftyTimesAtOnce(t *testing.T) {
	s := newStores(t)
	shop := []*process{start(t, nil, s.env()...), start(t, nil, s.env()...)}
	shop[0].product("lamp", 10)
	const body = `{"productId":"lamp","userId":"ann","quantity":2}`
	var mu sync.Mutex
	fresh := 0
	answers := map[string]int{}
	var clicks sync.WaitGroup
	for i := range 50 {
		clicks.Go(func() {
			status, replayed, a := shop[i%2].keyed(body, `"one key"`)
			require.Equal(t, http.StatusCreated, status, "%v", a)
			mu.Lock()
			defer mu.Unlock()
			answers[fmt.Sprint(a["orderId"], a["status"], a["quantity"], a["createdAt"])]++
			if !replayed {
				fresh++
			}
		})
	}
	clicks.Wait()
	require.Len(t, answers, 1, "equal answers")
	require.Equal(t, 1, fresh, "all but one are replays")
	requireStock(t, shop, "lamp", 8, 0, 2)

	status, _, a := shop[0].keyed(`{"productId":"lamp","userId":"ann","quantity":1}`, "one key")
	require.Equal(t, http.StatusUnprocessableEntity, status, "%v", a)
	require.Equal(t, "idempotency_conflict", a["code"])
	eventually(t, "the row", func() bool { return s.count(t, `SELECT count(*) FROM orders`) == 1 })
}
