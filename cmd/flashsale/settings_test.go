package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"
)

// parse reads a command line as main does, with a settings file of the given text.
func parse(t *testing.T, file string, args ...string) (*cli, *kong.Context, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "settings.env")
	require.NoError(t, os.WriteFile(path, []byte(file), 0o600))
	t.Setenv("FLASHSALE_CONFIG", path)
	var c cli
	parser, err := newParser(&c)
	require.NoError(t, err)
	parsed, err := parser.Parse(args)
	return &c, parsed, err
}

func TestFlagBeforeEnvironmentBeforeFile(t *testing.T) {
	const file = "PORT=1001\nLOCK_TTL=1002\nBATCH_SIZE=64\n"
	t.Setenv("PORT", "2001")
	t.Setenv("LOCK_TTL", "2002")
	c, _, err := parse(t, file, "serve", "--port=3001")
	require.NoError(t, err)
	require.Equal(t, 3001, c.Serve.Port, "a flag")
	require.Equal(t, 2002, c.Serve.LockTTL, "the environment")
	require.Equal(t, 64, c.Serve.BatchSize, "the file")
	require.Equal(t, 4, c.Serve.Partitions, "the default")
}

func TestTheNamesOfTheReplacedSystemWork(t *testing.T) {
	for name, value := range map[string]string{
		"DATABASE_HOST": "db.example", "DATABASE_PORT": "5433", "DATABASE_USERNAME": "shop", "DATABASE_PASSWORD": "s3cret/x",
		"DATABASE_NAME": "sales", "REDIS_HOST": "redis.example", "REDIS_PORT": "6380", "REDIS_PASSWORD": "hush",
		"NODE_ENV": "production", "FRONTEND_URL": "https://shop.example", "LOCK_TTL": "250", "PORT": "8080",
	} {
		t.Setenv(name, value)
	}
	c, parsed, err := parse(t, "", "serve")
	require.NoError(t, err)
	require.Equal(t, "postgres://shop:s3cret%2Fx@db.example:5433/sales", c.Serve.databaseURL())
	require.Equal(t, "redis://:hush@redis.example:6380", c.Serve.redisURL())
	require.Equal(t, "production", c.Serve.NodeEnv)
	require.Equal(t, "https://shop.example", c.Serve.FrontendURL)
	require.EqualValues(t, 250, c.Serve.engineConfig(4).LockTTL.Milliseconds())
	require.NoError(t, refuseSecrets(parsed))

	shown := describeSettings(parsed)
	require.Contains(t, shown, "db.example")
	require.NotContains(t, shown, "s3cret")
	require.NotContains(t, shown, "hush")
}

func TestSecretsAreMasked(t *testing.T) {
	t.Setenv("REDIS_URL", "redis://:canary1@host:6379")
	t.Setenv("DATABASE_URL", "postgres://shop:canary2@host/db?password=canary3")
	t.Setenv("ADMIN_TOKEN", "canary4")
	_, parsed, err := parse(t, "", "serve")
	require.NoError(t, err)
	shown := describeSettings(parsed)
	require.NotContains(t, shown, "canary")
	require.Contains(t, shown, "xxxxx")
	require.NotContains(t, masked("host=h password=canary5 user=u"), "canary")
}

func TestSecretsAreRefusedOnTheCommandLine(t *testing.T) {
	for _, flag := range []string{
		"--admin-token=x", "--redis-password=x", "--database-password=x", "--redis-url=redis://:x@host:1", "--database-url=postgres://u:x@h/d",
	} {
		_, parsed, err := parse(t, "", "serve", flag)
		require.NoError(t, err)
		require.ErrorIs(t, refuseSecrets(parsed), errSecretOnCommandLine, flag)
	}
	_, parsed, err := parse(t, "", "serve", "--redis-url=redis://host:1")
	require.NoError(t, err)
	require.NoError(t, refuseSecrets(parsed))
}

func TestUnknownSettingsAreRefused(t *testing.T) {
	for _, args := range [][]string{{"serve", "--prot=1"}, {"serve", "--node-env=staging"}, {"serve", "--port=many"}, {"sevre"}} {
		_, _, err := parse(t, "", args...)
		require.Error(t, err, "%v", args)
	}
}

func TestProductionNeedsAnAdminToken(t *testing.T) {
	s := serveCmd{NodeEnv: production}
	require.ErrorIs(t, s.chooseAdminToken(), errNoAdminToken)
	s = serveCmd{NodeEnv: "development"}
	require.NoError(t, s.chooseAdminToken())
	require.Len(t, s.AdminToken, 32)
}
