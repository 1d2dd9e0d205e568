package httpapi

import (
	"strings"

	"github.com/valyala/fasthttp"
)

const headerIdempotencyKey = "Idempotency-Key"

var canonicalIdempotencyKey = []byte(headerIdempotencyKey)

// maxIdempotencyKey bounds a key, in characters.
const maxIdempotencyKey = 255

// idempotencyKey returns the request's key in memory of its own, "" where it has none. A key may stand there as it is or
// as a string of RFC 9651 (draft-ietf-httpapi-idempotency-key-header): the quoted "k" is the same key as k.
func idempotencyKey(h *fasthttp.RequestHeader) (string, error) {
	value := h.PeekCanonical(canonicalIdempotencyKey)
	if value == nil {
		return "", nil
	}
	key, ok := string(value), true
	if key != "" && key[0] == '"' {
		key, ok = unquote(key)
	}
	if !ok || key == "" || len(key) > maxIdempotencyKey || !printable(key) || len(h.PeekAll(headerIdempotencyKey)) > 1 {
		return "", errIdempotencyKey
	}
	return key, nil
}

// unquote reads a quoted string: a backslash stands before a quote or another backslash and nowhere else.
func unquote(quoted string) (text string, ok bool) {
	if len(quoted) < 2 || quoted[len(quoted)-1] != '"' {
		return "", false
	}
	inner := quoted[1 : len(quoted)-1]
	var b strings.Builder
	for i := 0; i < len(inner); i++ {
		c := inner[i]
		if c == '"' {
			return "", false
		}
		if c == '\\' {
			i++
			if i == len(inner) || inner[i] != '"' && inner[i] != '\\' {
				return "", false
			}
			c = inner[i]
		}
		b.WriteByte(c)
	}
	return b.String(), true
}

// printable tells whether text is of ASCII characters that can be seen, and spaces.
func printable(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
