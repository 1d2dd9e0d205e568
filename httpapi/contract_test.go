package httpapi_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"flashsale/httpapi"
)

// description loads openapi.yaml, which must be a sound document: its examples match its schemas too.
func description(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("openapi.yaml")
	require.NoError(t, err)
	require.NoError(t, doc.Validate(t.Context()))
	return doc
}

// operationsOf lists what a document describes, as "METHOD /path".
func operationsOf(doc *openapi3.T) map[string]*openapi3.Operation {
	all := make(map[string]*openapi3.Operation)
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			all[method+" "+path] = operation
		}
	}
	return all
}

// partOfPage tells which routes are no interface of their own: the files that the pages are made of.
func partOfPage(path string) bool {
	return strings.HasPrefix(path, "/dashboard/") || strings.HasPrefix(path, "/demo/") || strings.HasPrefix(path, "/docs/")
}

func TestEveryRouteIsDescribed(t *testing.T) {
	var served []string
	for _, rt := range httpapi.Routes() {
		if !partOfPage(rt.Path) {
			served = append(served, rt.Method+" "+rt.Path)
		}
	}
	slices.Sort(served)
	require.Equal(t, served, slices.Sorted(maps.Keys(operationsOf(description(t)))))
}

func TestTheDescriptionsServersAreWhereTheRoutesAre(t *testing.T) {
	var urls, want []string
	for _, server := range description(t).Servers {
		urls = append(urls, server.URL)
	}
	for _, prefix := range httpapi.Prefixes() {
		want = append(want, max(prefix, "/"))
	}
	require.Equal(t, want, urls)
}

// Whoever reads the description learns who may call: an empty list is everybody, {} is whoever comes without a token.
func TestTheDescriptionSaysWhoMayCall(t *testing.T) {
	operations := operationsOf(description(t))
	for _, rt := range httpapi.Routes() {
		if partOfPage(rt.Path) {
			continue
		}
		name := rt.Method + " " + rt.Path
		security := operations[name].Security
		require.NotNil(t, security, name)
		require.Equal(t, rt.Public, len(*security) == 0, "%s is for everybody", name)
		withoutToken := slices.ContainsFunc(*security, func(r openapi3.SecurityRequirement) bool { return len(r) == 0 })
		require.Equal(t, !rt.Public && !rt.Admin, withoutToken, "%s asks for no token where AUTH=none", name)
	}
}

func TestTheDescriptionIsServed(t *testing.T) {
	h := start(t, httpapi.Config{})
	for _, prefix := range httpapi.Prefixes() {
		got := h.send("GET", prefix+"/openapi.yaml", "")
		require.Equal(t, 200, got.status)
		require.Equal(t, "application/yaml", got.header.Get("Content-Type"))
		doc, err := openapi3.NewLoader().LoadFromData([]byte(got.body))
		require.NoError(t, err)
		require.Equal(t, "flashsale", doc.Info.Title)
	}
}
