package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"flashsale/httpapi"
	"flashsale/httpapi/auth"
)

// authSettings say who may call the API.
type authSettings struct {
	Auth        string `env:"AUTH" group:"Auth" help:"Who may order: none (whoever reaches the service), keys or jwt. Default: none; production wants to hear it." default:"" enum:",none,keys,jwt"`
	AdminToken  string `env:"ADMIN_TOKEN" group:"Auth" help:"Environment or file only." hidden:"" secret:"yes"`
	APIKeysFile string `name:"api-keys-file" env:"API_KEYS_FILE" group:"Auth" help:"File with the lines that 'flashsale keys new' prints, for AUTH=keys." placeholder:"FILE"`
	JWTSecret   string `name:"jwt-secret" env:"JWT_SECRET" group:"Auth" help:"For AUTH=jwt with HS256, at least 32 bytes. Environment or file only." hidden:"" secret:"yes"`
	JWTKeySet   string `name:"jwt-jwks-url" env:"JWT_JWKS_URL" group:"Auth" help:"For AUTH=jwt with RS256, ES256 or EdDSA: where the issuer has its key set." placeholder:"URL"`
	JWTIssuer   string `name:"jwt-issuer" env:"JWT_ISSUER" group:"Auth" help:"For AUTH=jwt: the tokens' iss."`
	JWTAudience string `name:"jwt-audience" env:"JWT_AUDIENCE" group:"Auth" help:"For AUTH=jwt: must be among the tokens' aud."`
}

const (
	authNone = "none"
	authKeys = "keys"
	authJWT  = "jwt"
)

// minAdminToken is how many characters keep a token from being guessed.
const minAdminToken = 16

var (
	errNoAuth         = errors.New("AUTH: must be said in production: none (the service sits behind the shop's own backend), keys or jwt")
	errWeakAdminToken = fmt.Errorf("ADMIN_TOKEN: must have at least %d characters in production", minAdminToken)
	errKnownSecret    = errors.New("is one that everybody knows; make one up, as by: openssl rand -hex 32")
	errWeakSecret     = fmt.Errorf("JWT_SECRET: must have at least %d bytes", auth.MinSecret)
	errKeyAsSecret    = errors.New("JWT_SECRET: is a PEM block; whoever knows a public key could sign with it: JWT_JWKS_URL is for public keys")
	errNoKeysFile     = errors.New("API_KEYS_FILE: must be set with AUTH=keys")
	errJWTSource      = errors.New("JWT_SECRET, JWT_JWKS_URL: one of them must be set with AUTH=jwt, and not both")
	errJWTAddressee   = errors.New("JWT_ISSUER, JWT_AUDIENCE: must be set with AUTH=jwt")
	errOtherMode      = errors.New("does nothing in this mode and must be left out, or the mode be said")
	errKeySetURL      = errors.New("JWT_JWKS_URL: must be an https:// address without a password; http:// is for this machine, and for development")
)

// checkAuth refuses settings that leave a door open or that nobody can come in by.
func (a *authSettings) checkAuth(inProduction bool) error {
	err := errors.Join(a.checkMode(inProduction), a.checkUnused())
	if inProduction {
		err = errors.Join(err, a.checkSecrets())
	}
	return err
}

func (a *authSettings) checkMode(inProduction bool) error {
	switch a.Auth {
	case authKeys:
		if a.APIKeysFile == "" {
			return errNoKeysFile
		}
	case authJWT:
		return errors.Join(a.checkJWTSource(inProduction), a.checkJWTAddressee())
	case "":
		if inProduction {
			return errNoAuth
		}
	}
	return nil
}

func (a *authSettings) checkJWTSource(inProduction bool) error {
	switch {
	case (a.JWTSecret == "") == (a.JWTKeySet == ""):
		return errJWTSource
	case a.JWTKeySet != "" && !keySetAddress(a.JWTKeySet, inProduction):
		return errKeySetURL
	case a.JWTKeySet != "":
		return nil
	case strings.Contains(a.JWTSecret, "-----BEGIN"):
		return errKeyAsSecret
	case len(a.JWTSecret) < auth.MinSecret:
		return errWeakSecret
	}
	return nil
}

func (a *authSettings) checkJWTAddressee() error {
	if a.JWTIssuer == "" || a.JWTAudience == "" {
		return errJWTAddressee
	}
	return nil
}

// keySetAddress tells whether keys may be taken from an address: whoever can change the answer can sign tokens.
func keySetAddress(address string, inProduction bool) bool {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	here := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	return u.Scheme == "https" || u.Scheme == "http" && (here || !inProduction)
}

// checkUnused refuses a setting of another mode: whoever set it believes that it protects something.
func (a *authSettings) checkUnused() error {
	var errs []error
	for _, s := range []struct{ name, value, mode string }{
		{"API_KEYS_FILE", a.APIKeysFile, authKeys},
		{"JWT_SECRET", a.JWTSecret, authJWT},
		{"JWT_JWKS_URL", a.JWTKeySet, authJWT},
		{"JWT_ISSUER", a.JWTIssuer, authJWT},
		{"JWT_AUDIENCE", a.JWTAudience, authJWT},
	} {
		if s.value != "" && a.Auth != s.mode {
			errs = append(errs, fmt.Errorf("%s: %w: that is AUTH=%s", s.name, errOtherMode, s.mode))
		}
	}
	return errors.Join(errs...)
}

// checkSecrets refuses what anybody would try first.
func (a *authSettings) checkSecrets() error {
	var errs []error
	if a.AdminToken != "" && len(a.AdminToken) < minAdminToken {
		errs = append(errs, errWeakAdminToken)
	}
	for name, value := range map[string]string{"ADMIN_TOKEN": a.AdminToken, "JWT_SECRET": a.JWTSecret} {
		if wellKnown(value) {
			errs = append(errs, fmt.Errorf("%s: %w", name, errKnownSecret))
		}
	}
	return errors.Join(errs...)
}

// door is who is let in, and what keeps that up to date.
type door struct {
	tokens httpapi.Verifier // nil = whoever reaches the service
	run    service
}

// newDoor reads the keys, or fetches them.
func (a *authSettings) newDoor(ctx context.Context) (door, error) {
	wait := func(ctx context.Context) error { <-ctx.Done(); return nil }
	switch a.Auth {
	case authKeys:
		keys, err := readKeys(a.APIKeysFile)
		if err != nil {
			return door{}, fmt.Errorf("API_KEYS_FILE: %w", err)
		}
		return door{tokens: keys, run: wait}, nil
	case authJWT:
		return a.newTokenDoor(ctx, wait)
	}
	return door{run: wait}, nil
}

func readKeys(path string) (*auth.Keys, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return auth.ParseKeys(file)
}

func (a *authSettings) newTokenDoor(ctx context.Context, wait service) (door, error) {
	config, run := auth.TokensConfig{Secret: a.JWTSecret, Issuer: a.JWTIssuer, Audience: a.JWTAudience}, wait
	if a.JWTKeySet != "" {
		set, err := auth.NewKeySet(ctx, a.JWTKeySet)
		if err != nil {
			return door{}, fmt.Errorf("JWT_JWKS_URL: %w", err)
		}
		config.KeySet, run = set, set.Run
	}
	tokens, err := auth.NewTokens(config)
	if err != nil {
		return door{}, fmt.Errorf("AUTH=jwt: %w", err)
	}
	return door{tokens: tokens, run: run}, nil
}
