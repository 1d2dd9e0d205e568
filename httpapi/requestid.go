package httpapi

import (
	"crypto/rand"
	"encoding/hex"
	"strconv"

	"github.com/valyala/fasthttp"
)

var headerRequestID = []byte("X-Request-Id")

// maxRequestID bounds the id that a client may give a request, in bytes.
const maxRequestID = 64

// keepRequestID answers with the id that the client gave its request, so that its log and ours can be laid side by side. One
// that is no id is as good as none: it would be somebody else's text in our log.
func keepRequestID(ctx *fasthttp.RequestCtx) {
	if id := ctx.Request.Header.PeekCanonical(headerRequestID); len(id) > 0 && isRequestID(id) {
		ctx.Response.Header.SetCanonical(headerRequestID, id)
	}
}

// isRequestID tells whether an id is made of letters, digits and ._-, 1 to 64 of them.
func isRequestID(id []byte) bool {
	if len(id) > maxRequestID {
		return false
	}
	for _, c := range id {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return len(id) > 0
}

// requestID returns the id of a request that failed, one made for it where the client gave none, and has the answer show it.
func (s *Server) requestID(ctx *fasthttp.RequestCtx) string {
	if id := ctx.Response.Header.PeekCanonical(headerRequestID); len(id) > 0 {
		return string(id)
	}
	id := s.process + "-" + strconv.FormatUint(ctx.ID(), 16)
	ctx.Response.Header.SetCanonical(headerRequestID, []byte(id))
	return id
}

// appendRequestID adds the id to a problem document. Requests without one, which most are, get the document as it is.
func appendRequestID(ctx *fasthttp.RequestCtx) {
	id := ctx.Response.Header.PeekCanonical(headerRequestID)
	if len(id) == 0 {
		return
	}
	body := ctx.Response.Body()
	ctx.Response.SetBodyString(string(body[:len(body)-1]) + `,"requestId":"` + string(id) + `"}`)
}

// newProcessID makes the part of request ids that tells processes apart: fasthttp counts from 1 in each.
func newProcessID() string {
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails
	return hex.EncodeToString(random[:])
}
