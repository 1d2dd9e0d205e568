package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/httpapi/auth"
)

const (
	strongToken  = "f2b1c0a4d7e94c5b8a63"
	strongSecret = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
)

func TestAuthSettings(t *testing.T) {
	jwt := authSettings{Auth: "jwt", JWTSecret: strongSecret, JWTIssuer: "i", JWTAudience: "a"}
	with := func(base authSettings, change func(*authSettings)) authSettings { change(&base); return base }
	keySet := func(url string) authSettings {
		return with(jwt, func(a *authSettings) { a.JWTSecret, a.JWTKeySet = "", url })
	}
	for name, c := range map[string]struct {
		settings    authSettings
		development error
		production  error
		names       string // the setting that the refusal names
	}{
		"not said":              {authSettings{AdminToken: strongToken}, nil, errNoAuth, "AUTH"},
		"none":                  {authSettings{Auth: "none", AdminToken: strongToken}, nil, nil, ""},
		"keys":                  {authSettings{Auth: "keys", APIKeysFile: "f"}, nil, nil, ""},
		"keys without a file":   {authSettings{Auth: "keys"}, errNoKeysFile, errNoKeysFile, "API_KEYS_FILE"},
		"a secret":              {jwt, nil, nil, ""},
		"a key set":             {keySet("https://login.example/keys"), nil, nil, ""},
		"neither":               {keySet(""), errJWTSource, errJWTSource, "JWT_JWKS_URL"},
		"both":                  {with(jwt, func(a *authSettings) { a.JWTKeySet = "https://x" }), errJWTSource, errJWTSource, "JWT_SECRET"},
		"no issuer":             {with(jwt, func(a *authSettings) { a.JWTIssuer = "" }), errJWTAddressee, errJWTAddressee, "JWT_ISSUER"},
		"no audience":           {with(jwt, func(a *authSettings) { a.JWTAudience = "" }), errJWTAddressee, errJWTAddressee, "JWT_AUDIENCE"},
		"a short secret":        {with(jwt, func(a *authSettings) { a.JWTSecret = strongSecret[:31] }), errWeakSecret, errWeakSecret, "JWT_SECRET"},
		"a public key":          {with(jwt, func(a *authSettings) { a.JWTSecret = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBg" }), errKeyAsSecret, errKeyAsSecret, "JWT_SECRET"},
		"a known secret":        {with(jwt, func(a *authSettings) { a.JWTSecret = "secretsecretsecretsecretsecretsecret" }), nil, errKnownSecret, "JWT_SECRET"},
		"http elsewhere":        {keySet("http://login.example/keys"), nil, errKeySetURL, "JWT_JWKS_URL"},
		"http here":             {keySet("http://127.0.0.1:8080/keys"), nil, nil, ""},
		"http here by name":     {keySet("http://localhost:8080/keys"), nil, nil, ""},
		"http in disguise":      {keySet("http://localhost.example/keys"), nil, errKeySetURL, "JWT_JWKS_URL"},
		"a file":                {keySet("file:///keys"), errKeySetURL, errKeySetURL, "JWT_JWKS_URL"},
		"a password":            {keySet("https://u:p@login.example/"), errKeySetURL, errKeySetURL, "JWT_JWKS_URL"},
		"no address":            {keySet("login"), errKeySetURL, errKeySetURL, "JWT_JWKS_URL"},
		"a short admin token":   {authSettings{Auth: "none", AdminToken: "fifteen-letters"}, nil, errWeakAdminToken, "ADMIN_TOKEN"},
		"a known admin token":   {authSettings{Auth: "none", AdminToken: "changeme-changeme"}, nil, errKnownSecret, "ADMIN_TOKEN"},
		"a known one with keys": {authSettings{Auth: "keys", APIKeysFile: "f", AdminToken: "adminadminadminadmin"}, nil, errKnownSecret, "ADMIN_TOKEN"},
	} {
		t.Run(name, func(t *testing.T) {
			for inProduction, want := range map[bool]error{false: c.development, true: c.production} {
				err := c.settings.checkAuth(inProduction)
				require.ErrorIs(t, err, want)
				if want != nil {
					require.ErrorContains(t, err, c.names)
				}
				for _, secret := range []string{c.settings.AdminToken, c.settings.JWTSecret} {
					require.True(t, err == nil || secret == "" || !strings.Contains(err.Error(), secret), "a secret is not shown")
				}
			}
		})
	}
}

// Whoever set it believes that it protects something.
func TestSettingsOfAnotherModeAreRefused(t *testing.T) {
	for _, mode := range []string{"", "none", "keys", "jwt"} {
		for name, a := range map[string]authSettings{
			"API_KEYS_FILE": {APIKeysFile: "x"}, "JWT_SECRET": {JWTSecret: strongSecret}, "JWT_JWKS_URL": {JWTKeySet: "https://x"},
			"JWT_ISSUER": {JWTIssuer: "x"}, "JWT_AUDIENCE": {JWTAudience: "x"},
		} {
			a.Auth = mode
			err := a.checkUnused()
			if own := strings.HasPrefix(name, "JWT") && mode == "jwt" || name == "API_KEYS_FILE" && mode == "keys"; own {
				require.NoError(t, err)
				continue
			}
			require.ErrorIs(t, err, errOtherMode)
			require.ErrorContains(t, err, name+": ")
		}
	}
}

func TestWellKnownSecrets(t *testing.T) {
	for _, secret := range []string{
		"changeme", "ChangeMe!", "change-me-change-me", "changemechangemechangeme", "secret", "admin", "password123", "Password2026",
		"your-256-bit-secret", "a-string-secret-at-least-256-bits-long", "supersecretsupersecret", "my_super_secret_jwt_key",
		"this is a very long secret", "please-change-me-in-production", "00000000000000000000000000000000", "flashsale-admin-token",
		"12345678901234567890123456789012", "test", "xxxxxxxxxxxxxxxx",
	} {
		require.True(t, wellKnown(secret), secret)
	}
	for _, secret := range []string{
		"", strongToken, strongSecret, "correct-horse-battery-staple", "83749283749827349827349823746128", "adminX7pQ2", "test-q9-token",
		strings.ToLower(auth.NewKey()), strings.Repeat("supersecretis", 40) + "x",
	} {
		require.False(t, wellKnown(secret), secret)
	}
}

func TestProductionWantsAuthSaid(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("NODE_ENV", "production")
	t.Setenv("ADMIN_TOKEN", strongToken)
	require.ErrorIs(t, run([]string{"serve"}), errNoAuth)
	require.ErrorIs(t, run([]string{"serve", "--auth=jwt"}), errJWTSource)
	require.ErrorContains(t, run([]string{"serve", "--auth=maybe"}), "none")
	require.ErrorIs(t, run([]string{"serve", "--auth=none", "--jwt-issuer=x"}), errOtherMode)
	t.Setenv("ADMIN_TOKEN", "changemechangeme")
	require.ErrorIs(t, run([]string{"serve", "--auth=none"}), errKnownSecret)
}

func TestAuthSecretsStayOutOfSight(t *testing.T) {
	t.Setenv("JWT_SECRET", "canary-of-the-tokens-secret")
	_, parsed, err := parse(t, "", "serve")
	require.NoError(t, err)
	require.NotContains(t, describeSettings(parsed), "canary")
	require.Regexp(t, `JWT_SECRET +xxxxx\n`, describeSettings(parsed))
	_, parsed, err = parse(t, "", "serve", "--jwt-secret=x")
	require.NoError(t, err)
	require.ErrorIs(t, refuseSecrets(parsed), errSecretOnCommandLine)
}

func TestAdminTokenIsNeededOnlyWhereNobodyElseIsAdmin(t *testing.T) {
	for _, mode := range []string{"keys", "jwt"} {
		s := serveCmd{authSettings: authSettings{Auth: mode}}
		require.NoError(t, s.chooseAdminToken())
		require.Empty(t, s.AdminToken)
		s.Dev = true
		require.NoError(t, s.chooseAdminToken())
		require.NotEmpty(t, s.AdminToken, "--dev shows one")
	}
	s := serveCmd{authSettings: authSettings{Auth: "none"}}
	require.ErrorIs(t, s.chooseAdminToken(), errNoAdminToken)
}

func TestTheDoorOpensForTheRightOnes(t *testing.T) {
	key := auth.NewKey()
	line, err := auth.KeyLine(key, "buyer", "shop", "")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "keys")
	require.NoError(t, os.WriteFile(file, []byte(line+"\n"), 0o600))
	d, err := (&authSettings{Auth: "keys", APIKeysFile: file}).newDoor(t.Context())
	require.NoError(t, err)
	who, err := d.tokens.Verify(key)
	require.NoError(t, err)
	require.Equal(t, "key:shop", who.Name)

	for _, mode := range []string{"", "none"} {
		d, err := (&authSettings{Auth: mode}).newDoor(t.Context())
		require.NoError(t, err)
		require.Nil(t, d.tokens)
	}
	d, err = (&authSettings{Auth: "jwt", JWTSecret: strongSecret, JWTIssuer: "i", JWTAudience: "a"}).newDoor(t.Context())
	require.NoError(t, err)
	_, err = d.tokens.Verify(key)
	require.ErrorIs(t, err, auth.ErrInvalid)
}

func TestTheDoorSaysWhyItStaysShut(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	require.NoError(t, os.WriteFile(file, []byte("# keys\ncanary buyer shop\n"), 0o600))
	_, err := (&authSettings{Auth: "keys", APIKeysFile: file}).newDoor(t.Context())
	require.ErrorContains(t, err, "API_KEYS_FILE: line 2: ")
	require.NotContains(t, err.Error(), "canary")
	_, err = (&authSettings{Auth: "keys", APIKeysFile: file + "x"}).newDoor(t.Context())
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "API_KEYS_FILE: ")

	issuer := httptest.NewServer(http.NotFoundHandler())
	defer issuer.Close()
	_, err = (&authSettings{Auth: "jwt", JWTKeySet: issuer.URL, JWTIssuer: "i", JWTAudience: "a"}).newDoor(t.Context())
	require.ErrorContains(t, err, "JWT_JWKS_URL: ")
}

func TestPprofNeedsItsListener(t *testing.T) {
	require.ErrorIs(t, (&metricsSettings{Pprof: true}).checkMetrics(), errPprofAlone)
	require.NoError(t, (&metricsSettings{Pprof: true, MetricsAddr: "127.0.0.1:0"}).checkMetrics())
	require.NoError(t, (&metricsSettings{}).checkMetrics())
	_, err := (&metricsSettings{MetricsAddr: "nowhere"}).listenMetrics(t.Context(), nil)
	require.ErrorContains(t, err, "METRICS_ADDR: ")
	t.Chdir(t.TempDir())
	t.Setenv("ADMIN_TOKEN", strongToken)
	require.ErrorIs(t, run([]string{"serve", "--pprof"}), errPprofAlone)
}
