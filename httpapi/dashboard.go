package httpapi

import (
	"embed"

	"github.com/valyala/fasthttp"
)

//go:embed dashboard
var dashboard embed.FS

// dashboardFile returns a handler that sends one embedded file. The page takes nothing from other hosts and may not be
// shown inside other pages.
func dashboardFile(name, contentType string) func(*Server, *fasthttp.RequestCtx) {
	content, err := dashboard.ReadFile("dashboard/" + name)
	if err != nil {
		panic(err) // the file is not in the source tree
	}
	return func(_ *Server, ctx *fasthttp.RequestCtx) {
		h := &ctx.Response.Header
		h.Set(fasthttp.HeaderContentSecurityPolicy,
			"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'")
		h.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
		h.Set(fasthttp.HeaderReferrerPolicy, "no-referrer")
		h.Set(fasthttp.HeaderCacheControl, "no-cache")
		ctx.SetContentType(contentType)
		ctx.Response.SetBodyRaw(content)
	}
}
