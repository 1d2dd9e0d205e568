package persist

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"flashsale/engine"
)

// errLedgerAway answers reads, and changes that have not been begun, while Postgres is down. Orders go on without it.
var errLedgerAway = &engine.Error{Code: engine.CodeUnavailable, Detail: "the ledger does not answer right now", RetryAfter: time.Second}

// operatorIntervention is the class of errors by which Postgres says that it is stopping or starting.
const operatorIntervention = "57P"

// ledgerError wraps what went wrong with a query that changed nothing: the ledger's own word about the query is a
// mistake of ours, anything else means that the ledger is away.
func ledgerError(doing string, err error) error {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && !strings.HasPrefix(pgErr.Code, operatorIntervention) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return fmt.Errorf("%s: %w (%w)", doing, errLedgerAway, err)
}

// redisError wraps what went wrong with a read of Redis.
func redisError(err error) error {
	var known *engine.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	return fmt.Errorf("%w (%w)", engine.ErrUnavailable, err)
}
