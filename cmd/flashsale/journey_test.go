package main

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// developmentFolder is a data folder whose parents the user of Postgres may enter; a test's own folder may be private.
func developmentFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "flashsale-journey-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

var printedCurl = regexp.MustCompile(`curl -i (http://\S+?)(/\S+) -H 'content-type: application/json' -d '(.*)'`)

// TestANewUsersFirstMinutes does what the README tells a new user to do.
func TestANewUsersFirstMinutes(t *testing.T) {
	env := "DATA_DIR=" + developmentFolder(t)
	p := start(t, []string{"--dev"}, env)
	eventually(t, "the greeting", func() bool { return strings.Contains(p.output.String(), "Place an order") })
	output := p.output.String()
	first, _, _ := strings.Cut(output, "\n")
	require.Regexp(t, `^stack: redis = .+ · postgres = .+`, first)
	require.Contains(t, output, p.base+"/dashboard")
	require.Contains(t, output, "admin token  "+adminToken)
	curl := printedCurl.FindStringSubmatch(output)
	require.NotNil(t, curl, "no curl in:\n%s", output)
	require.Equal(t, p.base, curl[1])

	status, placed := p.post(curl[2], curl[3])
	require.Equal(t, http.StatusCreated, status, "%v", placed)
	id, ok := placed["orderId"].(string)
	require.True(t, ok)
	eventually(t, "the order to be durable", func() bool {
		status, order := p.get("/orders/" + id)
		require.Equal(t, http.StatusOK, status)
		return order["durable"] == true
	})
	p.product("another", 0)
	require.Less(t, p.interrupt(), 5*time.Second)

	again := start(t, []string{"--dev"}, env)
	eventually(t, "the greeting", func() bool { return strings.Contains(again.output.String(), "Place an order") })
	curl = printedCurl.FindStringSubmatch(again.output.String())
	require.Contains(t, curl[3], `"demo"`, "another product is the first by its id, and has nothing to sell")
	status, order := again.get("/orders/" + id)
	require.Equal(t, http.StatusOK, status, "the second run finds the data of the first")
	require.Equal(t, "confirmed", order["status"])
	_, product := again.get(fmt.Sprintf("/inventory/%v", placed["productId"]))
	require.EqualValues(t, 1, product["soldStock"])
	status, second := again.order(fmt.Sprint(placed["productId"]), "somebody-else")
	require.Equal(t, http.StatusCreated, status, "%v", second)
	require.Less(t, again.interrupt(), 5*time.Second)
}

// TestDevelopmentEndsOnSIGTERM is a supervisor's stop of the whole stack.
func TestDevelopmentEndsOnSIGTERM(t *testing.T) {
	p := startAs(t, append(slices.Clone(closedInput), binary), []string{"--dev"}, "DATA_DIR="+developmentFolder(t))
	require.Less(t, p.end(syscall.SIGTERM), 5*time.Second)
}
