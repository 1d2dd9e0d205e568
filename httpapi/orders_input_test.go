package httpapi_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/httpapi"
)

func TestPostOrderRefusesBadInput(t *testing.T) {
	order := func(product, user, quantity string) string {
		return `{"productId":` + product + `,"userId":` + user + `,"quantity":` + quantity + `}`
	}
	quantityRule := "quantity must be an integer from 1 to 1000000"
	cases := map[string]struct{ body, field, detail string }{
		"empty body":                {" ", "", "well-formed"},
		"no JSON":                   {"buy!", "", "well-formed"},
		"cut off":                   {`{"productId":"p"`, "", "well-formed"},
		"something behind":          {goodOrder + "x", "", "well-formed"},
		"two objects":               {goodOrder + goodOrder, "", "well-formed"},
		"comma at the end":          {`{"productId":"p",}`, "", "well-formed"},
		"deep nesting":              {strings.Repeat("[", 4000), "", "well-formed"},
		"array":                     {`[` + goodOrder + `]`, "", "one JSON object"},
		"string":                    {`"phone"`, "", "one JSON object"},
		"null":                      {`null`, "", "one JSON object"},
		"empty object":              {`{}`, "productId", "must be"},
		"unknown field":             {`{"productId":"p","userId":"u","quantity":1,"price":1}`, "price", "not a field"},
		"no hold":                   {`{"productId":"p","userId":"u","quantity":1,"holdSeconds":0}`, "holdSeconds", "from 1 to 900"},
		"a hold without end":        {`{"productId":"p","userId":"u","quantity":1,"holdSeconds":901}`, "holdSeconds", "from 1 to 900"},
		"half a second":             {`{"productId":"p","userId":"u","quantity":1,"holdSeconds":0.5}`, "holdSeconds", "from 1 to 900"},
		"a hold in words":           {`{"productId":"p","userId":"u","quantity":1,"holdSeconds":"60"}`, "holdSeconds", "from 1 to 900"},
		"two holds":                 {`{"productId":"p","userId":"u","quantity":1,"holdSeconds":1,"holdSeconds":2}`, "holdSeconds", "appears twice"},
		"a durability of its own":   {`{"productId":"p","userId":"u","quantity":1,"durability":"safe"}`, "durability", "fast, replicated or ledger"},
		"durability null":           {`{"productId":"p","userId":"u","quantity":1,"durability":null}`, "durability", "fast, replicated or ledger"},
		"durability twice":          {`{"productId":"p","userId":"u","quantity":1,"durability":"fast","durability":"fast"}`, "durability", "twice"},
		"field without a name":      {`{"":1,"productId":"p","userId":"u","quantity":1}`, `""`, `"" is not a field`},
		"field in other letters":    {`{"productID":"p","userId":"u","quantity":1}`, "productID", "not a field"},
		"repeated field":            {`{"productId":"p","userId":"u","quantity":1,"quantity":2}`, "quantity", "twice"},
		"repeated by escape":        {`{"productId":"p","userId":"u","quantity":1,"quantit\u0079":2}`, "quantity", "twice"},
		"product missing":           {`{"userId":"u","quantity":1}`, "productId", "must be"},
		"product null":              {order(`null`, `"u"`, "1"), "productId", "must be"},
		"product empty":             {order(`""`, `"u"`, "1"), "productId", "must be"},
		"product with braces":       {order(`"{p00}"`, `"u"`, "1"), "productId", "must be"},
		"product with colon":        {order(`"a:b"`, `"u"`, "1"), "productId", "must be"},
		"product with slash":        {order(`"a/b"`, `"u"`, "1"), "productId", "must be"},
		"product with null byte":    {order(`"a\u0000b"`, `"u"`, "1"), "productId", "must be"},
		"product begins with a dot": {order(`".p"`, `"u"`, "1"), "productId", "must be"},
		"product called metrics":    {order(`"metrics"`, `"u"`, "1"), "productId", "must be"},
		"product too long":          {order(`"`+strings.Repeat("p", 65)+`"`, `"u"`, "1"), "productId", "must be"},
		"product 1.5":               {order(`1.5`, `"u"`, "1"), "productId", "must be"},
		"product 1e3":               {order(`1e3`, `"u"`, "1"), "productId", "must be"},
		"product 01":                {order(`01`, `"u"`, "1"), "productId", "must be"},
		"product -0":                {order(`-0`, `"u"`, "1"), "productId", "must be"},
		"product NaN":               {order(`NaN`, `"u"`, "1"), "productId", "must be"},
		"product nan":               {order(`nan`, `"u"`, "1"), "productId", "must be"},
		"product true":              {order(`true`, `"u"`, "1"), "productId", "must be"},
		"product object":            {order(`{}`, `"u"`, "1"), "productId", "must be"},
		"product array":             {order(`["p"]`, `"u"`, "1"), "productId", "must be"},
		"product bad escape":        {order(`"\q"`, `"u"`, "1"), "productId", "must be"},
		"user missing":              {`{"productId":"p","quantity":1}`, "userId", "must be"},
		"user a number":             {order(`"p"`, `7`, "1"), "userId", "must be"},
		"user empty":                {order(`"p"`, `""`, "1"), "userId", "must be"},
		"user with a space":         {order(`"p"`, `"a b"`, "1"), "userId", "must be"},
		"user with the joint":       {order(`"p"`, `"a|b"`, "1"), "userId", "must be"},
		"user not ASCII":            {order(`"p"`, `"zoë"`, "1"), "userId", "must be"},
		"user no UTF-8":             {order(`"p"`, "\"\xff\"", "1"), "userId", "must be"},
		"user too long":             {order(`"p"`, `"`+strings.Repeat("u", 129)+`"`, "1"), "userId", "must be"},
		"quantity missing":          {`{"productId":"p","userId":"u"}`, "quantity", quantityRule},
		"quantity 0":                {order(`"p"`, `"u"`, "0"), "quantity", quantityRule},
		"quantity -5":               {order(`"p"`, `"u"`, "-5"), "quantity", quantityRule},
		"quantity 1.5":              {order(`"p"`, `"u"`, "1.5"), "quantity", quantityRule},
		"quantity 1.0":              {order(`"p"`, `"u"`, "1.0"), "quantity", quantityRule},
		"quantity 1e2":              {order(`"p"`, `"u"`, "1e2"), "quantity", quantityRule},
		"quantity 01":               {order(`"p"`, `"u"`, "01"), "quantity", quantityRule},
		"quantity +1":               {order(`"p"`, `"u"`, "+1"), "quantity", quantityRule},
		"quantity 1000001":          {order(`"p"`, `"u"`, "1000001"), "quantity", quantityRule},
		"quantity 2^63":             {order(`"p"`, `"u"`, "9223372036854775808"), "quantity", quantityRule},
		"quantity 2^64+1":           {order(`"p"`, `"u"`, "18446744073709551617"), "quantity", quantityRule},
		"quantity inf":              {order(`"p"`, `"u"`, "inf"), "quantity", quantityRule},
		"quantity a string":         {order(`"p"`, `"u"`, `"2"`), "quantity", quantityRule},
		"quantity null":             {order(`"p"`, `"u"`, "null"), "quantity", quantityRule},
		"quantity true":             {order(`"p"`, `"u"`, "true"), "quantity", quantityRule},
		"quantity array":            {order(`"p"`, `"u"`, "[1]"), "quantity", quantityRule},
	}
	h := start(t, httpapi.Config{})
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			problem := h.send("POST", "/orders", c.body).requireProblem(t, 400, engine.CodeInvalidRequest)
			require.Contains(t, problem["detail"], c.detail)
			if c.field == "" {
				require.NotContains(t, problem, "field")
				return
			}
			require.Equal(t, c.field, problem["field"])
			require.Contains(t, problem["detail"], c.field)
		})
	}
	require.Empty(t, h.reserver.reserved(), "a refused request changes nothing")
}
