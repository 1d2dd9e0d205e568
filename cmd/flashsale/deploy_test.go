package main

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack/devtest"
)

var repository = filepath.Join("..", "..")

func fileOf(t testing.TB, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{repository}, path...)...))
	require.NoError(t, err)
	return string(text)
}

// tool runs a program that deploy/install-deps.sh test installs, in a folder of the repository.
func tool(t testing.TB, folder, input string, env []string, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = filepath.Join(repository, folder)
	cmd.Stdin = strings.NewReader(input)
	cmd.Env = append(os.Environ(), env...)
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", cmd, said)
	return string(said)
}

func TestPrometheusReadsItsFiles(t *testing.T) {
	const folder = "deploy/prometheus"
	tool(t, folder, "", nil, "promtool", "check", "config", "prometheus.yml")
	tool(t, folder, "", nil, "promtool", "test", "rules", "rules_test.yml", "rules_hours_test.yml")
}

var alertBlock = regexp.MustCompile(`(?m)^      - alert: (\w+)\n(?:        .*\n)+`)

// TestEveryAlertIsTestedAndSaysWhatToDo holds the alerts against their unit tests, the runbook and the metrics.
func TestEveryAlertIsTestedAndSaysWhatToDo(t *testing.T) {
	rules, runbook := fileOf(t, "deploy/prometheus/rules.yml"), fileOf(t, "docs/runbook.md")
	tests := fileOf(t, "deploy/prometheus/rules_test.yml") + "\n" + fileOf(t, "deploy/prometheus/rules_hours_test.yml")
	known := knownMetrics(t)
	alerts := alertBlock.FindAllStringSubmatch(rules, -1)
	require.Len(t, alerts, strings.Count(rules, "- alert:"))
	for _, alert := range alerts {
		block, name := alert[0], alert[1]
		anchor := strings.ToLower(name)
		require.Contains(t, block, "runbook_url: docs/runbook.md#"+anchor+"\n")
		require.Contains(t, runbook, "\n## "+name+"\n", "the runbook has an entry for each alert")
		_, cases, found := strings.Cut(tests, "\n  - name: "+name+"\n")
		require.True(t, found, "%s has a unit test", name)
		cases, _, _ = strings.Cut(cases, "\n  - name: ")
		require.Contains(t, cases, "exp_alerts: []", "%s is not always on", name)
		require.Contains(t, cases, "- exp_labels:", "%s fires", name)
		requireKnown(t, known, block, name)
	}
	for _, entry := range regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(runbook, -1) {
		require.Contains(t, rules, "alert: "+entry[1]+"\n", "the runbook's entry is about an alert that exists")
	}
}

var (
	metricRow  = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (\\w+) \\|")
	metricName = regexp.MustCompile(`\b(?:flashsale|go|process)_[a-z_]+\b`)
)

// knownMetrics are the series of docs/metrics.md, which TestMetricsForPrometheus holds against a service.
func knownMetrics(t testing.TB) map[string]bool {
	t.Helper()
	known := make(map[string]bool)
	for _, row := range metricRow.FindAllStringSubmatch(fileOf(t, "docs/metrics.md"), -1) {
		if row[2] != "histogram" {
			known[row[1]] = true
			continue
		}
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			known[row[1]+part] = true
		}
	}
	require.NotEmpty(t, known)
	return known
}

func requireKnown(t testing.TB, known map[string]bool, text, where string) {
	t.Helper()
	names := metricName.FindAllString(text, -1)
	for _, name := range names {
		require.True(t, known[name], "%s asks for %s, which docs/metrics.md does not have", where, name)
	}
}

// TestTheImageIsBuiltByTheProfile that `make build` takes and `make profile` measures.
func TestTheImageIsBuiltByTheProfile(t *testing.T) {
	named := regexp.MustCompile(`(?m)^PROFILE +:= (\S+)$`).FindStringSubmatch(fileOf(t, "Makefile"))
	require.Len(t, named, 2)
	require.FileExists(t, filepath.Join(repository, named[1]))
	require.Contains(t, fileOf(t, "deploy/Dockerfile"), " -pgo="+named[1]+" ")
}

// TestTheImageListensWhereItCanBeReached: its port is published, or asked by an orchestrator, from outside of the container.
func TestTheImageListensWhereItCanBeReached(t *testing.T) {
	image := fileOf(t, "deploy/Dockerfile")
	require.Regexp(t, `(?m)^EXPOSE 3000$`, image)
	require.Regexp(t, `(?m)^ENV (.* )?HOST=0\.0\.0\.0$`, image)
}

// TestComposeFile has docker-compose read the file. Debian's (1.29) knows all of it but the project's name.
func TestComposeFile(t *testing.T) {
	file := strings.Replace(fileOf(t, "docker-compose.yml"), "\nname: flashsale\n", "\n", 1)
	config := tool(t, ".", file, []string{"ADMIN_TOKEN=of-the-environment", "REDIS_PASSWORD=of-redis"},
		"docker-compose", "-f", "-", "--project-directory", ".", "--profile", "app", "config")
	for _, service := range []string{"redis", "postgres", "migrate", "flashsale", "prometheus", "grafana"} {
		require.Contains(t, config, "\n  "+service+":\n")
	}
	for _, want := range []string{
		"ADMIN_TOKEN: of-the-environment", "REDIS_URL: redis://flashsale:of-redis@redis:6379", "REDIS_PASSWORD: of-redis",
		"127.0.0.1:3000:3000/tcp", "127.0.0.1:9090:9090/tcp", "127.0.0.1:3001:3000/tcp", "read_only: true", "METRICS_ADDR: 0.0.0.0:9464",
	} {
		require.Contains(t, config, want)
	}
	require.Regexp(t, `(?m)^    - --maxmemory\n    - 2gb$`, config, "or the kernel kills Redis rather than Redis refuse an order")
	require.NotContains(t, config, "0.0.0.0:3000:", "whoever is on the network may not order")
	mounts := regexp.MustCompile(regexp.QuoteMeta(absolute(t, repository))+`(/\S+):/\S+:ro`).FindAllStringSubmatch(config, -1)
	require.Len(t, mounts, 4)
	for _, mount := range mounts {
		require.DirExists(t, filepath.Join(repository, mount[1]))
	}
	require.Contains(t, fileOf(t, "deploy/prometheus/prometheus.yml"), "flashsale:9464", "Prometheus asks where METRICS_ADDR listens")
}

// TestComposeHandsSettingsOn: what somebody wrote into .env is not silently left out, but for what these containers fix.
func TestComposeHandsSettingsOn(t *testing.T) {
	fixed := []string{
		"REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD", "REDIS_PREFIX", // users.acl has one prefix
		"DATABASE_URL", "DATABASE_HOST", "DATABASE_PORT", "DATABASE_USERNAME", "DATABASE_PASSWORD", "DATABASE_NAME",
		"HOST", "PORT", "NODE_ENV", "METRICS_ADDR", "DATA_DIR", "API_KEYS_FILE", // a file takes a mount
	}
	compose := fileOf(t, "docker-compose.yml")
	settings := regexp.MustCompile(`(?m)^#?([A-Z][A-Z_]+)=`).FindAllStringSubmatch(fileOf(t, ".env.example"), -1)
	require.NotEmpty(t, settings)
	for _, setting := range settings {
		if !slices.Contains(fixed, setting[1]) {
			require.Regexp(t, `\n      `+setting[1]+`:(\n| \$\{`+setting[1]+`[:}])`, compose)
		}
	}
}

func absolute(t testing.TB, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	require.NoError(t, err)
	return path
}

// Passwords of the users of redisWithUsers.
var redisPasswords = map[string]string{"flashsale": "canary-of-redis", "admin": "canary-of-the-admin"}

// redisWithUsers starts a Redis with deploy's users.
func redisWithUsers(t testing.TB) *devtest.RedisServer {
	t.Helper()
	users := fileOf(t, "deploy/redis/users.acl")
	for place, password := range map[string]string{
		"SERVICE_PASSWORD_SHA256": redisPasswords["flashsale"], "ADMIN_PASSWORD_SHA256": redisPasswords["admin"],
	} {
		require.Contains(t, users, "#"+place)
		hash := sha256.Sum256([]byte(password))
		users = strings.Replace(users, place, hex.EncodeToString(hash[:]), 1)
	}
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "users.acl"), []byte(users), 0o644))
	return devtest.Redis(t, "aclfile "+filepath.Join(dir, "users.acl"))
}

func as(server *devtest.RedisServer, user string) string {
	return strings.Replace(server.URL(), "unix://", "unix://"+user+":"+redisPasswords[user]+"@", 1)
}

// TestTheServiceNeedsNoMoreThanItsRedisUserMayDo sells, holds, confirms, drains, changes stock and starts again as that user.
func TestTheServiceNeedsNoMoreThanItsRedisUserMayDo(t *testing.T) {
	redis := redisWithUsers(t)
	stores := newStores(t)
	env := []string{"REDIS_URL=" + as(redis, "flashsale"), "DATABASE_URL=" + stores.dbURL, "ORDER_GRACE=5s"}
	p := start(t, nil, env...)
	p.product("phone", 5)
	status, _ := p.order("phone", "ann")
	require.Equal(t, http.StatusCreated, status)
	status, held := p.post("/orders", `{"productId":"phone","userId":"ben","quantity":2,"holdSeconds":60}`)
	require.Equal(t, http.StatusCreated, status, "%v", held)
	status, _ = p.post("/orders/"+held["orderId"].(string)+"/confirm", "")
	require.Equal(t, http.StatusOK, status)
	status, keyed := p.post("/orders", `{"productId":"phone","userId":"cem","quantity":1,"holdSeconds":1}`)
	require.Equal(t, http.StatusCreated, status, "%v", keyed)
	status, _ = p.do(http.MethodPut, "/inventory/phone", `{"adjustStock":3}`)
	require.Equal(t, http.StatusOK, status)
	for _, path := range []string{"/inventory", "/inventory/metrics", "/orders/user/ann", "/orders/" + held["orderId"].(string)} {
		status, _ = p.get(path)
		require.Equal(t, http.StatusOK, status, path)
	}
	eventually(t, "the hold to expire and all to be drained", func() bool {
		return stores.count(t, `SELECT count(*) FROM orders WHERE status <> 'pending'`) == 3
	})
	require.Contains(t, p.scrape(), "flashsale_sample_failures_total 0\n")
	for _, args := range [][]string{nil, {"--rebuild"}} {
		compared := runReconcile(t, env, args...)
		require.Zero(t, compared.code, "reconcile %v as the same user: %s%s", args, compared.output, compared.problems)
	}
	p.interrupt()

	p = start(t, nil, env...) // adopts, which rewrites the append-only file
	status, _ = p.order("phone", "dan")
	require.Equal(t, http.StatusCreated, status)

	require.Zero(t, askRedis(t, redis, "admin", "ACL", "LOG").arrayLen(t), "Redis refused the service nothing")
	for _, command := range [][]string{
		{"FLUSHALL"},
		{"KEYS", "*"},
		{"CONFIG", "GET", "*"},
		{"CONFIG", "SET", "maxmemory", "1"},
		{"SHUTDOWN"},
		{"ACL", "LIST"},
		{"REPLICAOF", "NO", "ONE"},
		{"GET", "fs:x"},
		{"HGET", "other:x", "y"},
		{"PUBLISH", "fs:x", "y"},
	} {
		require.ErrorContains(t, askRedis(t, redis, "flashsale", command...).Error(), "NOPERM", "%v", command)
	}
}

// TestWhatRedisDidOutlivesItWithItsUsers: Redis reads its append-only file as the user `default`, and leaves out each
// transaction, as which it writes down a script, that this user may not do.
func TestWhatRedisDidOutlivesItWithItsUsers(t *testing.T) {
	redis := redisWithUsers(t)
	script := `redis.call('HSET', KEYS[1], 'units', 1) redis.call('HSET', KEYS[2], 'units', 2)`
	require.ErrorIs(t, askRedis(t, redis, "flashsale", "EVAL", script, "2", "fs:a", "fs:b").Error(), rueidis.Nil)
	require.NoError(t, redis.Kill())
	require.NoError(t, redis.Restart(t.Context()))
	for key, units := range map[string]string{"fs:a": "1", "fs:b": "2"} {
		kept, err := askRedis(t, redis, "flashsale", "HGET", key, "units").ToString()
		require.NoError(t, err, key)
		require.Equal(t, units, kept)
	}

	for _, login := range []string{"", "default:@", "default:x@"} { // that user may do all, so nobody may be it
		option, err := rueidis.ParseURL(strings.Replace(redis.URL(), "unix://", "unix://"+login, 1))
		require.NoError(t, err)
		option.DisableCache = true
		_, err = rueidis.NewClient(option)
		require.Regexp(t, "NOAUTH|WRONGPASS", err, login)
	}
}

// redisReply is what a user was answered.
type redisReply struct{ rueidis.RedisResult }

func (r redisReply) arrayLen(t testing.TB) int {
	t.Helper()
	entries, err := r.ToArray()
	require.NoError(t, err)
	return len(entries)
}

// askRedis has a user of deploy/redis/users.acl ask one thing.
func askRedis(t testing.TB, server *devtest.RedisServer, user string, command ...string) redisReply {
	t.Helper()
	option, err := rueidis.ParseURL(as(server, user))
	require.NoError(t, err)
	option.DisableCache = true
	client, err := rueidis.NewClient(option)
	require.NoError(t, err)
	defer client.Close()
	return redisReply{client.Do(t.Context(), client.B().Arbitrary(command...).Build())}
}

func TestHealthOfAContainer(t *testing.T) {
	stores := newStores(t)
	p := start(t, nil, stores.env()...)
	health := func(args ...string) (string, error) {
		cmd := exec.Command(binary, append([]string{"health", "--port", p.base[strings.LastIndex(p.base, ":")+1:]}, args...)...)
		cmd.Env = []string{"HOST=0.0.0.0"}
		cmd.Dir = t.TempDir()
		said, err := cmd.CombinedOutput()
		return string(said), err
	}
	said, err := health()
	require.NoError(t, err, said)
	require.Equal(t, "ok\n", said)
	said, err = health("--ready")
	require.NoError(t, err, said)
	require.Contains(t, said, `"status":"ready"`)
	require.NoError(t, stores.redis.Pause())
	t.Cleanup(func() { _ = stores.redis.Resume() })
	eventually(t, "the checks, which are told again for a second, to fail", func() bool {
		said, err = health("--ready")
		return err != nil
	})
	require.Contains(t, said, "503")
	said, err = health()
	require.NoError(t, err, "a process that answers is not to be restarted: %s", said)
	p.kill()
	_, err = health()
	require.Error(t, err)
}
