package persist

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
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

// waitFor are the classes of errors by which Postgres says that it can't serve anybody just now: connection exception,
// insufficient resources, operator intervention.
var waitFor = []string{"08", "53", operatorIntervention}

// Away tells whether an error of a question to the ledger may pass by itself: it is not there yet, is starting, or is a
// standby that nobody has promoted. Anything else is a mistake in how it is set up.
func Away(err error) bool {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return slices.ContainsFunc(waitFor, func(class string) bool { return strings.HasPrefix(pgErr.Code, class) })
	}
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || pgconn.Timeout(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded) ||
		strings.Contains(err.Error(), "conn closed") // pgx has no value for it
}
