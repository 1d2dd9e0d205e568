package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/httpapi"
)

func phone() engine.Product {
	return engine.Product{
		ID: "phone", Name: `The "Phone"`, PriceCents: 19905, Version: 3,
		Stock:     engine.Stock{Initial: 10, Current: 5, Held: 2, Sold: 3},
		Terms:     engine.Terms{PerUserLimit: 2, Active: true, StartsAt: time.UnixMilli(1_700_000_000_123), HoldSeconds: 90},
		CreatedAt: time.UnixMilli(1_600_000_000_000),
	}
}

const phoneJSON = `{"id":"phone","name":"The \"Phone\"","price":199.05,"initialStock":10,"currentStock":5,"heldStock":2,
	"soldStock":3,"perUserLimit":2,"flashSaleActive":true,"startsAt":"2023-11-14T22:13:20.123Z","endsAt":null,
	"holdSeconds":90,"version":3,
	"createdAt":"2020-09-13T12:26:40.000Z"}`

func TestGetProduct(t *testing.T) {
	h := start(t, httpapi.Config{})
	h.store.products = []engine.Product{phone()}
	for _, prefix := range []string{"", "/api/v1"} {
		got := h.send("GET", prefix+"/inventory/phone", "")
		require.Equal(t, 200, got.status)
		require.Equal(t, `"3"`, got.header.Get("ETag"))
		require.JSONEq(t, phoneJSON, got.body)
	}
	for _, no := range []string{"absent", ".p", "%7Bp00%7D", "a%2Fb", strings.Repeat("p", 65)} {
		h.send("GET", "/inventory/"+no, "").requireProblem(t, 404, engine.CodeNotFound)
	}
}

var nextLink = regexp.MustCompile(`^<([^>]+)>; rel="next"$`)

func TestListProducts(t *testing.T) {
	for _, prefix := range []string{"", "/api/v1"} {
		h := start(t, httpapi.Config{})
		require.Equal(t, "[]", h.send("GET", prefix+"/inventory", "").body)
		for i := range 5 {
			h.store.products = append(h.store.products, engine.Product{ID: fmt.Sprintf("p-%d", i), Version: 1})
		}
		path, pages, seen := prefix+"/inventory?limit=2", 0, ""
		for path != "" {
			got := h.send("GET", path, "")
			require.Equal(t, 200, got.status, got.body)
			for _, id := range regexp.MustCompile(`"id":"(p-\d)"`).FindAllStringSubmatch(got.body, -1) {
				seen += id[1] + " "
			}
			pages++
			link := nextLink.FindStringSubmatch(got.header.Get("Link"))
			if link == nil {
				break
			}
			path = link[1]
			require.True(t, strings.HasPrefix(path, prefix+"/inventory?"), path)
		}
		require.Equal(t, "p-0 p-1 p-2 p-3 p-4 ", seen)
		require.Equal(t, 3, pages)
		require.Empty(t, h.send("GET", prefix+"/inventory?limit=5", "").header.Get("Link"), "a full last page")
	}
}

func TestListProductsDefaultPage(t *testing.T) {
	h := start(t, httpapi.Config{})
	for i := range 201 {
		h.store.products = append(h.store.products, engine.Product{ID: fmt.Sprintf("p-%03d", i)})
	}
	require.Equal(t, 50, strings.Count(h.send("GET", "/inventory", "").body, `"id"`))
	require.Equal(t, 200, strings.Count(h.send("GET", "/inventory?limit=200", "").body, `"id"`))
}

func TestListProductsRefuses(t *testing.T) {
	h := start(t, httpapi.Config{})
	for query, field := range map[string]string{
		"limit=0": "limit", "limit=201": "limit", "limit=-1": "limit", "limit=ten": "limit", "limit=": "limit", "limit=1e1": "limit",
		"cursor=": "cursor", "cursor=%21": "cursor", "cursor=e3AwMH0": "cursor" /* {p00} */, "cursor=bWV0cmljcw": "cursor", /* metrics */
	} {
		problem := h.send("GET", "/inventory?"+query, "").requireProblem(t, 400, engine.CodeInvalidRequest)
		require.Equal(t, field, problem["field"], query)
	}
}

func TestCreateProduct(t *testing.T) {
	h := start(t, httpapi.Config{})
	got := h.admin("POST", "/inventory", `{"id":"phone","name":"Zoë's phone","price":199.5,"initialStock":10,"perUserLimit":2,
		"flashSaleActive":false,"startsAt":"2026-01-01T00:00:00+01:00","endsAt":"2026-01-02T00:00:00.1239Z","holdSeconds":86400,
		"reason":"launch"}`)
	require.Equal(t, 201, got.status, got.body)
	require.Equal(t, `"1"`, got.header.Get("ETag"))
	require.Equal(t, "/inventory/phone", got.header.Get("Location"))
	below := h.admin("POST", "/api/v1/inventory", `{"id":"phone","name":"x","price":1,"initialStock":1}`)
	require.Equal(t, "/api/v1/inventory/phone", below.header.Get("Location"))
	require.JSONEq(t, `{"id":"phone","name":"Zoë's phone","price":199.50,"initialStock":10,"currentStock":10,"heldStock":0,
		"soldStock":0,"perUserLimit":2,"flashSaleActive":false,"startsAt":"2025-12-31T23:00:00.000Z",
		"endsAt":"2026-01-02T00:00:00.123Z","holdSeconds":86400,"version":1,"createdAt":"2023-11-14T22:13:20.123Z"}`, got.body)
	require.Equal(t, "admin", h.store.created[0].Actor)
	require.Equal(t, "launch", h.store.created[0].Reason)
	require.EqualValues(t, 19950, h.store.created[0].PriceCents)
}

func TestCreateProductDefaults(t *testing.T) {
	h := start(t, httpapi.Config{})
	seen := make(map[string]bool)
	for range 2 {
		got := h.admin("POST", "/api/v1/inventory", `{"name":"x","price":0,"initialStock":0,"startsAt":null,"endsAt":null}`)
		require.Equal(t, 201, got.status, got.body)
		members := got.json(t)
		require.Regexp(t, `^p-[a-z2-7]{16}$`, members["id"])
		require.Equal(t, true, members["flashSaleActive"])
		require.Nil(t, members["startsAt"])
		require.EqualValues(t, 0, members["perUserLimit"])
		require.EqualValues(t, 0, members["holdSeconds"])
		seen[members["id"].(string)] = true
	}
	require.Len(t, seen, 2)
	require.Equal(t, 201, h.admin("POST", "/inventory", `{"name":"\ud83d\uDE00 \\ud800 \ufffd","price":0,"initialStock":0}`).status)
	require.Equal(t, "\U0001f600 \\ud800 \ufffd", h.store.created[2].Name, "whole pairs, and what only looks like a half")
	require.Equal(t, 201, h.admin("POST", "/inventory", `{"id":42,"name":"x","price":10000000000.00,"initialStock":1000000000000}`).status)
	require.Equal(t, "42", h.store.created[3].ID)
	require.EqualValues(t, 1_000_000_000_000, h.store.created[3].PriceCents)
}

func TestCreateProductRefusesBadInput(t *testing.T) {
	with := func(member string) string { return `{"name":"x","price":1,"initialStock":1,` + member + `}` }
	but := func(name, price, stock string) string {
		return `{"name":` + name + `,"price":` + price + `,"initialStock":` + stock + `}`
	}
	cases := map[string]struct{ body, field string }{
		"empty body":              {" ", ""},
		"no JSON":                 {"{name}", ""},
		"no UTF-8":                {"{\"name\":\"\xff\"}", ""},
		"half a pair":             {`{"name":"x\ud800","price":1,"initialStock":1}`, "name"},
		"the other half":          {`{"name":"\udc00\ud800","price":1,"initialStock":1}`, "name"},
		"half a pair, escaped":    {`{"name":"\\\ud83dx\ude00","price":1,"initialStock":1}`, "name"},
		"half a pair of reasons":  {with(`"reason":"\uD83D\u0041"`), "reason"},
		"bad escape":              {but(`"\q"`, "1", "1"), ""},
		"array":                   {"[]", ""},
		"number":                  {"1", ""},
		"null":                    {"null", ""},
		"name missing":            {`{"price":1,"initialStock":1}`, "name"},
		"price missing":           {`{"name":"x","initialStock":1}`, "price"},
		"stock missing":           {`{"name":"x","price":1}`, "initialStock"},
		"unknown field":           {with(`"colour":"red"`), "colour"},
		"current stock":           {with(`"currentStock":1`), "currentStock"},
		"repeated field":          {with(`"name":"y"`), "name"},
		"repeated by escape":      {with(`"nam\u0065":"y"`), "name"},
		"id with braces":          {with(`"id":"{p}"`), "id"},
		"id empty":                {with(`"id":""`), "id"},
		"id null":                 {with(`"id":null`), "id"},
		"id 1.5":                  {with(`"id":1.5`), "id"},
		"name empty":              {but(`""`, "1", "1"), "name"},
		"name too long":           {but(`"`+strings.Repeat("é", 201)+`"`, "1", "1"), "name"},
		"name with control":       {but(`"a\u0007"`, "1", "1"), "name"},
		"name a number":           {but(`1`, "1", "1"), "name"},
		"name null":               {but(`null`, "1", "1"), "name"},
		"price negative":          {but(`"x"`, "-1", "1"), "price"},
		"price -0":                {but(`"x"`, "-0", "1"), "price"},
		"price three decimals":    {but(`"x"`, "1.005", "1"), "price"},
		"price exponent":          {but(`"x"`, "1e2", "1"), "price"},
		"price string":            {but(`"x"`, `"1"`, "1"), "price"},
		"price too high":          {but(`"x"`, "10000000000.01", "1"), "price"},
		"price beyond an int64":   {but(`"x"`, "92233720368547758080", "1"), "price"},
		"stock negative":          {but(`"x"`, "1", "-1"), "initialStock"},
		"stock 1.5":               {but(`"x"`, "1", "1.5"), "initialStock"},
		"stock 2^63":              {but(`"x"`, "1", "9223372036854775808"), "initialStock"},
		"stock over the bound":    {but(`"x"`, "1", "1000000000001"), "initialStock"},
		"stock string":            {but(`"x"`, "1", `"1"`), "initialStock"},
		"limit negative":          {with(`"perUserLimit":-1`), "perUserLimit"},
		"limit null":              {with(`"perUserLimit":null`), "perUserLimit"},
		"limit too high":          {with(`"perUserLimit":1000000001`), "perUserLimit"},
		"hold negative":           {with(`"holdSeconds":-1`), "holdSeconds"},
		"hold over a day":         {with(`"holdSeconds":86401`), "holdSeconds"},
		"hold 1.5":                {with(`"holdSeconds":1.5`), "holdSeconds"},
		"hold null":               {with(`"holdSeconds":null`), "holdSeconds"},
		"active a number":         {with(`"flashSaleActive":1`), "flashSaleActive"},
		"active a string":         {with(`"flashSaleActive":"true"`), "flashSaleActive"},
		"start no time":           {with(`"startsAt":"tomorrow"`), "startsAt"},
		"start a number":          {with(`"startsAt":1700000000}`), ""},
		"start without zone":      {with(`"startsAt":"2026-01-01T00:00:00"`), "startsAt"},
		"start before 1970":       {with(`"startsAt":"1969-12-31T23:59:59Z"`), "startsAt"},
		"end no time":             {with(`"endsAt":""`), "endsAt"},
		"end before start":        {with(`"startsAt":"2026-01-02T00:00:00Z","endsAt":"2026-01-01T00:00:00Z"`), "endsAt"},
		"end at start":            {with(`"startsAt":"2026-01-02T00:00:00Z","endsAt":"2026-01-02T00:00:00Z"`), "endsAt"},
		"reason too long":         {with(`"reason":"` + strings.Repeat("r", 201) + `"`), "reason"},
		"reason with a line feed": {with(`"reason":"a\nb"`), "reason"},
	}
	h := start(t, httpapi.Config{})
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			problem := h.admin("POST", "/inventory", c.body).requireProblem(t, 400, engine.CodeInvalidRequest)
			if c.field == "" {
				require.NotContains(t, problem, "field")
				return
			}
			require.Equal(t, c.field, problem["field"])
			require.Contains(t, problem["detail"], c.field)
		})
	}
	h.admin("POST", "/inventory", `{}`, "Content-Type", "text/plain").requireProblem(t, 400, engine.CodeInvalidRequest)
	require.Empty(t, h.store.created, "a refused request changes nothing")
}

func TestChangeProduct(t *testing.T) {
	h := start(t, httpapi.Config{})
	got := h.admin("PUT", "/api/v1/inventory/phone", `{"name":"y","price":2.05,"perUserLimit":0,"flashSaleActive":false,
		"startsAt":null,"endsAt":"2026-01-01T00:00:00Z","currentStock":0,"holdSeconds":0,"reason":"stop"}`, "If-Match", `"3"`)
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, `"4"`, got.header.Get("ETag"))
	c := h.store.changes[0]
	require.Equal(t, "y", *c.Name)
	require.EqualValues(t, 205, *c.PriceCents)
	require.EqualValues(t, 0, *c.PerUserLimit)
	require.False(t, *c.Active)
	require.True(t, c.StartsAt.IsZero(), "null takes the limit away")
	require.Equal(t, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), *c.EndsAt)
	require.EqualValues(t, 0, *c.CurrentStock)
	require.EqualValues(t, 0, *c.HoldSeconds)
	require.Nil(t, c.AdjustStock)
	require.EqualValues(t, 3, c.IfVersion)
	require.Equal(t, "admin", c.Actor)
	require.Equal(t, "stop", c.Reason)

	for header, version := range map[string]int64{"": 0, "*": 0, "7": 7, `"8"`: 8} {
		headers := []string{"If-Match", header}
		if header == "" {
			headers = nil
		}
		require.Equal(t, 200, h.admin("PUT", "/inventory/phone", `{"adjustStock":-5}`, headers...).status, header)
		last := h.store.changes[len(h.store.changes)-1]
		require.Equal(t, version, last.IfVersion, header)
		require.EqualValues(t, -5, *last.AdjustStock)
		require.Nil(t, last.Name)
		require.Nil(t, last.StartsAt)
		require.Nil(t, last.HoldSeconds)
	}
}

func TestChangeProductRefusesBadInput(t *testing.T) {
	cases := map[string]struct{ body, ifMatch, field string }{
		"empty object":     {`{}`, "", ""},
		"only a reason":    {`{"reason":"x"}`, "", ""},
		"both stocks":      {`{"currentStock":1,"adjustStock":1}`, "", "adjustStock"},
		"adjust 0":         {`{"adjustStock":0}`, "", "adjustStock"},
		"adjust too far":   {`{"adjustStock":-1000000000001}`, "", "adjustStock"},
		"adjust null":      {`{"adjustStock":null}`, "", "adjustStock"},
		"current negative": {`{"currentStock":-1}`, "", "currentStock"},
		"hold over a day":  {`{"holdSeconds":86401}`, "", "holdSeconds"},
		"initial stock":    {`{"initialStock":1}`, "", "initialStock"},
		"id":               {`{"id":"q"}`, "", "id"},
		"version":          {`{"version":1}`, "", "version"},
		"name null":        {`{"name":null}`, "", "name"},
		"end before start": {`{"startsAt":"2026-01-02T00:00:00Z","endsAt":"2026-01-01T00:00:00Z"}`, "", "endsAt"},
		"If-Match 0":       {`{"price":1}`, "0", "If-Match"},
		"If-Match weak":    {`{"price":1}`, `W/"3"`, "If-Match"},
		"If-Match a list":  {`{"price":1}`, `"3", "4"`, "If-Match"},
		"If-Match cut off": {`{"price":1}`, `"3`, "If-Match"},
		"If-Match text":    {`{"price":1}`, "three", "If-Match"},
		"If-Match -1":      {`{"price":1}`, "-1", "If-Match"},
	}
	h := start(t, httpapi.Config{})
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var headers []string
			if c.ifMatch != "" {
				headers = []string{"If-Match", c.ifMatch}
			}
			problem := h.admin("PUT", "/inventory/phone", c.body, headers...).requireProblem(t, 400, engine.CodeInvalidRequest)
			if c.field == "" {
				require.NotContains(t, problem, "field")
				return
			}
			require.Equal(t, c.field, problem["field"])
		})
	}
	conn, r := h.dial()
	_, err := fmt.Fprintf(conn, "PUT /inventory/phone HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nIf-Match: 3\r\n"+
		"If-Match: 4\r\nContent-Length: 11\r\n\r\n{\"price\":1}", adminToken)
	require.NoError(t, err)
	require.Equal(t, "If-Match", h.next(r).requireProblem(t, 400, engine.CodeInvalidRequest)["field"], "two headers")
	h.admin("PUT", "/inventory/metrics", `{"price":1}`).requireProblem(t, 404, engine.CodeNotFound)
	require.Empty(t, h.store.changes, "a refused request changes nothing")
}

func TestCatalogErrors(t *testing.T) {
	h := start(t, httpapi.Config{RequestTimeout: 20 * time.Millisecond})
	h.store.err = fmt.Errorf("store: %w", &engine.Error{Code: engine.CodeVersionConflict, Detail: "the product has version 4"})
	h.admin("PUT", "/inventory/phone", `{"price":1}`).requireProblem(t, 412, engine.CodeVersionConflict)
	h.store.err = &engine.Error{Code: engine.CodeInvalidState, Detail: "the id is taken"}
	h.admin("POST", "/inventory", `{"name":"x","price":1,"initialStock":1}`).requireProblem(t, 409, engine.CodeInvalidState)
	h.store.err = errors.New("pq: password authentication failed")
	for _, path := range []string{"/inventory", "/inventory/phone", "/orders/" + engine.NewOrderID(0, time.UnixMilli(1)).String()} {
		got := h.send("GET", path, "")
		got.requireProblem(t, 500, engine.CodeInternal)
		require.NotContains(t, got.body, "password")
	}
	h.store.wait = func(ctx context.Context) error {
		<-ctx.Done()
		return fmt.Errorf("select products: %w", ctx.Err())
	}
	got := h.send("GET", "/inventory", "")
	got.requireProblem(t, 503, engine.CodeUnavailable)
	require.Equal(t, "1", got.header.Get("Retry-After"))
	for method, path := range map[string]string{"POST": "/inventory", "PUT": "/inventory/phone"} {
		body := map[string]string{"POST": `{"name":"x","price":1,"initialStock":1}`, "PUT": `{"adjustStock":1}`}[method]
		got := h.admin(method, path, body)
		got.requireProblem(t, 504, engine.CodeOutcomeUnknown)
		require.Empty(t, got.header.Get("Retry-After"), "%s may have happened: repeated, it would happen twice", method)
	}
}
