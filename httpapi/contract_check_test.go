package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/require"
)

// contract holds requests and answers against the description, and notes what of it they have shown.
type contract struct {
	doc    *openapi3.T
	router routers.Router
	seen   map[string]bool // as by promises
}

func newContract(t *testing.T) *contract {
	t.Helper()
	doc := description(t)
	openapi3filter.RegisterBodyDecoder("text/event-stream", func(body io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
		text, err := io.ReadAll(body)
		return string(text), err
	})
	router, err := gorillamux.NewRouter(doc)
	require.NoError(t, err)
	return &contract{doc: doc, router: router, seen: make(map[string]bool)}
}

// everyAnswer are headers that say nothing about a route.
var everyAnswer = []string{
	"Cache-Control", "Connection", "Content-Length", "Content-Security-Policy", "Content-Type", "Date", "Referrer-Policy",
	"X-Content-Type-Options", "X-Request-Id",
}

// errNoCredentials refuses a request without a token where the description asks for one.
var errNoCredentials = errors.New("no Authorization")

func authenticate(_ context.Context, input *openapi3filter.AuthenticationInput) error {
	if input.RequestValidationInput.Request.Header.Get("Authorization") == "" {
		return errNoCredentials
	}
	return nil
}

// check sends what a case asks for and holds request and answer against the description.
func (c *contract) check(t *testing.T, h *harness, cs *contractCase, target string) {
	t.Helper()
	request, err := http.NewRequest(cs.method(), "http://"+h.address+target, strings.NewReader(cs.body))
	require.NoError(t, err)
	request.Header = cs.header()
	route, values, err := c.router.FindRoute(request)
	require.NoError(t, err)
	require.Equal(t, cs.operation, route.Method+" "+route.Path)
	asked := &openapi3filter.RequestValidationInput{
		Request: request, PathParams: values, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: authenticate, RejectWhenRequestBodyNotSpecified: true, SkipSettingDefaults: true},
	}
	err = openapi3filter.ValidateRequest(t.Context(), asked)
	if cs.bad {
		require.Error(t, err, "the description allows this request")
	} else {
		require.NoError(t, err, "the description does not allow this request")
		c.observeRequest(t, route.Operation, cs.body)
	}

	headers := slices.Clone(cs.headers)
	if strings.HasPrefix(target, "/api/v1") { // one with, one without
		headers = append(headers, "X-Request-Id", "of-the-contract")
	}
	got := h.send(cs.method(), target, cs.body, headers...)
	require.Equal(t, cs.status, got.status, "body: %s", got.body)
	require.True(t, len(headers) == len(cs.headers) || got.header.Get("X-Request-Id") == "of-the-contract")
	require.NoError(t, openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: asked, Status: got.status, Header: got.header, Body: io.NopCloser(strings.NewReader(got.body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}), "body: %s", got.body)
	c.observeAnswer(t, cs, route.Operation, got)
}

func (c *contract) observeRequest(t *testing.T, operation *openapi3.Operation, body string) {
	t.Helper()
	if body != "" {
		c.observe(operation.RequestBody.Value.Content.Get("application/json").Schema, decodeJSON(t, body))
	}
}

func (c *contract) observeAnswer(t *testing.T, cs *contractCase, operation *openapi3.Operation, got reply) {
	t.Helper()
	response := operation.Responses.Status(got.status).Value
	name := fmt.Sprintf("%s %d", cs.operation, got.status)
	c.seen[name] = true
	described := make(map[string]bool)
	for header := range response.Headers {
		described[http.CanonicalHeaderKey(header)] = true
	}
	for header := range got.header {
		if !slices.Contains(everyAnswer, header) {
			require.Contains(t, described, header, "a header that the description does not have")
			c.seen[name+" header "+header] = true
		}
	}
	if got.header.Get("Content-Type") == "text/event-stream" {
		c.checkEvent(t, "Availability", got.body)
	}
	media := response.Content.Get(got.header.Get("Content-Type"))
	if media == nil || media.Schema == nil || !strings.Contains(got.header.Get("Content-Type"), "json") {
		return
	}
	value := decodeJSON(t, got.body)
	c.observe(media.Schema, value)
	if problem, ok := value.(map[string]any); ok && problem["code"] != nil {
		require.EqualValues(t, got.status, problem["status"])
		require.Equal(t, "urn:flashsale:problem:"+fmt.Sprint(problem["code"]), problem["type"])
		c.seen[fmt.Sprintf("%s code %s", name, problem["code"])] = true
	}
}

// checkEvent holds the data of an event against a schema.
func (c *contract) checkEvent(t *testing.T, schema, event string) {
	t.Helper()
	_, data, _ := strings.Cut(event, "\ndata: ")
	value, ref := decodeJSON(t, strings.TrimSpace(data)), c.doc.Components.Schemas[schema]
	require.NoError(t, ref.Value.VisitJSON(value, openapi3.EnableJSONSchema2020()), "data: %s", data)
	c.observe(&openapi3.SchemaRef{Ref: "#/components/schemas/" + schema, Value: ref.Value}, value)
}

// observe notes which members of the schemas a value has.
func (c *contract) observe(ref *openapi3.SchemaRef, value any) {
	if ref == nil {
		return
	}
	for _, part := range ref.Value.AllOf {
		c.observe(part, value)
	}
	switch value := value.(type) {
	case []any:
		for _, item := range value {
			c.observe(ref.Value.Items, item)
		}
	case map[string]any:
		for name, member := range value {
			if ref.Ref != "" {
				c.seen[path.Base(ref.Ref)+"."+name] = true
			}
			c.observe(ref.Value.Properties[name], member)
		}
	}
}

// promises lists all that the description says can be met: each answer of each operation, each of its headers, each code
// that it may have, and each member of each schema.
func (c *contract) promises(t *testing.T) []string {
	t.Helper()
	var all []string
	for name, operation := range operationsOf(c.doc) {
		for status, response := range operation.Responses.Map() {
			answer := name + " " + status
			all = append(all, answer)
			for header := range response.Value.Headers {
				all = append(all, answer+" header "+http.CanonicalHeaderKey(header))
			}
			if media := response.Value.Content.Get("application/problem+json"); media != nil {
				codes := codesOf(media.Schema)
				require.NotEmpty(t, codes, "%s says which codes there are", answer)
				for _, code := range codes {
					all = append(all, answer+" code "+code)
				}
			}
		}
	}
	for name, schema := range c.doc.Components.Schemas {
		for member := range schema.Value.Properties {
			all = append(all, name+"."+member)
		}
	}
	return all
}

// codesOf returns the codes that the schema of a problem document allows.
func codesOf(schema *openapi3.SchemaRef) (codes []string) {
	for _, part := range schema.Value.AllOf {
		code := part.Value.Properties["code"]
		if code == nil {
			continue
		}
		if only, ok := code.Value.Const.(string); ok {
			codes = append(codes, only)
		}
		for _, one := range code.Value.Enum {
			codes = append(codes, fmt.Sprint(one))
		}
	}
	return codes
}

// requireKept fails where a promise was not seen, but for those that stand beside a reason.
func (c *contract) requireKept(t *testing.T, except map[string]string) {
	t.Helper()
	var unseen []string
	for _, promise := range c.promises(t) {
		if !c.seen[promise] && except[promise] == "" {
			unseen = append(unseen, promise)
		}
	}
	slices.Sort(unseen)
	require.Empty(t, unseen, "the description promises what no case shows")
	for promise := range maps.Keys(except) {
		require.False(t, c.seen[promise], "%s is shown after all", promise)
		require.Contains(t, c.promises(t), promise)
	}
}

func decodeJSON(t *testing.T, text string) (value any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), &value), "%s", text)
	return value
}
