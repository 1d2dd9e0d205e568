package httpapi

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"

	"github.com/valyala/fasthttp"

	"flashsale/engine"
	"flashsale/httpapi/auth"
)

// Verifier tells whom a token stands for; *auth.Keys and *auth.Tokens are two.
type Verifier interface {
	// Verify returns whom a token stands for, auth.ErrExpired, or any other error for one that stands for nobody.
	Verify(token string) (auth.Identity, error)
}

var (
	errNoToken      = &engine.Error{Code: engine.CodeUnauthorized, Detail: "this route needs `Authorization: Bearer <token>`"}
	errInvalidToken = &engine.Error{Code: engine.CodeUnauthorized, Detail: "this token is not valid here"}
	errExpiredToken = &engine.Error{Code: engine.CodeUnauthorized, Detail: "this token has expired"}
	errWrongToken   = &engine.Error{Code: engine.CodeForbidden, Detail: "this is not the admin token"}
	errNotAllowed   = &engine.Error{Code: engine.CodeForbidden, Detail: "this token's scope does not reach this route"}
)

// challengeOf is what WWW-Authenticate says beside a refusal (RFC 6750, 3).
func challengeOf(err *engine.Error) string {
	if err == errNoToken {
		return `Bearer realm="flashsale"`
	}
	return `Bearer realm="flashsale", error="invalid_token"`
}

// adminKey is what an admin may show in any mode. Only the hash is kept, which also makes all comparisons equally long.
type adminKey struct {
	set bool
	sum [sha256.Size]byte
}

func newAdminKey(token string) adminKey {
	return adminKey{set: token != "", sum: sha256.Sum256([]byte(token))}
}

// fits tells whether a token is the admin's. Without a configured token none is.
func (k *adminKey) fits(token []byte) bool {
	sum := sha256.Sum256(token)
	return subtle.ConstantTimeCompare(sum[:], k.sum[:]) == 1 && k.set
}

var bearerScheme = []byte("Bearer")

// bearerToken returns what follows the scheme; empty where there is none.
func bearerToken(ctx *fasthttp.RequestCtx) []byte {
	scheme, token, _ := bytes.Cut(ctx.Request.Header.Peek(fasthttp.HeaderAuthorization), []byte{' '})
	if !bytes.EqualFold(scheme, bearerScheme) {
		return nil
	}
	return token
}

// identify returns whom a token stands for.
func (s *Server) identify(token []byte) (*caller, error) {
	switch {
	case len(token) == 0:
		return nil, errNoToken
	case s.admin.fits(token):
		return &theAdmin, nil
	case s.config.Tokens == nil:
		return nil, errWrongToken
	}
	who, err := s.config.Tokens.Verify(string(token))
	switch {
	case errors.Is(err, auth.ErrExpired):
		return nil, errExpiredToken
	case err != nil:
		return nil, errInvalidToken
	}
	return &caller{user: who.User, name: who.Name, scopes: who.Scopes, until: who.Until}, nil
}
