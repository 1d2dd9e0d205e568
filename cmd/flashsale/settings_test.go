package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"

	"flashsale/internal/devstack"
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
}

// A password that an address can't carry unescaped is hidden too, whole address and all.
func TestSecretsOfMalformedAddressesAreMasked(t *testing.T) {
	for name, addresses := range map[string][]string{
		"REDIS_URL":    {"redis://:can%ary@h:6379", "redis://:a/canary@h:6379", "redis://canary@h:6379"},
		"DATABASE_URL": {"postgres://u:p#canary@h/db", "host=h password = canary", "password='my canary'"},
	} {
		for _, address := range addresses {
			t.Setenv(name, address)
			_, parsed, err := parse(t, "", "serve")
			require.NoError(t, err)
			require.NoError(t, refuseSecrets(parsed), "the environment may hold it")
			require.Regexp(t, name+` +xxxxx\n`, describeSettings(parsed), address)
		}
	}
}

func TestAnUnreadableSettingsFileIsNotRepeated(t *testing.T) {
	_, _, err := parse(t, "REDIS PASSWORD canary\n", "serve")
	require.ErrorIs(t, err, errSettingsFile)
	require.NotContains(t, err.Error(), "canary")
}

func TestSecretsAreRefusedOnTheCommandLine(t *testing.T) {
	for _, flag := range []string{
		"--admin-token=x", "--redis-password=x", "--database-password=x", "--redis-url=redis://:x@host:1", "--database-url=postgres://u:x@h/d",
		"--redis-url=redis://:a/b@h:6379", "--redis-url=redis://:se%cret@h:6379", "--redis-url=redis://secret@h:6379",
		"--database-url=postgres://u:p#w@h/db", "--database-url=host=h password = x", "--database-url=host=h password='a b'",
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

func TestEveryCommandRefusesSecretsAndNegativeNumbers(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, command := range [][]string{
		{"serve"},
		{"migrate", "up"},
		{"migrate", "down"},
		{"migrate", "status"},
		{"bench"},
		{"bench", "run"},
		{"products", "import", "-"},
		{"products", "export"},
	} {
		err := run(append(command, "--database-url=postgres://u:canary@h/d"))
		require.ErrorIs(t, err, errSecretOnCommandLine, "%v", command)
		require.NotContains(t, err.Error(), "canary")
		err = run(append(command, "--partitions=-1"))
		require.ErrorIs(t, err, errNegative, "%v", command)
		require.ErrorContains(t, err, "PARTITIONS")
	}
}

func TestNegativeNumbersAreRefused(t *testing.T) {
	for flag, name := range map[string]string{
		"--port=-1": "PORT", "--redis-port=-1": "REDIS_PORT", "--database-port=-1": "DATABASE_PORT", "--lock-ttl=-1": "LOCK_TTL",
		"--request-timeout=-1s": "REQUEST_TIMEOUT", "--batch-size=-1": "BATCH_SIZE", "--in-flight=-1": "IN_FLIGHT",
		"--queue-length=-1": "QUEUE_LENGTH", "--backlog-cap=-1": "BACKLOG_CAP", "--order-grace=-1ms": "ORDER_GRACE",
		"--drain-batch=-1": "DRAIN_BATCH", "--partitions=-1": "PARTITIONS",
	} {
		_, parsed, err := parse(t, "", "serve", flag)
		require.NoError(t, err, flag)
		err = refuseNegative(parsed)
		require.ErrorIs(t, err, errNegative, flag)
		require.ErrorContains(t, err, name+": ")
	}
	_, parsed, err := parse(t, "", "serve", "--lock-ttl=0")
	require.NoError(t, err)
	require.NoError(t, refuseNegative(parsed))
	_, parsed, err = parse(t, "", "bench", "--units=-5")
	require.NoError(t, err)
	require.ErrorContains(t, refuseNegative(parsed), "--units")
}

// A zero that the engine would take for "as usual" is not in force, whatever the list of settings says.
func TestZerosThatMeanNothingAreRefused(t *testing.T) {
	for _, name := range []string{"BATCH_SIZE", "IN_FLIGHT", "QUEUE_LENGTH", "BACKLOG_CAP", "DRAIN_BATCH"} {
		refused := func(parsed *kong.Context, err error) {
			require.NoError(t, err, name)
			err = refuseNegative(parsed)
			require.ErrorIs(t, err, errNotPositive, name)
			require.ErrorContains(t, err, name+": ")
		}
		_, parsed, err := parse(t, name+"=0\n", "serve")
		refused(parsed, err)
		t.Run("of the environment", func(t *testing.T) {
			t.Setenv(name, "0")
			_, parsed, err := parse(t, "", "serve")
			refused(parsed, err)
		})
	}
	_, parsed, err := parse(t, "LOCK_TTL=0\nHOLD_EXTENSIONS=0\nHOLD_LATE=0s\nCONNECTION_LIMIT=0\nPORT=0\n", "serve")
	require.NoError(t, err)
	require.NoError(t, refuseNegative(parsed), "off, none, or any port")
}

func TestHoldsAndKeysHaveBounds(t *testing.T) {
	for name, c := range map[string]struct {
		most, total, keys time.Duration
		want              error
	}{
		"the defaults":            {15 * time.Minute, 30 * time.Minute, 24 * time.Hour, nil},
		"the least":               {time.Second, time.Second, time.Minute, nil},
		"the most":                {24 * time.Hour, 24 * time.Hour, time.Hour, nil},
		"no hold":                 {0, time.Minute, time.Hour, errHoldMax},
		"more than a day":         {24*time.Hour + 1, 48 * time.Hour, time.Hour, errHoldMax},
		"extended to less":        {time.Minute, time.Minute - 1, time.Hour, errHoldTotal},
		"keys forgotten too soon": {time.Minute, time.Minute, time.Minute - 1, errIdempotencyTTL},
	} {
		t.Run(name, func(t *testing.T) {
			err := (&hot{
				RequestTimeout: time.Second, OrderGrace: time.Minute, HoldMax: c.most, HoldTotal: c.total, IdempotencyTTL: c.keys,
			}).check()
			require.ErrorIs(t, err, c.want)
		})
	}
}

func TestOrderGraceOutlastsARetry(t *testing.T) {
	for name, c := range map[string]struct {
		timeout, grace time.Duration
		want           error
	}{
		"the defaults":       {2 * time.Second, 10 * time.Second, nil},
		"just enough":        {2 * time.Second, 5 * time.Second, nil},
		"a little too short": {2 * time.Second, 5*time.Second - 1, errGraceTooShort},
		"none":               {2 * time.Second, 0, errGraceTooShort},
		"a long timeout":     {10 * time.Second, 10 * time.Second, errGraceTooShort},
		"no timeout":         {0, 10 * time.Second, errNotPositive},
	} {
		t.Run(name, func(t *testing.T) {
			err := (&hot{
				RequestTimeout: c.timeout, OrderGrace: c.grace, HoldMax: time.Minute, HoldTotal: time.Minute, IdempotencyTTL: time.Hour,
			}).check()
			require.ErrorIs(t, err, c.want)
			if c.want != nil {
				require.ErrorContains(t, err, "REQUEST_TIMEOUT")
			}
		})
	}
	t.Setenv("ADMIN_TOKEN", adminToken)
	t.Chdir(t.TempDir())
	require.ErrorIs(t, run([]string{"serve", "--order-grace=1s"}), errGraceTooShort)
	require.ErrorIs(t, run([]string{"bench", "--dev", "--order-grace=1s"}), errGraceTooShort)
}

func TestOnlyDevelopmentMakesAnAdminToken(t *testing.T) {
	for _, nodeEnv := range []string{production, "development", "test"} {
		s := serveCmd{NodeEnv: nodeEnv}
		require.ErrorIs(t, s.chooseAdminToken(), errNoAdminToken, nodeEnv)
		require.Empty(t, s.AdminToken)
	}
	s := serveCmd{NodeEnv: "development", stores: stores{Dev: true}}
	require.NoError(t, s.chooseAdminToken())
	require.Len(t, s.AdminToken, 32)
	t.Setenv("ADMIN_TOKEN", "")
	t.Chdir(t.TempDir())
	require.ErrorContains(t, run([]string{"serve"}), "ADMIN_TOKEN")
}

func TestPartitionsThatCannotBeAreRefused(t *testing.T) {
	for partitions, want := range map[int]error{0: errPartitions, 1: nil, 4096: nil, 4097: errPartitions} {
		s := stores{Partitions: partitions}
		require.Equal(t, want, s.checkPartitions(), "%d", partitions)
	}
}

func TestErrorsAreOneLineUnlessOneIsToBePasted(t *testing.T) {
	driver := errors.New("connect:\n\ta refused\n\tb refused")
	require.Equal(t, "connect: a refused b refused", saidOf(driver))
	missing := fmt.Errorf("redis-server: %w\n  install: apt-get install redis-server", devstack.ErrNotInstalled)
	require.Equal(t, "redis-server: not installed\n  install: apt-get install redis-server", saidOf(missing), "to be pasted")
}

// What processes compare are settings, by the names that people know.
func TestSettingsThatProcessesCompareAreSettings(t *testing.T) {
	names := make(map[string]bool)
	for field := range reflect.TypeFor[hot]().Fields() {
		names[field.Tag.Get("env")] = true
	}
	var h hot
	for name := range h.shared() {
		require.True(t, names[name], name)
	}
	require.Len(t, h.shared(), 9)
}
