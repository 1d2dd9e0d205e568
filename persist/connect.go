package persist

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// sessionParams are set on every connection to the ledger. A commit that Postgres could lose is no ledger, and no
// statement, lock or forgotten transaction may hold up the drain for good. Times are milliseconds.
var sessionParams = map[string]string{
	"application_name":                    "flashsale",
	"synchronous_commit":                  "on",
	"statement_timeout":                   "30000",
	"lock_timeout":                        "5000",
	"idle_in_transaction_session_timeout": "30000",
	"timezone":                            "UTC",

	// A machine that vanishes without a word (power, network) must not keep its sessions, and with them the lock of a
	// partition's leader, for the two hours that a kernel grants: Postgres gives them up after silenceIdle and
	// silenceProbes probes, or where data that it sent is not taken. On unix sockets these mean nothing.
	"tcp_keepalives_idle":     strconv.Itoa(int(silenceIdle / time.Second)),
	"tcp_keepalives_interval": strconv.Itoa(int(silenceInterval / time.Second)),
	"tcp_keepalives_count":    strconv.Itoa(silenceProbes),
	"tcp_user_timeout":        strconv.FormatInt((silenceIdle + silenceProbes*silenceInterval).Milliseconds(), 10),
}

// A connection on which nothing comes, not even to probes, is given up by either side after eight seconds.
const (
	silenceIdle     = 5 * time.Second
	silenceInterval = time.Second
	silenceProbes   = 3
)

// errAddress says that an address is none.
var errAddress = errors.New("ledger address: neither a postgres:// URL nor a DSN such as host=… dbname=…")

// spareConns is how many connections the pool has beyond one for each partition's leader and one that listens.
const spareConns = 8

// Connect opens a pool on the ledger at a URL or DSN as pgx reads it, for a number of partitions.
func Connect(ctx context.Context, url string, partitions int) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil { // what pgx says would repeat the address, and with it a password that it could not tell apart
		return nil, errAddress
	}
	for name, value := range sessionParams {
		config.ConnConfig.RuntimeParams[name] = value
	}
	dialer := net.Dialer{
		Timeout:         config.ConnConfig.ConnectTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: silenceIdle, Interval: silenceInterval, Count: silenceProbes},
	}
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		newCanceller(dialer.DialContext).attach(&c.Config)
		return nil
	}
	config.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	config.MaxConns = int32(partitions + 1 + spareConns)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to the ledger: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("connect to the ledger: %w", err)
	}
	return pool, nil
}
