package devstack

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEnvironmentIsUsedUntouched(t *testing.T) {
	tests := []struct {
		name        string
		env         map[string]string
		redis       string
		database    string
		description string
		psql        string
	}{
		{
			name: "URLs",
			env: map[string]string{
				"REDIS_URL":    "redis://:secret@10.0.0.1:6379,10.0.0.2:6379",
				"DATABASE_URL": "postgres://u:secret@db:5433/x?sslmode=require",
			},
			redis:       "redis://:secret@10.0.0.1:6379,10.0.0.2:6379",
			database:    "postgres://u:secret@db:5433/x?sslmode=require",
			description: "stack: redis = REDIS_URL (redis://:xxxxx@10.0.0.1:6379,10.0.0.2:6379) · postgres = DATABASE_URL (postgres://u:xxxxx@db:5433/x?sslmode=require)",
			psql:        `psql "$DATABASE_URL"`,
		},
		{
			name: "keyword form",
			env: map[string]string{
				"REDIS_URL":    "10.0.0.1:6379",
				"DATABASE_URL": "host=db password=secret dbname=x",
			},
			redis:       "10.0.0.1:6379",
			database:    "host=db password=secret dbname=x",
			description: "stack: redis = REDIS_URL (xxxxx) · postgres = DATABASE_URL (host=db password=xxxxx dbname=x)",
			psql:        `psql "$DATABASE_URL"`,
		},
		{
			name: "single names",
			env: map[string]string{
				"REDIS_HOST": "cache", "REDIS_PORT": "6380", "REDIS_PASSWORD": "p@ss",
				"DATABASE_HOST": "db", "DATABASE_PORT": "5433", "DATABASE_USERNAME": "u",
				"DATABASE_PASSWORD": "p@ss", "DATABASE_NAME": "shop",
			},
			redis:       "redis://:p%40ss@cache:6380",
			database:    "postgres://u:p%40ss@db:5433/shop",
			description: "stack: redis = REDIS_HOST (redis://:xxxxx@cache:6380) · postgres = DATABASE_HOST (postgres://u:xxxxx@db:5433/shop)",
			psql:        `PGPASSWORD="$DATABASE_PASSWORD" psql 'postgres://u@db:5433/shop'`,
		},
		{
			name:        "hosts only",
			env:         map[string]string{"REDIS_HOST": "cache", "DATABASE_HOST": "db"},
			redis:       "redis://cache:6379",
			database:    "postgres://postgres@db:5432/flashsale",
			description: "stack: redis = REDIS_HOST (redis://cache:6379) · postgres = DATABASE_HOST (postgres://postgres@db:5432/flashsale)",
			psql:        `psql 'postgres://postgres@db:5432/flashsale'`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			stack, err := Start(t.Context(), Options{Getenv: func(name string) string { return test.env[name] }, finder: &finder{}})
			require.NoError(t, err)
			assert.Equal(t, test.redis, stack.RedisURL())
			assert.Equal(t, test.database, stack.DatabaseURL())
			assert.Equal(t, test.description, stack.String())
			assert.Equal(t, test.psql, stack.PsqlCommand())
			require.NoError(t, stack.Close())
		})
	}
}

func TestNothingInstalledNamesTheInstallLine(t *testing.T) {
	nothing := func(string) string { return "" }
	_, err := Start(t.Context(), Options{Getenv: nothing, finder: &finder{}})
	require.ErrorIs(t, err, ErrNotInstalled)
	require.ErrorContains(t, err, "install: "+installLine(true, true))
	require.ErrorContains(t, err, "DATABASE_URL=")

	_, err = Start(t.Context(), Options{Getenv: private, finder: &finder{postgresDirs: systemFinder("").postgresDirs}})
	require.ErrorIs(t, err, ErrNotInstalled)
	require.ErrorContains(t, err, "install: "+installLine(true, false))
	assert.NotContains(t, err.Error(), "PostgreSQL", "only what is missing is named")
}

func TestInstallLine(t *testing.T) {
	apt, brew := packagers[0], packagers[len(packagers)-1]
	assert.Equal(t, "apt-get update && apt-get install -y redis-server postgresql", apt.line(true, true, false))
	assert.Equal(t, "sudo apt-get update && sudo apt-get install -y postgresql", apt.line(false, true, true))
	assert.Equal(t, "brew install redis", brew.line(true, false, true), "Homebrew refuses sudo")
}

// fakeProgram is a server that can only tell its version.
func fakeProgram(t *testing.T, dir, name, version string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho '"+version+"'\n"), 0o755))
}

func TestFinderPassesOldReleasesOver(t *testing.T) {
	root := t.TempDir()
	fakeProgram(t, filepath.Join(root, "old"), "redis-server", "Redis server v=6.0.16 sha=00000000:0 bits=64")
	fakeProgram(t, filepath.Join(root, "new"), "valkey-server", "Valkey server v=8.1.3 sha=00000000:0 bits=64")
	f := &finder{path: filepath.Join(root, "old"), redisDirs: []string{filepath.Join(root, "new")}}
	found, _ := f.redis(t.Context())
	assert.Equal(t, &program{path: filepath.Join(root, "new", "valkey-server"), name: "valkey-server", version: "8.1.3", major: 8}, found)

	f.redisDirs = nil
	found, tooOld := f.redis(t.Context())
	assert.Nil(t, found)
	assert.Equal(t, []string{filepath.Join(root, "old", "redis-server") + " is 6.0.16, 7.0 or later is needed; newer packages: https://redis.io/downloads"}, tooOld)
}

func TestFinderTakesPostgresFromOneFolder(t *testing.T) {
	root := t.TempDir()
	for _, version := range []string{"9", "14", "16", "17"} {
		dir := filepath.Join(root, "lib", version, "bin")
		fakeProgram(t, dir, "initdb", "initdb (PostgreSQL) "+version+".2")
		fakeProgram(t, dir, "postgres", "postgres (PostgreSQL) "+version+".2")
	}
	require.NoError(t, os.Remove(filepath.Join(root, "lib", "17", "bin", "postgres")))
	require.NoError(t, os.MkdirAll(filepath.Join(root, "path"), 0o755))
	require.NoError(t, os.Symlink(filepath.Join(root, "lib", "14", "bin", "initdb"), filepath.Join(root, "path", "initdb")))

	f := &finder{path: filepath.Join(root, "path"), postgresDirs: []string{filepath.Join(root, "lib", "*", "bin")}}
	found, tooOld := f.postgres(t.Context())
	require.Len(t, found, 2)
	assert.Equal(t, program{path: filepath.Join(root, "lib", "14", "bin"), name: "PostgreSQL", version: "14.2", major: 14}, found[0])
	assert.Equal(t, 16, found[1].major)
	assert.Len(t, tooOld, 1)

	data := t.TempDir()
	assert.Equal(t, 14, withData(found, data).major, "the first where there is no data")
	require.NoError(t, os.MkdirAll(filepath.Join(data, "postgres-16", "data"), 0o755))
	assert.Equal(t, 16, withData(found, data).major, "the one whose data is there")
}

func TestDefaultDataDir(t *testing.T) {
	given := func(name string) string { return map[string]string{"DATA_DIR": "/x"}[name] }
	assert.Equal(t, "/x", defaultDataDir(given))
	home := func(name string) string { return map[string]string{"HOME": "/home/u"}[name] }
	if os.Geteuid() == 0 {
		assert.Equal(t, rootDataDir, defaultDataDir(home))
	} else {
		assert.Contains(t, defaultDataDir(home), "/home/u/")
	}
}

// composeScript is a docker that has an engine and compose, and writes down what
// it was asked. Like ours, its file needs a token.
const composeScript = `#!/bin/sh
echo "$*" >>"$0.log"
case "$*" in
compose*) : "${ADMIN_TOKEN:?set ADMIN_TOKEN}" ;;
esac
case "$*" in
info*) echo 27.0 ;;
*" ps "*) echo redis ;;
*" port redis "*) echo 127.0.0.1:6379 ;;
*" port postgres "*) echo 127.0.0.1:5432 ;;
esac
`

func TestDockerCompose(t *testing.T) {
	dir := t.TempDir()
	docker := filepath.Join(dir, "docker")
	require.NoError(t, os.WriteFile(docker, []byte(composeScript), 0o755))
	file := filepath.Join(dir, composeFileName)
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	t.Chdir(dir)
	t.Setenv("ADMIN_TOKEN", "")

	getenv := func(name string) string { return map[string]string{"PATH": dir}[name] }
	stack, err := Start(t.Context(), Options{Getenv: getenv, finder: &finder{}})
	require.NoError(t, err)
	assert.Equal(t, "redis://admin:flashsale@127.0.0.1:6379", stack.RedisURL(), "a user who may do everything: tests need more than the service")
	assert.Equal(t, "postgres://flashsale:flashsale@127.0.0.1:5432/flashsale", stack.DatabaseURL())
	require.NoError(t, stack.Close())

	log, err := os.ReadFile(docker + ".log")
	require.NoError(t, err)
	assert.Contains(t, string(log), "up -d --wait redis\n")
	assert.Contains(t, string(log), "stop -t 3 postgres\n")
	assert.NotContains(t, string(log), "stop -t 3 redis\n", "it was up before")
}
