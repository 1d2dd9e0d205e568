package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"

	"github.com/valyala/fasthttp"

	"flashsale/engine"
)

var (
	errNoToken    = &engine.Error{Code: engine.CodeUnauthorized, Detail: "this route needs `Authorization: Bearer <admin token>`"}
	errWrongToken = &engine.Error{Code: engine.CodeForbidden, Detail: "this is not the admin token"}
)

// adminKey is what an admin must show. Only the hash is kept, which also makes all comparisons equally long.
type adminKey struct {
	set bool
	sum [sha256.Size]byte
}

func newAdminKey(token string) adminKey {
	return adminKey{set: token != "", sum: sha256.Sum256([]byte(token))}
}

// check returns nil for the admin. Without a configured token it lets nobody in.
func (k *adminKey) check(ctx *fasthttp.RequestCtx) error {
	header := string(ctx.Request.Header.Peek(fasthttp.HeaderAuthorization))
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return errNoToken
	}
	sum := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(sum[:], k.sum[:]) != 1 || !k.set {
		return errWrongToken
	}
	return nil
}
