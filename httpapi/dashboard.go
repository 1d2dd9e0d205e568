package httpapi

import (
	"embed"
	"path"

	"github.com/valyala/fasthttp"
)

//go:embed dashboard
var dashboard embed.FS

// pageTypes are the media types of the files that pages are made of.
var pageTypes = map[string]string{
	".html": typeHTML, ".css": typeCSS, ".js": typeScript, ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8",
}

// dashboardFile returns a handler that sends one file of the dashboard.
func dashboardFile(name string) func(*Server, *fasthttp.RequestCtx) {
	return embeddedFile(dashboard, "dashboard/"+name, pageTypes[path.Ext(name)], policyStrict)
}

// dashboardFiles sends each file that the dashboard is made of.
var dashboardFiles = filesOf(dashboard, "dashboard", dashboardFile)

// filesOf makes a handler for each file of a folder.
func filesOf(files embed.FS, folder string, handler func(name string) func(*Server, *fasthttp.RequestCtx)) map[string]func(*Server, *fasthttp.RequestCtx) {
	entries, err := files.ReadDir(folder)
	if err != nil {
		panic(err) // the folder is not in the source tree
	}
	handlers := make(map[string]func(*Server, *fasthttp.RequestCtx), len(entries))
	for _, entry := range entries {
		handlers[entry.Name()] = handler(entry.Name())
	}
	return handlers
}

// getDashboardFile sends one of them.
func (s *Server) getDashboardFile(ctx *fasthttp.RequestCtx) { s.sendFile(ctx, dashboardFiles) }

func (s *Server) sendFile(ctx *fasthttp.RequestCtx, files map[string]func(*Server, *fasthttp.RequestCtx)) {
	send, known := files[pathValue(ctx, "file")]
	if !known {
		s.refuse(ctx, errNoRoute)
		return
	}
	send(s, ctx)
}
