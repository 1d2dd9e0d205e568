package httpapi

// RouteOf is a route of the table, for the tests of the API's description.
type RouteOf struct {
	Method, Path  string
	Public, Admin bool // who may call it; neither = buyers or monitors
}

// Routes returns the table.
func Routes() []RouteOf {
	var all []RouteOf
	for _, rt := range routes {
		all = append(all, RouteOf{rt.method, rt.path, rt.scope == scopePublic, rt.scope == scopeAdmin})
	}
	return all
}

// Prefixes are where the routes are served.
func Prefixes() []string { return prefixes }
