package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/httpapi/auth"
	"flashsale/internal/devstack/devtest"
)

// newKey makes a key as `flashsale keys new` does.
func newKey(t *testing.T, scope, name, user string) (key, line string) {
	t.Helper()
	var out, notes strings.Builder
	require.NoError(t, (&keysNew{Scope: scope, Name: name, User: user}).print(&out, &notes, time.Now()))
	printed := strings.Split(out.String(), "\n")
	require.Len(t, printed, 3, "two lines on standard output")
	require.NotContains(t, notes.String(), printed[0])
	return printed[0], printed[1]
}

func TestKeysNew(t *testing.T) {
	key, line := newKey(t, "buyer", "kiosk", "ann")
	keys, err := auth.ParseKeys(strings.NewReader(line))
	require.NoError(t, err)
	who, err := keys.Verify(key)
	require.NoError(t, err)
	require.Equal(t, auth.Identity{User: "ann", Name: "key:kiosk", Scopes: auth.Buyer}, who)
	_, line = newKey(t, "monitor,admin", "", "")
	require.Regexp(t, `^sha256:[0-9a-f]{64} monitor,admin key-\d{8}-\d{6}$`, line)
	for _, wrong := range []keysNew{
		{Scope: "root"},
		{Scope: "admin", User: "ann"},
		{Scope: "buyer", Name: "a b"},
		{Scope: "buyer", Name: "a\nb"},
		{Scope: "buyer x", Name: "y"},
		{Scope: "buyer", User: "a/b"},
		{Scope: "buyer", User: " "},
	} {
		var out, notes strings.Builder
		require.ErrorContains(t, wrong.print(&out, &notes, time.Now()), "keys new: ")
		require.Empty(t, out.String(), "no key that its line does not let in")
	}
	require.Error(t, run([]string{"keys", "new"}), "the scope must be said")
}

// as sends a request with a key.
func (p *process) as(key, method, path, body string) int {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), method, p.base+path, strings.NewReader(body))
	require.NoError(p.t, err)
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	response, err := httpClient.Do(request)
	require.NoError(p.t, err)
	require.NoError(p.t, response.Body.Close())
	return response.StatusCode
}

func TestServeWithKeysInProduction(t *testing.T) {
	shop, shopLine := newKey(t, "buyer", "shop", "")
	ann, annLine := newKey(t, "buyer", "ann", "ann")
	ops, opsLine := newKey(t, "admin", "ops", "")
	file := filepath.Join(t.TempDir(), "keys")
	require.NoError(t, os.WriteFile(file, []byte(strings.Join([]string{shopLine, annLine, opsLine}, "\n")), 0o600))
	s, metricsPort := newStores(t), devtest.FreePort(t)
	migrated(t, s)
	p := start(t, nil, append(s.env(), "NODE_ENV=production", "AUTH=keys", "API_KEYS_FILE="+file, "ADMIN_TOKEN="+strongToken,
		fmt.Sprintf("METRICS_ADDR=127.0.0.1:%d", metricsPort))...)

	const product = `{"id":%q,"name":"x","price":1,"initialStock":5}`
	require.Equal(t, 401, p.as("", "POST", "/inventory", fmt.Sprintf(product, "a")))
	require.Equal(t, 403, p.as(shop, "POST", "/inventory", fmt.Sprintf(product, "a")))
	require.Equal(t, 201, p.as(ops, "POST", "/inventory", fmt.Sprintf(product, "a")))
	require.Equal(t, 201, p.as(strongToken, "POST", "/inventory", fmt.Sprintf(product, "b")), "ADMIN_TOKEN works beside them")
	require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM stock_changes WHERE product_id = 'a' AND actor = 'key:ops'`))

	require.Equal(t, 401, p.as("", "POST", "/orders", `{"productId":"a","userId":"ann","quantity":1}`))
	require.Equal(t, 201, p.as(ann, "POST", "/orders", `{"productId":"a","quantity":1}`))
	require.Equal(t, 403, p.as(ann, "POST", "/orders", `{"productId":"a","userId":"bob","quantity":1}`))
	require.Equal(t, 201, p.as(shop, "POST", "/orders", `{"productId":"a","userId":"bob","quantity":1}`))
	require.Equal(t, 404, p.as(ops, "GET", "/metrics", ""), "moved")
	response, err := httpClient.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", metricsPort))
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, 200, response.StatusCode)

	p.interrupt()
	require.Contains(t, p.output.String(), "API_KEYS_FILE", "the settings are printed")
	for _, secret := range []string{shop, ann, ops, strongToken} {
		require.NotContains(t, p.output.String(), secret)
	}
}

// migrated brings the schema up, which production leaves to people.
func migrated(t *testing.T, s *sharedStores) {
	t.Helper()
	t.Setenv("DATABASE_URL", s.dbURL)
	t.Chdir(t.TempDir())
	require.NoError(t, run([]string{"migrate", "up"}))
}
