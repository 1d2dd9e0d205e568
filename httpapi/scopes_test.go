package httpapi

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"flashsale/httpapi/auth"
)

// scopeOf says who every route is for. A new route needs its line here.
var scopeOf = map[string]scope{
	"GET /":                             scopePublic,
	"POST /orders":                      scopeBuyer,
	"GET /orders/{id}":                  scopeBuyer,
	"POST /orders/{id}/confirm":         scopeBuyer,
	"POST /orders/{id}/cancel":          scopeBuyer,
	"POST /orders/{id}/extend":          scopeBuyer,
	"GET /orders/user/{userId}":         scopeBuyer,
	"GET /orders/queue/{jobId}":         scopeBuyer,
	"GET /orders/admin/metrics":         scopeAdmin,
	"GET /inventory/metrics":            scopePublic,
	"GET /monitoring/benchmark":         scopeMonitor,
	"GET /monitoring/metrics":           scopeMonitor,
	"POST /monitoring/metrics/clear":    scopeAdmin,
	"GET /monitoring/stream":            scopeMonitor,
	"GET /inventory":                    scopePublic,
	"POST /inventory":                   scopeAdmin,
	"GET /inventory/{productId}":        scopePublic,
	"PUT /inventory/{productId}":        scopeAdmin,
	"GET /monitoring/health":            scopePublic,
	"GET /livez":                        scopePublic,
	"GET /readyz":                       scopePublic,
	"GET /metrics":                      scopeMonitor,
	"GET /dashboard":                    scopePublic,
	"GET /dashboard/{file}":             scopePublic,
	"GET /inventory/{productId}/stream": scopePublic,
	"GET /demo":                         scopePublic,
	"GET /demo/{file}":                  scopePublic,
	"GET /openapi.yaml":                 scopePublic,
	"GET /docs":                         scopePublic,
	"GET /docs/docs.css":                scopePublic,
	"GET /docs/docs.js":                 scopePublic,
	"GET /docs/swagger-ui.css":          scopePublic,
	"GET /docs/swagger-ui-bundle.js":    scopePublic,
}

func TestEveryRouteHasItsScope(t *testing.T) {
	found := make(map[string]scope)
	for _, rt := range routes {
		name := rt.method + " " + rt.path
		require.NotContains(t, found, name, "listed twice")
		require.NotEqual(t, scopeUnset, rt.scope, "%s has no scope", name)
		found[name] = rt.scope
	}
	require.Equal(t, scopeOf, found)
}

// Default deny: what the table forgot is closed, to the admin too.
func TestRouteWithoutScopeIsRefusedToEverybody(t *testing.T) {
	const admin = "the-admin's-token"
	for _, forgotten := range []scope{scopeUnset, scopeAdmin + 1, -1} {
		for _, tokens := range []Verifier{nil, &auth.Keys{}} {
			s := New(Deps{}, Config{AdminToken: admin, Tokens: tokens})
			served := s.scoped(route{"GET", "/x", forgotten, func(*Server, *fasthttp.RequestCtx) { t.Error("it was served") }})
			for _, header := range []string{"", "Bearer " + admin} {
				var ctx fasthttp.RequestCtx
				ctx.Request.Header.Set("Authorization", header)
				served(&ctx)
				require.Equal(t, 403, ctx.Response.StatusCode())
			}
		}
	}
}

const (
	scopesAdmin    = "admin-token-of-this-test"
	scopesSecret   = "a-secret-of-this-test-with-32-bytes"
	scopesIssuer   = "https://login.shop.example/"
	scopesAudience = "flashsale"
)

// callers are the Authorization headers of those who come, by name.
type callers map[string]string

// keyCallers makes an API key for each kind of caller.
func keyCallers(t *testing.T) (callers, Verifier) {
	t.Helper()
	var file strings.Builder
	come := callers{"nobody": "", "made up": "Bearer " + auth.NewKey()}
	for _, c := range [][3]string{
		{"shop", "buyer", ""},
		{"buyer A", "buyer", "ann"},
		{"buyer B", "buyer", "bob"},
		{"monitor", "monitor", ""},
		{"admin", "admin", ""},
		{"buyer who monitors", "buyer,monitor", "ann"},
	} {
		key := auth.NewKey()
		line, err := auth.KeyLine(key, c[1], strings.ReplaceAll(c[0], " ", "-"), c[2])
		require.NoError(t, err)
		file.WriteString(line + "\n")
		come[c[0]] = "Bearer " + key
	}
	keys, err := auth.ParseKeys(strings.NewReader(file.String()))
	require.NoError(t, err)
	return come, keys
}

// tokenCallers signs a token for each kind of caller.
func tokenCallers(t *testing.T) (callers, Verifier) {
	t.Helper()
	sign := func(secret string, change jwt.MapClaims) string {
		claims := jwt.MapClaims{"iss": scopesIssuer, "aud": scopesAudience, "sub": "ann", "exp": time.Now().Add(time.Hour).Unix()}
		for name, value := range change {
			claims[name] = value
		}
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
		require.NoError(t, err)
		return "Bearer " + token
	}
	tokens, err := auth.NewTokens(auth.TokensConfig{Secret: scopesSecret, Issuer: scopesIssuer, Audience: scopesAudience})
	require.NoError(t, err)
	return callers{
		"nobody": "", "made up": sign(strings.ToUpper(scopesSecret), nil),
		"buyer A": sign(scopesSecret, nil), "buyer B": sign(scopesSecret, jwt.MapClaims{"sub": "bob"}),
		"monitor": sign(scopesSecret, jwt.MapClaims{"scope": "monitor"}), "admin": sign(scopesSecret, jwt.MapClaims{"scope": "admin"}),
		"buyer who monitors": sign(scopesSecret, jwt.MapClaims{"scope": "buyer monitor"}),
		"expired":            sign(scopesSecret, jwt.MapClaims{"exp": time.Now().Add(-time.Hour).Unix()}),
		"wrong audience":     sign(scopesSecret, jwt.MapClaims{"aud": "another"}),
		"of another scope":   sign(scopesSecret, jwt.MapClaims{"scope": "openid"}),
	}, tokens
}

// answers says what a caller gets from a route of a scope; 200 = it was served.
var answers = map[string]map[scope]int{
	"nobody":             {scopePublic: 200, scopeBuyer: 401, scopeMonitor: 401, scopeAdmin: 401},
	"made up":            {scopePublic: 200, scopeBuyer: 401, scopeMonitor: 401, scopeAdmin: 401},
	"expired":            {scopePublic: 200, scopeBuyer: 401, scopeMonitor: 401, scopeAdmin: 401},
	"wrong audience":     {scopePublic: 200, scopeBuyer: 401, scopeMonitor: 401, scopeAdmin: 401},
	"another scheme":     {scopePublic: 200, scopeBuyer: 401, scopeMonitor: 401, scopeAdmin: 401},
	"of another scope":   {scopePublic: 200, scopeBuyer: 403, scopeMonitor: 403, scopeAdmin: 403},
	"shop":               {scopePublic: 200, scopeBuyer: 200, scopeMonitor: 403, scopeAdmin: 403},
	"buyer A":            {scopePublic: 200, scopeBuyer: 200, scopeMonitor: 403, scopeAdmin: 403},
	"buyer B":            {scopePublic: 200, scopeBuyer: 200, scopeMonitor: 403, scopeAdmin: 403},
	"buyer who monitors": {scopePublic: 200, scopeBuyer: 200, scopeMonitor: 200, scopeAdmin: 403},
	"monitor":            {scopePublic: 200, scopeBuyer: 403, scopeMonitor: 200, scopeAdmin: 403},
	"admin":              {scopePublic: 200, scopeBuyer: 200, scopeMonitor: 200, scopeAdmin: 200},
	"the admin token":    {scopePublic: 200, scopeBuyer: 200, scopeMonitor: 200, scopeAdmin: 200},
}

// answersOpen is answers where no tokens are asked for (AUTH=none): as before, a wrong admin token is 403.
var answersOpen = map[string]map[scope]int{
	"nobody":          {scopePublic: 200, scopeBuyer: 200, scopeMonitor: 200, scopeAdmin: 401},
	"another scheme":  {scopePublic: 200, scopeBuyer: 200, scopeMonitor: 200, scopeAdmin: 401},
	"made up":         {scopePublic: 200, scopeBuyer: 200, scopeMonitor: 200, scopeAdmin: 403},
	"the admin token": {scopePublic: 200, scopeBuyer: 200, scopeMonitor: 200, scopeAdmin: 200},
}

// serveMarks has every route only say that it was served, as whom.
func serveMarks(t *testing.T) {
	t.Helper()
	all := routes
	t.Cleanup(func() { routes = all })
	routes = slices.Clone(all)
	for i := range routes {
		routes[i].handle = func(s *Server, ctx *fasthttp.RequestCtx) { ctx.SetBodyString("served " + s.callerOf(ctx).user) }
	}
}

func TestEveryRouteByEveryCaller(t *testing.T) {
	serveMarks(t)
	keys, keyVerifier := keyCallers(t)
	tokens, tokenVerifier := tokenCallers(t)
	open := callers{"nobody": "", "made up": "Bearer " + auth.NewKey()}
	for mode, c := range map[string]struct {
		come   callers
		tokens Verifier
		want   map[string]map[scope]int
	}{
		"none": {open, nil, answersOpen}, "keys": {keys, keyVerifier, answers}, "jwt": {tokens, tokenVerifier, answers},
	} {
		c.come["the admin token"], c.come["another scheme"] = "Bearer "+scopesAdmin, "Basic "+scopesAdmin
		s := New(Deps{}, Config{AdminToken: scopesAdmin, Tokens: c.tokens, Logger: slog.New(slog.DiscardHandler)})
		s.Open(Deps{}) // nobody is asked
		for name, header := range c.come {
			t.Run(mode+"/"+name, func(t *testing.T) {
				for _, rt := range routes {
					requireAnswers(t, s, rt, header, c.want[name][scopeOf[rt.method+" "+rt.path]])
				}
			})
		}
	}
}

// requireAnswers asks for a route under every prefix, and by HEAD where it answers that.
func requireAnswers(t *testing.T, s *Server, rt route, header string, want int) {
	t.Helper()
	methods := []string{rt.method}
	if rt.method == fasthttp.MethodGet {
		methods = append(methods, fasthttp.MethodHead)
	}
	path := strings.NewReplacer("{id}", "x", "{productId}", "x").Replace(rt.path)
	for _, prefix := range prefixes {
		for _, method := range methods {
			var ctx fasthttp.RequestCtx
			ctx.Request.Header.SetMethod(method)
			ctx.Request.SetRequestURI(strings.TrimSuffix(prefix+path, "/"))
			if header != "" {
				ctx.Request.Header.Set("Authorization", header)
			}
			s.handle(&ctx)
			what := method + " " + prefix + path
			require.Equal(t, want, ctx.Response.StatusCode(), what)
			require.Equal(t, want == 200, strings.HasPrefix(string(ctx.Response.Body()), "served "), what)
			require.Equal(t, want == 401, len(ctx.Response.Header.Peek("WWW-Authenticate")) > 0, what)
		}
	}
}

// What a public route is told of its caller is nobody, who may act for no buyer, once tokens are asked for.
func TestNobodyMayActForNoOne(t *testing.T) {
	_, keys := keyCallers(t)
	var ctx fasthttp.RequestCtx
	stranger := New(Deps{}, Config{Tokens: keys}).callerOf(&ctx)
	require.False(t, stranger.mayAct("ann"))
	require.False(t, stranger.mayAct(""))
	require.True(t, New(Deps{}, Config{}).callerOf(&ctx).mayAct("ann"))
}

func TestMayAct(t *testing.T) {
	for name, c := range map[string]struct {
		caller caller
		may    bool
	}{
		"a buyer for itself":    {caller{user: "ann", scopes: auth.Buyer}, true},
		"a buyer for another":   {caller{user: "bob", scopes: auth.Buyer}, false},
		"a longer name":         {caller{user: "anna", scopes: auth.Buyer}, false},
		"the shop":              {caller{scopes: auth.Buyer}, true},
		"an admin":              {caller{scopes: auth.Admin}, true},
		"a monitor":             {caller{scopes: auth.Monitor}, false},
		"a monitor of the name": {caller{user: "ann", scopes: auth.Monitor}, false},
		"nobody":                {caller{}, false},
	} {
		require.Equal(t, c.may, c.caller.mayAct("ann"), name)
	}
}

// Whatever the header says, nobody is admin without a configured token.
func TestNoAdminWithoutToken(t *testing.T) {
	s := New(Deps{}, Config{})
	require.False(t, s.admin.fits(nil))
	for header, want := range map[string]error{
		"": errNoToken, "Bearer ": errNoToken, "Bearer": errNoToken, "Bearer x": errWrongToken, "Bearer  ": errWrongToken,
	} {
		var ctx fasthttp.RequestCtx
		ctx.Request.Header.Set("Authorization", header)
		_, err := s.identify(bearerToken(&ctx))
		require.Equal(t, want, err, "%q", header)
	}
}

// Of what is wrong with a token, only that it has expired is told.
func TestOnlyExpiryIsTold(t *testing.T) {
	come, tokens := tokenCallers(t)
	s := New(Deps{}, Config{Tokens: tokens})
	for name, want := range map[string]error{
		"expired": errExpiredToken, "wrong audience": errInvalidToken, "made up": errInvalidToken, "nobody": errNoToken,
	} {
		var ctx fasthttp.RequestCtx
		ctx.Request.Header.Set("Authorization", come[name])
		_, err := s.identify(bearerToken(&ctx))
		require.Equal(t, want, err, name)
	}
}
