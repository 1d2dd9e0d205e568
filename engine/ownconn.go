package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/rueidis"
)

// ownConn is the connection of one worker of a lane. What is asked on it is written and read by the worker itself: on the
// client's own connection three goroutines hand each call on, and behind the handlers of a busy process each of them waits
// for its turn.
type ownConn struct {
	engine *Engine
	conn   rueidis.DedicatedClient // nil = none is open
	proven rueidis.CommandClient   // conn as a promptConn, once it has answered
	replid string                  // of the server that it was opened for
	used   time.Time               // when it answered last
}

// idleProof is for how long a connection may have been unused and is still taken for whole. After that it is asked: one that
// was closed meanwhile would fail a batch of which nobody could tell whether it was executed.
const idleProof = keepAlive

// errNotSent says that there was no connection to send anything on.
var errNotSent = errors.New("none in time")

// promptConn is a connection that is up: a call returns when its context ends.
type promptConn struct{ rueidis.DedicatedClient }

// open returns the connection, making one where there is none, or none that leads to the server with this history.
func (o *ownConn) open(ctx context.Context, replid string) (rueidis.CommandClient, error) {
	if o.replid != replid || o.closedMeanwhile(ctx) {
		o.drop()
	}
	if conn := o.current(); conn != nil {
		return conn, nil
	}
	conn, err := dedicate(ctx, o.engine.client, &o.engine.loose)
	if err != nil {
		return nil, err
	}
	o.conn, o.replid = conn, replid
	return conn, nil
}

// current returns the connection that is open, nil where none is.
func (o *ownConn) current() rueidis.CommandClient {
	switch {
	case o.proven != nil:
		return o.proven
	case o.conn != nil:
		return o.conn
	}
	return nil
}

func (o *ownConn) closedMeanwhile(ctx context.Context) bool {
	return o.proven != nil && time.Since(o.used) > idleProof && o.proven.Do(ctx, o.proven.B().Ping().Build()).Error() != nil
}

// answered notes that the connection is up.
func (o *ownConn) answered() {
	o.used = time.Now()
	if o.conn != nil && o.proven == nil {
		o.proven = promptConn{o.conn}
	}
}

// dedicate takes a connection out of a client and is back when ctx ends: a dial may take longer, and what it leads to is
// closed among the loose.
func dedicate(ctx context.Context, client rueidis.Client, among *loose) (rueidis.DedicatedClient, error) {
	opened := make(chan rueidis.DedicatedClient)
	among.run(func() {
		conn, _ := client.Dedicate() // Close gives it back
		select {
		case opened <- conn:
		case <-ctx.Done():
			conn.Close()
		}
	})
	select {
	case conn := <-opened:
		return conn, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("connection of its own: %w", errNotSent)
	}
}

// drop closes the connection: what was given up on it may still be under way. That waits for a server that says nothing.
func (o *ownConn) drop() {
	if o.conn != nil {
		o.engine.loose.run(o.conn.Close)
	}
	o.conn, o.proven = nil, nil
}
