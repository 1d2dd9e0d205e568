package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/rueidis"
)

// ownConn is the connection of one worker of a lane. What is asked on it is written and read by the worker itself: on the
// client's own connection three goroutines hand each call on, and behind the handlers of a busy process each of them waits
// for its turn.
type ownConn struct {
	engine *Engine
	conn   rueidis.DedicatedClient // nil = none is open
	proven rueidis.CommandClient   // conn as a promptConn, once it has answered
}

// errNotSent says that there was no connection to send anything on.
var errNotSent = errors.New("none in time")

// promptConn is a connection that is up: a call returns when its context ends.
type promptConn struct{ rueidis.DedicatedClient }

// open returns the connection, making one where there is none, also where the server of the partition is another now.
func (o *ownConn) open(ctx context.Context) (rueidis.CommandClient, error) {
	if o.proven != nil {
		return o.proven, nil
	}
	if o.conn != nil {
		return o.conn, nil
	}
	conn, err := dedicate(ctx, o.engine.client, &o.engine.loose)
	if err != nil {
		return nil, err
	}
	o.conn = conn
	return conn, nil
}

// answered notes that the connection is up.
func (o *ownConn) answered() {
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
