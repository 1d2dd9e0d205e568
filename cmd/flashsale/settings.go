package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"flashsale/engine"
	"flashsale/httpapi"
	"flashsale/internal/mask"
)

// stores are the settings of the two servers behind the service. The names of the system that this one replaces work
// as they are.
type stores struct {
	Dev     bool   `help:"Development: find or start a private Redis and Postgres, migrate, make a demo product."`
	DataDir string `env:"DATA_DIR" help:"Where --dev keeps its data between runs. Default: a folder per user, outside the checkout." placeholder:"DIR"`

	RedisURL      string `env:"REDIS_URL" group:"Redis" help:"redis://, rediss:// or unix:// address; ?addr=host:port adds cluster nodes, ?master_set=NAME names a Sentinel set." placeholder:"URL" secret:"url"`
	RedisHost     string `env:"REDIS_HOST" group:"Redis" help:"Used where there is no REDIS_URL. Default: 127.0.0.1."`
	RedisPort     int    `env:"REDIS_PORT" group:"Redis" help:"Default: 6379." placeholder:"PORT"`
	RedisPassword string `env:"REDIS_PASSWORD" group:"Redis" help:"Environment or file only." hidden:"" secret:"yes"`

	DatabaseURL      string `env:"DATABASE_URL" group:"Postgres" help:"postgres:// address or DSN of the ledger." placeholder:"URL" secret:"url"`
	DatabaseHost     string `env:"DATABASE_HOST" group:"Postgres" help:"Used where there is no DATABASE_URL. Default: 127.0.0.1."`
	DatabasePort     int    `env:"DATABASE_PORT" group:"Postgres" help:"Default: 5432." placeholder:"PORT"`
	DatabaseUsername string `env:"DATABASE_USERNAME" group:"Postgres" help:"Default: postgres."`
	DatabasePassword string `env:"DATABASE_PASSWORD" group:"Postgres" help:"Environment or file only." hidden:"" secret:"yes"`
	DatabaseName     string `env:"DATABASE_NAME" group:"Postgres" help:"Default: flashsale."`

	Partitions int `env:"PARTITIONS" group:"Engine" help:"Units of placement in Redis; fixed when a ledger is first used." default:"4"`
}

// hot are the settings of the hot path and the drain.
type hot struct {
	RedisPrefix    string        `env:"REDIS_PREFIX" group:"Engine" help:"First part of every Redis key." default:"fs"`
	LockTTL        int           `env:"LOCK_TTL" group:"Engine" help:"Milliseconds within which a buyer's second order of a product, without an Idempotency-Key, is refused; 0 = off." default:"5000"`
	RequestTimeout time.Duration `env:"REQUEST_TIMEOUT" group:"Engine" help:"Within which an order is decided." default:"2s"`
	Durability     string        `env:"DURABILITY" group:"Engine" help:"What an answer promises where the request does not say: fast, replicated or ledger." default:"fast" enum:"fast,replicated,ledger"`
	Replicas       int           `env:"REPLICAS" group:"Engine" help:"Redis replicas that an order of durability replicated must be on." default:"1"`
	BatchSize      int           `env:"BATCH_SIZE" group:"Engine" help:"Orders one Redis call takes at the most." default:"128" positive:"yes"`
	InFlight       int           `env:"IN_FLIGHT" group:"Engine" help:"Redis calls a partition keeps under way, from 1 to 16." default:"2" positive:"yes"`
	QueueLength    int           `env:"QUEUE_LENGTH" group:"Engine" help:"Orders a partition keeps waiting before it sheds." default:"16384" positive:"yes"`
	BacklogCap     int64         `env:"BACKLOG_CAP" group:"Engine" help:"Orders a partition may have waiting for the ledger." default:"5000000" positive:"yes"`
	HoldMax        time.Duration `env:"HOLD_MAX" group:"Engine" help:"Longest hold, at most 24h." default:"15m"`
	HoldTotal      time.Duration `env:"HOLD_TOTAL" group:"Engine" help:"Longest time from the making of a hold to its end, extensions included." default:"30m"`
	HoldExtensions int           `env:"HOLD_EXTENSIONS" group:"Engine" help:"How often a hold may be extended." default:"3"`
	HoldLate       time.Duration `env:"HOLD_LATE" group:"Engine" help:"For how long an expired hold may still be confirmed, if there is stock." default:"60s"`
	IdempotencyTTL time.Duration `env:"IDEMPOTENCY_TTL" group:"Engine" help:"How long an idempotency key is kept at the least." default:"24h"`
	OrderGrace     time.Duration `env:"ORDER_GRACE" group:"Engine" help:"How long a drained order stays in Redis." default:"10s"`
	DrainBatch     int           `env:"DRAIN_BATCH" group:"Engine" help:"Orders one ledger transaction brings, about." default:"5000" positive:"yes"`
}

// shared are the settings that must be the same in every process of a ledger, or the answers depend on who is asked.
func (h *hot) shared() map[string]string {
	return map[string]string{
		"REDIS_PREFIX": h.RedisPrefix, "LOCK_TTL": strconv.Itoa(h.LockTTL), "REQUEST_TIMEOUT": h.RequestTimeout.String(),
		"HOLD_MAX": h.HoldMax.String(), "HOLD_TOTAL": h.HoldTotal.String(), "HOLD_EXTENSIONS": strconv.Itoa(h.HoldExtensions),
		"HOLD_LATE": h.HoldLate.String(), "IDEMPOTENCY_TTL": h.IdempotencyTTL.String(), "ORDER_GRACE": h.OrderGrace.String(),
	}
}

// guards are the settings of what one client may ask for.
type guards struct {
	RateLimitAddress string `env:"RATE_LIMIT_ADDRESS" group:"HTTP" help:"Requests of one client address, as 50/s or 600/m:20 (after the colon: how many at once). Default: no limit." placeholder:"LIMIT"`
	RateLimitUser    string `env:"RATE_LIMIT_USER" group:"HTTP" help:"Orders of one user, in the same form. Default: no limit." placeholder:"LIMIT"`
	TrustedProxies   string `env:"TRUSTED_PROXIES" group:"HTTP" help:"Addresses and networks, separated by commas, whose X-Forwarded-For is believed." placeholder:"LIST"`
	ConnectionLimit  int    `env:"CONNECTION_LIMIT" group:"HTTP" help:"Connections of one client address, trusted proxies excepted. Default: no limit." placeholder:"N"`
}

// applyGuards reads the settings into those of the server.
func (g *guards) applyGuards(config *httpapi.Config) (err error) {
	if config.AddressLimit, err = httpapi.ParseLimit(g.RateLimitAddress); err != nil {
		return fmt.Errorf("RATE_LIMIT_ADDRESS: %w", err)
	}
	if config.UserLimit, err = httpapi.ParseLimit(g.RateLimitUser); err != nil {
		return fmt.Errorf("RATE_LIMIT_USER: %w", err)
	}
	if config.TrustedProxies, err = httpapi.ParseProxies(g.TrustedProxies); err != nil {
		return fmt.Errorf("TRUSTED_PROXIES: %w", err)
	}
	config.MaxConnsPerIP = g.ConnectionLimit
	return nil
}

const (
	defaultHost         = "127.0.0.1"
	defaultRedisPort    = 6379
	defaultPostgresPort = 5432
	defaultPostgresUser = "postgres"
	defaultDatabaseName = "flashsale"
)

// redisURL returns the address as rueidis reads it.
func (s *stores) redisURL() string {
	if s.RedisURL != "" {
		return s.RedisURL
	}
	u := url.URL{Scheme: "redis", Host: hostPort(s.RedisHost, s.RedisPort, defaultRedisPort)}
	if s.RedisPassword != "" {
		u.User = url.UserPassword("", s.RedisPassword)
	}
	return u.String()
}

// databaseURL returns the address as pgx reads it.
func (s *stores) databaseURL() string {
	if s.DatabaseURL != "" {
		return s.DatabaseURL
	}
	user := cmp.Or(s.DatabaseUsername, defaultPostgresUser)
	u := url.URL{
		Scheme: "postgres", Host: hostPort(s.DatabaseHost, s.DatabasePort, defaultPostgresPort),
		Path: "/" + cmp.Or(s.DatabaseName, defaultDatabaseName), User: url.User(user),
	}
	if s.DatabasePassword != "" {
		u.User = url.UserPassword(user, s.DatabasePassword)
	}
	return u.String()
}

func hostPort(host string, port, defaultPort int) string {
	return net.JoinHostPort(cmp.Or(host, defaultHost), strconv.Itoa(cmp.Or(port, defaultPort)))
}

// environment gives the stores that were named, wherever they were, under the names of the environment.
func (s *stores) environment(name string) string {
	port := func(n int) string {
		if n == 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	named, ok := map[string]string{
		"REDIS_URL": s.RedisURL, "REDIS_HOST": s.RedisHost, "REDIS_PORT": port(s.RedisPort),
		"REDIS_PASSWORD": s.RedisPassword, "DATABASE_URL": s.DatabaseURL, "DATABASE_HOST": s.DatabaseHost,
		"DATABASE_PORT": port(s.DatabasePort), "DATABASE_USERNAME": s.DatabaseUsername,
		"DATABASE_PASSWORD": s.DatabasePassword, "DATABASE_NAME": s.DatabaseName,
	}[name]
	if !ok {
		return os.Getenv(name)
	}
	return named
}

// orderGraceMargin is what ORDER_GRACE has on top of two timeouts: a retried order id finds the record of the first
// attempt, though both took all the time they may and the clocks are a little apart.
const orderGraceMargin = time.Second

var errGraceTooShort = errors.New("ORDER_GRACE: too short for REQUEST_TIMEOUT: an order id that is sent again might find its record gone")

// check refuses settings that each make sense and together don't.
func (h *hot) check() error {
	if h.RequestTimeout <= 0 {
		return fmt.Errorf("REQUEST_TIMEOUT: %w", errNotPositive)
	}
	if least := 2*h.RequestTimeout + orderGraceMargin; h.OrderGrace < least {
		return fmt.Errorf("%w; with REQUEST_TIMEOUT=%s it is at least %s", errGraceTooShort, h.RequestTimeout, least)
	}
	return h.checkHolds()
}

// checkReplicas refuses a mode replicated that would promise nothing.
func (h *hot) checkReplicas() error {
	if h.Replicas < 1 {
		return fmt.Errorf("REPLICAS: %w", errNotPositive)
	}
	return nil
}

var (
	errHoldMax        = fmt.Errorf("HOLD_MAX: must be from 1s to %s", engine.MaxHoldSeconds*time.Second)
	errHoldTotal      = errors.New("HOLD_TOTAL: must not be less than HOLD_MAX")
	errIdempotencyTTL = fmt.Errorf("IDEMPOTENCY_TTL: must be at least %s", engine.MinKeyTTL)
)

func (h *hot) checkHolds() error {
	switch {
	case h.HoldMax < time.Second || h.HoldMax > engine.MaxHoldSeconds*time.Second:
		return errHoldMax
	case h.HoldTotal < h.HoldMax:
		return errHoldTotal
	case h.IdempotencyTTL < engine.MinKeyTTL:
		return errIdempotencyTTL
	}
	return nil
}

// engineConfig returns the engine's part of the settings.
func (h *hot) engineConfig(partitions int) engine.Config {
	durability, _ := engine.ParseDurability([]byte(h.Durability)) // one of the three, as the flag has it
	return engine.Config{
		Durability: durability, Replicas: h.Replicas,
		Prefix: h.RedisPrefix, Partitions: partitions, BatchSize: h.BatchSize, InFlight: h.InFlight,
		QueueLength: h.QueueLength, Timeout: h.RequestTimeout, LockTTL: time.Duration(h.LockTTL) * time.Millisecond,
		BacklogCap: h.BacklogCap, MaxHold: h.HoldMax, MaxHoldTotal: h.HoldTotal, MaxExtensions: h.HoldExtensions,
		LateConfirm: h.HoldLate, KeyTTL: h.IdempotencyTTL,
	}
}

var (
	errNegative    = errors.New("must not be negative")
	errNotPositive = errors.New("must be more than 0")
)

// refuseNegative fails where a number or a duration is below zero: none has a use for that. Nor has one that says `positive`
// for a zero that somebody gave, for what is taken then is the default; so it is with what is left out.
func refuseNegative(parsed *kong.Context) error {
	given := make(map[*kong.Flag]bool) // on the command line
	for _, path := range parsed.Path {
		given[path.Flag] = true
	}
	for _, flag := range parsed.Flags() {
		all := numbers(reflect.ValueOf(parsed.FlagValue(flag)))
		zeroGiven := slices.Contains(all, 0) && (given[flag] || flag.HasDefault)
		switch {
		case slices.ContainsFunc(all, func(n float64) bool { return n < 0 }):
			return fmt.Errorf("%s: %w", settingName(flag), errNegative)
		case zeroGiven && flag.Tag.Get("positive") != "":
			return fmt.Errorf("%s: %w", settingName(flag), errNotPositive)
		}
	}
	return nil
}

// numbers returns the numbers and durations in a flag's value.
func numbers(value reflect.Value) (all []float64) {
	switch {
	case value.CanInt():
		return []float64{float64(value.Int())}
	case value.CanUint():
		return []float64{float64(value.Uint())}
	case value.CanFloat():
		return []float64{value.Float()}
	case value.Kind() == reflect.Pointer && !value.IsNil():
		return numbers(value.Elem())
	case value.Kind() == reflect.Slice:
		for i := range value.Len() {
			all = append(all, numbers(value.Index(i))...)
		}
	}
	return all
}

var errPartitions = fmt.Errorf("PARTITIONS: must be from 1 to %d", engine.MaxPartitions)

// checkPartitions fails before anything is recorded about a number that can't be.
func (s *stores) checkPartitions() error {
	if s.Partitions < 1 || s.Partitions > engine.MaxPartitions {
		return errPartitions
	}
	return nil
}

// settingName is the environment's name, or the flag where there is none.
func settingName(flag *kong.Flag) string {
	if len(flag.Envs) > 0 {
		return flag.Envs[0]
	}
	return "--" + flag.Name
}

var errSecretOnCommandLine = errors.New("secrets, and addresses that are not certainly free of one, are taken from the environment or a file only: everybody on a machine can read its command lines")

// refuseSecrets fails where a secret was given as a flag.
func refuseSecrets(parsed *kong.Context) error {
	for _, path := range parsed.Path {
		if path.Flag == nil || path.Resolved {
			continue
		}
		value, _ := parsed.FlagValue(path.Flag).(string)
		switch kind := path.Flag.Tag.Get("secret"); {
		case kind == "yes", kind == "url" && !mask.Free(value):
			return fmt.Errorf("--%s: %w", path.Flag.Name, errSecretOnCommandLine)
		}
	}
	return nil
}

// describeSettings lists every setting of the chosen command as it is in force, secrets masked.
func describeSettings(parsed *kong.Context) string {
	var b strings.Builder
	for _, setting := range settingsInForce(parsed) {
		fmt.Fprintf(&b, "  %-18s %s\n", setting.name, setting.value)
	}
	return b.String()
}

// setting is one as it is told.
type setting struct{ name, value string }

func settingsInForce(parsed *kong.Context) (all []setting) {
	for _, flag := range parsed.Flags() {
		if len(flag.Envs) == 0 || flag.Group == nil {
			continue
		}
		value := fmt.Sprint(parsed.FlagValue(flag))
		switch {
		case value == "" || value == "0" && flag.Default == "":
			continue
		case flag.Tag.Get("secret") == "yes":
			value = mask.Hidden
		case flag.Tag.Get("secret") == "url":
			value = mask.Address(value)
		}
		all = append(all, setting{flag.Envs[0], value})
	}
	return all
}
