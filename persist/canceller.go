package persist

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// cancellerKey is where a connection has its canceller.
const cancellerKey = "flashsale.canceller"

// errCommitUnderWay says that Postgres is not asked to cancel a commit.
var errCommitUnderWay = errors.New("a commit is not cancelled")

// canceller dials for one connection: once to open it, and for the request to cancel what it does by which pgx ends a
// question that is given up. It refuses that one while a commit is under way. Where Postgres has a synchronous standby, a
// commit waits for it, and to cancel that wait is to have the rows shown to everybody although the standby lacks them: a yes
// of mode ledger that a failover takes back. Left alone, the session waits on, and keeps the partition's lock meanwhile.
type canceller struct {
	dial       pgconn.DialFunc
	committing atomic.Bool
}

func newCanceller(dial pgconn.DialFunc) *canceller { return &canceller{dial: dial} }

// attach has the connection that is opened with a config use the canceller.
func (c *canceller) attach(config *pgconn.Config) {
	config.DialFunc = c.call
	config.AfterConnect = func(_ context.Context, conn *pgconn.PgConn) error {
		conn.CustomData()[cancellerKey] = c
		return nil
	}
}

func (c *canceller) call(ctx context.Context, network, address string) (net.Conn, error) {
	if c.committing.Load() {
		return nil, errCommitUnderWay
	}
	return c.dial(ctx, network, address)
}

// uncancelled runs what commits a transaction of a connection of Connect. Where its context ends first the connection is
// closed, and Postgres decides in its own time whether there was a commit.
func uncancelled(conn *pgx.Conn, commit func() error) error {
	c, ok := conn.PgConn().CustomData()[cancellerKey].(*canceller)
	if !ok {
		return commit()
	}
	c.committing.Store(true)
	err := commit()
	if !conn.IsClosed() {
		c.committing.Store(false)
	}
	return err
}
