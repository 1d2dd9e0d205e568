package engine

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

// A Redis whose user default may not do what scripts did would leave it out when it reads its file.
func TestTheUserWhoReadsTheFileIsLookedAt(t *testing.T) {
	server := devtest.Redis(t)
	set := func(rules string) {
		t.Helper()
		client := connectTo(t, strings.Replace(server.URL(), "unix://", "unix://admin:x@", 1))
		command := append([]string{"ACL", "SETUSER"}, strings.Fields(rules)...)
		require.NoError(t, client.Do(t.Context(), client.B().Arbitrary(command...).Build()).Error())
	}
	admin := connectTo(t, server.URL())
	require.NoError(t, admin.Do(t.Context(), admin.B().Arbitrary("ACL", "SETUSER", "admin", "on", "nopass", "~*", "+@all").Build()).Error())
	set("shop on nopass ~* +@all")
	shop := connectTo(t, strings.Replace(server.URL(), "unix://", "unix://shop:x@", 1))
	told := func() (said string) {
		checkReplay(t.Context(), shop, func(_, why string) { said += why })
		return said
	}
	require.Empty(t, told())
	set("default off resetkeys")
	require.Contains(t, told(), "no permissions")
	set("default off ~* -@all")
	require.Contains(t, told(), "no permissions")
	set("default reset off ~* &* +@all")
	require.Empty(t, told())
	set("default off -@all")
	set("shop -acl|dryrun")
	require.Empty(t, told(), "nobody can say")
}
