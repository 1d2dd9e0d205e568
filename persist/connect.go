package persist

import (
	"context"
	"errors"
	"fmt"

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
}

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
