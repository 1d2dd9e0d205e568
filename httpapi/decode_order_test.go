package httpapi

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
)

var (
	productPattern  = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$`)
	userPattern     = regexp.MustCompile(`^[A-Za-z0-9._@:+-]{1,128}$`)
	integerPattern  = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)
	quantityPattern = regexp.MustCompile(`^[1-9][0-9]{0,6}$`)
)

// referenceOrder decodes by encoding/json and the patterns of the design.
func referenceOrder(body []byte) (r engine.Reservation, ok bool) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	if first, err := decoder.Token(); !json.Valid(body) || err != nil || first != json.Delim('{') {
		return r, false
	}
	members := make(map[string]json.RawMessage)
	for decoder.More() {
		name, _ := decoder.Token()
		var value json.RawMessage
		if decoder.Decode(&value) != nil || members[name.(string)] != nil {
			return r, false
		}
		members[name.(string)] = value
	}
	product, user, quantity := members["productId"], members["userId"], string(members["quantity"])
	if len(members) != 3 || product == nil || user == nil || !quantityPattern.MatchString(quantity) {
		return r, false
	}
	if integerPattern.Match(product) {
		r.Product = string(product)
	} else if json.Unmarshal(product, &r.Product) != nil {
		return r, false
	}
	if json.Unmarshal(user, &r.User) != nil {
		return r, false
	}
	r.Quantity, _ = strconv.ParseInt(quantity, 10, 64)
	return r, productPattern.MatchString(r.Product) && r.Product != "metrics" && userPattern.MatchString(r.User) &&
		r.Quantity <= engine.MaxQuantity
}

func FuzzDecodeOrder(f *testing.F) {
	for _, body := range []string{
		benchOrder, `{}`, `[]`, ``, `null`, `{"productId":4711,"userId":"u","quantity":1}`, `{"productId":-5,"userId":"u","quantity":1}`,
		`{"productId":"a\u0062","userId":"\u0040\/x","quantity":1000000}`, `{"productId":"\ud800","userId":"u","quantity":1}`,
		`{"productId":nan,"userId":"u","quantity":inf}`, `{"productId":"p","userId":"u","quantity":1e2}`,
		`{"productId":"p","userId":"u","quantity":01}`, "{\"productId\":\"p\x01\",\"userId\":\"u\xff\",\"quantity\":1}",
		`{"productId":"p","userId":"u","quantity":1,"quantity":2}`, `{"product\u0049d":"p","userId":"u","quantity":1}`,
		`{"productId":"p","userId":"u\\","quantity":1}`, `{"":0}`, ` {"quantity" : 7, "userId":"u:+@", "productId":"_" } `,
		`{"productId":"p","userId":"a\u0062","quantity":1}`, `{"productId":"p","userId":"u","quantity":1}x`, `{"productId":"p","userId":"u","quantity":1,}`,
	} {
		f.Add([]byte(body))
	}
	var d orderDecoder
	f.Fuzz(func(t *testing.T, body []byte) {
		sent := bytes.Clone(body)
		var r engine.Reservation
		err := d.decodeBody(body, &r)
		require.Equal(t, sent, body, "the request's memory is not written")
		want, ok := referenceOrder(body)
		require.Equal(t, ok, err == nil, "%q: %v", body, err)
		if err != nil {
			code, _ := coded(err)
			require.Equal(t, engine.CodeInvalidRequest, code.Code)
			require.Empty(t, r.Product)
			return
		}
		require.Equal(t, want.Product, r.Product)
		require.Equal(t, want.User, r.User)
		require.Equal(t, want.Quantity, r.Quantity)
	})
}

func FuzzDecodeProduct(f *testing.F) {
	for _, body := range []string{
		`{}`, `{"id":"p","name":"x","price":1.5,"initialStock":1,"startsAt":"2026-01-01T00:00:00Z","endsAt":null}`,
		`{"adjustStock":-5,"reason":"x"}`, `{"currentStock":1}`, `[{}]`, `{"name":"\ud800"}`, `{"price":1e2}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if p, err := decodeNewProduct(body); err == nil {
			require.True(t, json.Valid(body))
			require.True(t, engine.ValidProductID(p.ID))
			require.NotEmpty(t, p.Name)
			require.True(t, p.PriceCents >= 0 && p.PriceCents <= engine.MaxPriceCents)
			require.True(t, p.Stock.Initial >= 0 && p.Stock.Initial <= engine.MaxStock)
			require.True(t, json.Valid(appendProduct(nil, &p.Product)))
		}
		if c, err := decodeChange(body); err == nil {
			require.False(t, c.CurrentStock != nil && c.AdjustStock != nil)
			require.Equal(t, actorAdmin, c.Actor)
		}
	})
}

// Bodies as clients write them are read in one pass, whoever's JSON library made them, and say the same to the parser.
func TestPlainBodies(t *testing.T) {
	for body, plain := range map[string]bool{
		benchOrder: true,
		` {"productId": "phone", "userId": "user-0000123456",` + "\n\t" + `"quantity": 1 } `: true,
		`{"quantity":1,"userId":"user-0000123456","productId":"phone"}`:                      true,
		`{"productId":"ph\u006fne","userId":"user-0000123456","quantity":1}`:                 false,
	} {
		var fields orderFields
		require.Equal(t, plain, fields.readPlain([]byte(body)), body)
		var d orderDecoder
		var parsed orderFields
		require.NoError(t, d.parse([]byte(body), &parsed), body)
		if plain {
			require.Equal(t, parsed, fields, body)
		}
		require.Equal(t, "phone", string(parsed.product.id()))
	}
}

// What is not plain is the parser's, which says what is wrong with it.
func TestBodiesThatAreNotPlain(t *testing.T) {
	for _, body := range []string{
		``, `{`, `{}`, `[]`, `{1:2}`, `{"a"}`, `{"quantity":-}`, `{"quantity":01}`, `{"quantity":1.5}`, `{"quantity":1e2}`, `{"quantity":true}`,
		`{"a":{}}`, `{"a":"\n"}`, "{\"a\":\"\n\"}", `{"a":"b}`, `{"a":1,}`, `{"a":1}}`, `{"a":1 "b":2}`,
	} {
		var fields orderFields
		require.False(t, fields.readPlain([]byte(body)), body)
	}
}

// One string holds product and user.
func TestDecodeOrderAllocatesOnce(t *testing.T) {
	var d orderDecoder
	var r engine.Reservation
	body := []byte(benchOrder)
	allocations := testing.AllocsPerRun(1000, func() {
		if err := d.decodeBody(body, &r); err != nil {
			t.Error(err)
		}
	})
	require.LessOrEqual(t, allocations, 1.0)
}
