package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// list returns an answer that is an array of objects.
func (p *process) list(path string) []answer {
	p.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, p.base+path, http.NoBody)
	require.NoError(p.t, err)
	resp, err := httpClient.Do(req)
	require.NoError(p.t, err)
	defer resp.Body.Close()
	require.Equal(p.t, http.StatusOK, resp.StatusCode)
	var all []answer
	require.NoError(p.t, json.NewDecoder(resp.Body).Decode(&all))
	return all
}

// TestAClientOfTheReplacedSystem goes through a sale as a client of the replaced system does: below /api/v1, with products
// whose ids are JSON numbers, and with the names of members that it knows.
func TestAClientOfTheReplacedSystem(t *testing.T) {
	p := start(t, nil, newStores(t).env()...)
	const api = "/api/v1"
	status, product := p.post(api+"/inventory", `{"id":42,"name":"Flash","price":9.99,"initialStock":5,"flashSaleActive":true}`)
	require.Equal(t, http.StatusCreated, status, "%v", product)
	require.Equal(t, true, product["flashSaleActive"])
	listed := p.list(api + "/inventory")
	require.Len(t, listed, 1)
	require.Equal(t, "42", listed[0]["id"])
	require.EqualValues(t, 5, listed[0]["currentStock"])

	status, order := p.post(api+"/orders", `{"productId":42,"userId":"user-1","quantity":2}`)
	require.Equal(t, http.StatusCreated, status, "%v", order)
	require.Equal(t, "42", order["productId"])
	require.Equal(t, "user-1", order["userId"])
	require.EqualValues(t, 2, order["quantity"])
	orderID, jobID := fmt.Sprint(order["orderId"]), fmt.Sprint(order["jobId"])
	eventually(t, "the job to be completed", func() bool {
		status, job := p.get(api + "/orders/queue/" + jobID)
		require.Equal(t, http.StatusOK, status, "%v", job)
		require.Equal(t, jobID, job["jobId"])
		return job["status"] == "completed"
	})
	orders := p.list(api + "/orders/user/user-1")
	require.Len(t, orders, 1)
	require.Equal(t, orderID, orders[0]["orderId"])

	_, product = p.get(api + "/inventory/42")
	require.EqualValues(t, 3, product["currentStock"])
	status, product = p.do(http.MethodPut, api+"/inventory/42", `{"currentStock":7}`)
	require.Equal(t, http.StatusOK, status, "%v", product)
	require.EqualValues(t, 7, product["currentStock"])
	status, product = p.do(http.MethodPut, api+"/inventory/42", `{"flashSaleActive":false}`)
	require.Equal(t, http.StatusOK, status, "%v", product)
	require.Equal(t, false, product["flashSaleActive"])
	status, refused := p.post(api+"/orders", `{"productId":42,"userId":"user-2","quantity":1}`)
	require.Equal(t, http.StatusConflict, status)
	require.Equal(t, "sale_inactive", refused["code"])
	status, shown := p.get(api + "/orders/" + orderID)
	require.Equal(t, http.StatusOK, status, "%v", shown)
	require.Equal(t, "confirmed", shown["status"])
}
