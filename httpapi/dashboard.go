package httpapi

import (
	"embed"

	"github.com/valyala/fasthttp"
)

//go:embed dashboard
var dashboard embed.FS

// dashboardFile returns a handler that sends one file of the dashboard.
func dashboardFile(name, contentType string) func(*Server, *fasthttp.RequestCtx) {
	return embeddedFile(dashboard, "dashboard/"+name, contentType, policyStrict)
}
