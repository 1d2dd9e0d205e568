package httpapi

import (
	"embed"
	"path"

	"github.com/valyala/fasthttp"
)

//go:embed demo
var demo embed.FS

// demoFile returns a handler that sends one file of the demo shop, where there is one.
func demoFile(name string) func(*Server, *fasthttp.RequestCtx) {
	send := embeddedFile(demo, "demo/"+name, pageTypes[path.Ext(name)], policyStrict)
	return func(s *Server, ctx *fasthttp.RequestCtx) {
		if !s.config.Demo {
			s.refuse(ctx, errNoRoute)
			return
		}
		send(s, ctx)
	}
}

// demoFiles sends each file that the demo shop is made of.
var demoFiles = filesOf(demo, "demo", demoFile)

// getDemoFile sends one of them.
func (s *Server) getDemoFile(ctx *fasthttp.RequestCtx) { s.sendFile(ctx, demoFiles) }
