package httpapi

import (
	"github.com/fasthttp/router"
	"github.com/valyala/fasthttp"

	"flashsale/engine"
)

// scope says who may call a route. There is no default: a route without a scope is refused to everybody.
type scope int

const (
	scopeUnset   scope = iota
	scopePublic        // everybody
	scopeBuyer         // buyers' orders; whose, see caller.mayAct
	scopeMonitor       // the figures of the whole
	scopeAdmin
)

// route is one thing that clients can ask for.
type route struct {
	method string
	path   string
	scope  scope
	handle func(*Server, *fasthttp.RequestCtx)
}

// routes are all there are. Each is served below every prefix, and each GET answers HEAD too.
var routes = []route{
	{"GET", "/", scopePublic, (*Server).getIndex},
	{"POST", "/orders", scopeBuyer, (*Server).postOrder},
	{"GET", "/orders/{id}", scopeBuyer, (*Server).getOrder},
	{"POST", "/orders/{id}/confirm", scopeBuyer, (*Server).postConfirm},
	{"POST", "/orders/{id}/cancel", scopeBuyer, (*Server).postCancel},
	{"POST", "/orders/{id}/extend", scopeBuyer, (*Server).postExtend},
	{"GET", "/orders/user/{userId}", scopeBuyer, (*Server).getUserOrders},
	{"GET", "/orders/queue/{jobId}", scopeBuyer, (*Server).getJob},
	{"GET", "/orders/admin/metrics", scopeAdmin, (*Server).getOrderMetrics},
	{"GET", "/inventory", scopePublic, (*Server).getProducts},
	{"POST", "/inventory", scopeAdmin, (*Server).postProduct},
	{"GET", "/inventory/metrics", scopePublic, (*Server).getInventoryMetrics},
	{"GET", "/inventory/{productId}", scopePublic, (*Server).getProduct},
	{"GET", "/inventory/{productId}/stream", scopePublic, (*Server).getStockStream},
	{"PUT", "/inventory/{productId}", scopeAdmin, (*Server).putProduct},
	{"GET", "/monitoring/health", scopePublic, (*Server).getHealth},
	{"GET", "/monitoring/benchmark", scopeMonitor, (*Server).getBenchmark},
	{"GET", "/monitoring/metrics", scopeMonitor, (*Server).getLiveFigures},
	{"POST", "/monitoring/metrics/clear", scopeAdmin, (*Server).postClear},
	{"GET", streamPath, scopeMonitor, (*Server).getStream},
	{"GET", "/livez", scopePublic, (*Server).getLive},
	{"GET", "/readyz", scopePublic, (*Server).getReady},
	{"GET", metricsPath, scopeMonitor, (*Server).getMetrics},
	{"GET", "/dashboard", scopePublic, dashboardFile("index.html")},
	{"GET", "/dashboard/{file}", scopePublic, (*Server).getDashboardFile},
	{"GET", "/demo", scopePublic, demoFile("index.html")},
	{"GET", "/demo/{file}", scopePublic, (*Server).getDemoFile},
	{"GET", "/openapi.yaml", scopePublic, docsFile("openapi.yaml", typeYAML)},
	{"GET", "/docs", scopePublic, docsFile("docsui/index.html", typeHTML)},
	{"GET", "/docs/docs.css", scopePublic, docsFile("docsui/docs.css", typeCSS)},
	{"GET", "/docs/docs.js", scopePublic, docsFile("docsui/docs.js", typeScript)},
	{"GET", "/docs/swagger-ui.css", scopePublic, docsFile("docsui/swagger-ui.css", typeCSS)},
	{"GET", "/docs/swagger-ui-bundle.js", scopePublic, docsFile("docsui/swagger-ui-bundle.js", typeScript)},
}

// prefixes are where the routes are served: here, and where clients of the replaced system look.
var prefixes = []string{"", "/api/v1"}

// prefixOf returns the prefix that a request was served below.
func prefixOf(ctx *fasthttp.RequestCtx) string {
	path := ctx.URI().PathOriginal() // as the router reads it
	for _, prefix := range prefixes {
		if prefix != "" && len(path) > len(prefix) && string(path[:len(prefix)]) == prefix && path[len(prefix)] == '/' {
			return prefix
		}
	}
	return ""
}

var (
	errNoRoute  = &engine.Error{Code: engine.CodeNotFound, Detail: "there is nothing at this path"}
	errNoMethod = &engine.Error{Code: engine.CodeInvalidRequest, Detail: "this path does not take this method; Allow lists those it takes"}
)

func (s *Server) newRouter() *router.Router {
	r := router.New()
	r.RedirectTrailingSlash, r.RedirectFixedPath = false, false
	r.NotFound = func(ctx *fasthttp.RequestCtx) { s.refuse(ctx, errNoRoute) }
	r.MethodNotAllowed = s.refuseMethod // Allow is the router's
	r.GlobalOPTIONS = func(ctx *fasthttp.RequestCtx) { ctx.SetStatusCode(fasthttp.StatusNoContent) }
	for _, rt := range routes {
		if rt.path == metricsPath && s.config.MetricsApart {
			continue
		}
		if asksStores(rt.path) {
			rt.handle = whenOpen(rt.handle)
		}
		handler := s.scoped(rt)
		if rt.method != fasthttp.MethodGet {
			handler = s.fromOurPages(handler)
		}
		handler = s.measured(rt, handler)
		for _, prefix := range prefixes {
			path := prefix + rt.path
			if rt.path == "/" && prefix != "" {
				path = prefix
			}
			r.Handle(rt.method, path, handler)
			if rt.method == fasthttp.MethodGet {
				r.Handle(fasthttp.MethodHead, path, handler)
			}
		}
	}
	return r
}

// getIndex leads people to the page.
func (s *Server) getIndex(ctx *fasthttp.RequestCtx) {
	path := ctx.URI().PathOriginal()
	if path[len(path)-1] == '/' {
		path = path[:len(path)-1]
	}
	ctx.Response.Header.Set(fasthttp.HeaderLocation, string(path)+"/dashboard")
	ctx.SetStatusCode(fasthttp.StatusFound)
}
