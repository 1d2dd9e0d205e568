package httpapi

import (
	"embed"

	"github.com/valyala/fasthttp"
)

// The folder and the file are served as they are; nothing of them comes from other hosts.
//
//go:embed docsui openapi.yaml
var apiDocs embed.FS

const (
	typeHTML   = "text/html; charset=utf-8"
	typeCSS    = "text/css; charset=utf-8"
	typeScript = "text/javascript; charset=utf-8"
	typeYAML   = "application/yaml" // RFC 9512
)

// What a page may load: what this server sends and, for the viewer of the API's description, its icons, which stand in its
// style sheet.
const (
	policyStrict = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
	policyDocs   = policyStrict + "; img-src 'self' data:"
)

// docsFile returns a handler that sends one file of the API's description.
func docsFile(name, contentType string) func(*Server, *fasthttp.RequestCtx) {
	return embeddedFile(apiDocs, name, contentType, policyDocs)
}

// embeddedFile returns a handler that sends one embedded file. A page may not be shown inside other pages.
func embeddedFile(files embed.FS, name, contentType, policy string) func(*Server, *fasthttp.RequestCtx) {
	content, err := files.ReadFile(name)
	if err != nil {
		panic(err) // the file is not in the source tree
	}
	return func(_ *Server, ctx *fasthttp.RequestCtx) {
		h := &ctx.Response.Header
		h.Set(fasthttp.HeaderContentSecurityPolicy, policy)
		h.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
		h.Set(fasthttp.HeaderReferrerPolicy, "no-referrer")
		h.Set(fasthttp.HeaderCacheControl, "no-cache")
		ctx.SetContentType(contentType)
		ctx.Response.SetBodyRaw(content)
	}
}
