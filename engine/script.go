package engine

import (
	"context"
	"crypto/sha1" //nolint:gosec // Redis names scripts by their SHA-1
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"flashsale/lua"
)

// script is a Lua script ready to run.
type script struct {
	name string
	text string
	sha  string
}

func newScript(name string) script {
	text := lua.Source(name)
	sum := sha1.Sum([]byte(text)) //nolint:gosec // see the import
	return script{name: name, text: text, sha: hex.EncodeToString(sum[:])}
}

var (
	reserveScript = newScript("reserve.lua")
	settleScript  = newScript("settle.lua")
	expireScript  = newScript("expire.lua")
	changeScript  = newScript("change.lua")
	trimScript    = newScript("trim.lua")
	checkScript   = newScript("check.lua")
	auditScript   = newScript("audit.lua")
	closeScript   = newScript("close.lua")
	openScript    = newScript("open.lua")
	loadScript    = newScript("load.lua")
	sealScript    = newScript("seal.lua")
)

// run calls the script once. A server that has forgotten it is handed the text: NOSCRIPT means that nothing ran. It
// never repeats a call whose reply was lost. The strings must not change afterwards: a call given up may still be on
// its way out.
func (s *script) run(ctx context.Context, client rueidis.CommandClient, keys, args []string) ([]rueidis.RedisMessage, error) {
	numKeys := strconv.Itoa(len(keys))
	reply := doWithin(ctx, client, client.B().Arbitrary("EVALSHA", s.sha, numKeys).Keys(keys...).Args(args...).Build())
	if redisErr, ok := rueidis.IsRedisErr(reply.Error()); ok && redisErr.IsNoScript() {
		reply = doWithin(ctx, client, client.B().Arbitrary("EVAL", s.text, numKeys).Keys(keys...).Args(args...).Build())
	}
	fields, err := reply.ToArray()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	if len(fields) == 0 {
		return nil, fmt.Errorf("%s: empty reply", s.name)
	}
	return fields, nil
}

// doWithin runs a command and is back when ctx ends. rueidis is so only on a connection that is up: whoever needs a new one
// waits for the dial that somebody else has begun, and a handshake that was broken off takes it another second to close
// (1.0.79). So a call given up may live on for up to two seconds.
func doWithin(ctx context.Context, client rueidis.CommandClient, command rueidis.Completed) rueidis.RedisResult {
	if conn, up := client.(promptConn); up {
		return conn.Do(ctx, command)
	}
	answer := make(chan rueidis.RedisResult, 1)
	go func() { answer <- client.Do(ctx, command) }()
	select {
	case reply := <-answer:
		return reply
	case <-ctx.Done():
		return rueidis.NewErrorResult(ctx.Err())
	}
}

// definiteNo are the error replies that Redis gives before a script has written anything. MOVED and ASK are of a cluster's node
// that does not have the slot, to which all keys of a call belong.
var definiteNo = []string{
	"MOVED ", "ASK ",
	"NOSCRIPT", "NOREPLICAS", "MISCONF", "BUSY", "CLUSTERDOWN", "TRYAGAIN", "LOADING", "READONLY", "OOM", "MASTERDOWN",
}

// maybeExecuted tells whether a script that failed with err may have run: false only where it certainly has not.
func maybeExecuted(err error) bool {
	var redisErr *rueidis.RedisError // rueidis.IsRedisErr does not look behind %w
	if errors.As(err, &redisErr) {
		for _, prefix := range definiteNo {
			if strings.HasPrefix(redisErr.Error(), prefix) {
				return false
			}
		}
		return true
	}
	if errors.Is(err, errNotSent) {
		return false
	}
	var netErr *net.OpError
	return !errors.As(err, &netErr) || netErr.Op != "dial"
}

// replyReader takes a script's reply apart; the first mistake sticks.
type replyReader struct {
	fields []rueidis.RedisMessage
	next   int
	err    error
}

func (r *replyReader) message() *rueidis.RedisMessage {
	if r.err == nil && r.next >= len(r.fields) {
		r.err = fmt.Errorf("reply ends after %d fields", len(r.fields))
	}
	if r.err != nil {
		return nil
	}
	r.next++
	return &r.fields[r.next-1]
}

func (r *replyReader) text() string {
	m := r.message()
	if m == nil {
		return ""
	}
	s, err := m.ToString()
	if err != nil {
		r.err = fmt.Errorf("reply field %d: %w", r.next, err)
	}
	return s
}

func (r *replyReader) number() int64 {
	m := r.message()
	if m == nil {
		return 0
	}
	n, err := m.AsInt64()
	if err != nil {
		r.err = fmt.Errorf("reply field %d: %w", r.next, err)
	}
	return n
}
