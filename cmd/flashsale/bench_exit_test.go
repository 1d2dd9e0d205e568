package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fastjson"

	"flashsale/bench"
)

// TestBenchExitCodes of sales through a proxy that swallows the answer to one order, and may not hand out its buyer's list.
func TestBenchExitCodes(t *testing.T) {
	p := start(t, nil, newStores(t).env()...)
	service, err := url.Parse(p.base)
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		losesList  bool
		code       int
		found      int64
		unresolved int64
	}{
		"found in its buyer's list": {false, 0, 1, 0},
		"nobody can tell":           {true, exitUntold, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			forward := httputil.NewSingleHostReverseProxy(service)
			var orders atomic.Int64
			var buyer atomic.Value
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch isOrder := r.Method == http.MethodPost && r.URL.Path == "/orders"; {
				case isOrder && orders.Add(1) == 7:
					body, _ := io.ReadAll(r.Body)
					buyer.Store(fastjson.GetString(body, "userId"))
					r.Body = io.NopCloser(bytes.NewReader(body))
					forward.ServeHTTP(httptest.NewRecorder(), r)
					w.WriteHeader(http.StatusBadGateway)
				case tt.losesList && r.URL.Path == fmt.Sprint("/orders/user/", buyer.Load()):
					w.WriteHeader(http.StatusBadGateway)
				default:
					forward.ServeHTTP(w, r)
				}
			}))
			defer proxy.Close()
			sale := exec.Command(binary, "bench", "run", "--json", "--target="+proxy.URL, "--buyers=30", "--units=50", "--connections=4", "--ledger-wait=2s")
			sale.Dir, sale.Env, sale.Stderr = t.TempDir(), []string{"ADMIN_TOKEN=" + adminToken}, os.Stderr
			out, err := sale.Output()
			require.Equal(t, tt.code, sale.ProcessState.ExitCode(), "%v", err)
			var report bench.Report
			require.NoError(t, json.Unmarshal(out, &report))
			require.Equal(t, tt.code == 0, report.Proven)
			require.True(t, report.Checked)
			require.Equal(t, []int64{tt.found, tt.unresolved}, []int64{report.Found, report.Unresolved})
		})
	}
}
