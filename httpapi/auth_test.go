package httpapi_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/httpapi"
)

func TestAdminRoutes(t *testing.T) {
	const body = `{"name":"x","price":1,"initialStock":1}`
	h := start(t, httpapi.Config{})
	for name, c := range map[string]struct {
		header string
		status int
		code   engine.Code
	}{
		"nothing":         {"", 401, engine.CodeUnauthorized},
		"another scheme":  {"Basic " + adminToken, 401, engine.CodeUnauthorized},
		"only the scheme": {"Bearer ", 401, engine.CodeUnauthorized},
		"the bare token":  {adminToken, 401, engine.CodeUnauthorized},
		"a wrong token":   {"Bearer wrong", 403, engine.CodeForbidden},
		"a prefix":        {"Bearer " + adminToken[:5], 403, engine.CodeForbidden},
		"a longer one":    {"Bearer " + adminToken + "x", 403, engine.CodeForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			for _, target := range []string{"POST /inventory", "POST /api/v1/inventory", "PUT /inventory/p", "PUT /api/v1/inventory/p"} {
				method, path, _ := strings.Cut(target, " ")
				var headers []string
				if c.header != "" {
					headers = []string{"Authorization", c.header}
				}
				got := h.send(method, path, body, headers...)
				got.requireProblem(t, c.status, c.code)
				require.Equal(t, c.status == 401, got.header.Get("WWW-Authenticate") != "")
			}
		})
	}
	require.Empty(t, h.store.created)
	require.Empty(t, h.store.changes)
	require.Equal(t, 201, h.send("POST", "/inventory", body, "Authorization", "bearer "+adminToken).status)
	require.NotContains(t, h.log.String(), adminToken)
}
