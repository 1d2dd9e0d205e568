package main

import (
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBenchOverTLS sells behind a gateway with a certificate of its own and a path of its own.
func TestBenchOverTLS(t *testing.T) {
	t.Parallel()
	p := start(t, nil, newStores(t).env()...)
	service, err := url.Parse(p.base)
	require.NoError(t, err)
	gateway := httptest.NewUnstartedServer(http.StripPrefix("/shop", httputil.NewSingleHostReverseProxy(service)))
	gateway.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // who does not trust it hangs up
	gateway.StartTLS()
	defer gateway.Close()
	trusted := filepath.Join(t.TempDir(), "gateway.pem")
	require.NoError(t, os.WriteFile(trusted, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: gateway.Certificate().Raw}), 0o600))

	for certificates, says := range map[string]string{"": "certificate signed by unknown authority", trusted: "sold exactly: 20 of 20"} {
		sale := exec.CommandContext(t.Context(), binary, "bench", "run", "--target="+gateway.URL+"/shop/", "--buyers=30", "--units=20", "--connections=4")
		sale.Dir, sale.Env = t.TempDir(), []string{"ADMIN_TOKEN=" + adminToken, "SSL_CERT_FILE=" + certificates}
		said, err := sale.CombinedOutput()
		require.Equal(t, certificates == trusted, err == nil, "%s", said)
		require.Contains(t, string(said), says)
	}
}
