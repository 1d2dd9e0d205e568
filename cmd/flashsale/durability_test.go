package main

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

func TestTheDefaultOfDurabilityIsASetting(t *testing.T) {
	stores := newStores(t)
	first := start(t, nil, stores.env()...)
	first.product("lamp", 10)
	second := start(t, nil, append(stores.env(), "DURABILITY=ledger")...) // the first one drains
	status, order := second.order("lamp", "ann")
	require.Equal(t, http.StatusCreated, status, order)
	require.EqualValues(t, 1, stores.count(t, `SELECT count(*) FROM orders WHERE status = 'confirmed'`), "the row, at once")
	require.Equal(t, "ledger", order["durability"])
	require.EqualValues(t, 0, order["queuePosition"])
	status, order = second.post("/orders", `{"productId":"lamp","userId":"bob","quantity":1,"durability":"fast"}`)
	require.Equal(t, http.StatusCreated, status, order)
	require.Equal(t, "fast", order["durability"])
	status, problem := second.post("/orders", `{"productId":"lamp","userId":"carol","quantity":1,"durability":"replicated"}`)
	require.Equal(t, http.StatusBadRequest, status, problem)
	require.Equal(t, "durability", problem["field"])
}

// A replay that waits for a ledger in vain tells the id of the order that there is.
func TestAReplayOfUnknownOutcomeNamesAnOrderThatCanBeFound(t *testing.T) {
	stores := newStores(t)
	p := start(t, nil, append(stores.env(), "REQUEST_TIMEOUT=500ms")...)
	p.product("lamp", 10)
	lock, err := stores.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = lock.Rollback(context.Background()) }()           // else the pool would wait for it forever
	_, err = lock.Exec(t.Context(), `SELECT 1 FROM products FOR UPDATE`) // no commit gets past this
	require.NoError(t, err)
	buy := func(durability string) (int, answer) {
		status, _, a := p.keyed(`{"productId":"lamp","userId":"ann","quantity":1,"durability":"`+durability+`"}`, "k")
		return status, a
	}
	status, first := buy("fast")
	require.Equal(t, http.StatusCreated, status, first)
	status, unknown := buy("ledger")
	require.Equal(t, http.StatusGatewayTimeout, status, unknown)
	require.Equal(t, first["orderId"], unknown["orderId"])
	require.NoError(t, lock.Rollback(t.Context()))
	status, found := p.get(fmt.Sprintf("/orders/%v", unknown["orderId"]))
	require.Equal(t, http.StatusOK, status, found)
	require.Equal(t, "confirmed", found["status"])
}

func TestAModeThatRedisCannotGiveIsRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	for mode, why := range map[string]string{
		"replicated": "DURABILITY: durability replicated needs 1 replicas online, the server of partition 0 has 0",
		"eventually": "must be one of",
	} {
		serve := exec.CommandContext(t.Context(), binary, "serve")
		serve.Dir = t.TempDir()
		serve.Env = []string{
			"ADMIN_TOKEN=" + adminToken, "DURABILITY=" + mode, "REDIS_URL=" + devtest.Redis(t).URL(), "DATABASE_URL=" + devtest.Database(t),
		}
		output, err := serve.CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(output), why)
	}
}
