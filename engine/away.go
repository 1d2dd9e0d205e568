package engine

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redis/rueidis"
)

// unfitError says what is wrong with a server, or with what it is asked for, however often it is tried.
type unfitError struct{ error }

func (e unfitError) Unwrap() error { return e.error }

func unfit(format string, args ...any) error { return unfitError{fmt.Errorf(format, args...)} }

// notForUs are error replies that waiting does not cure: the address or the user is wrong.
var notForUs = []string{"NOAUTH", "WRONGPASS", "NOPERM", "ERR AUTH", "ERR invalid password", "ERR unknown command", "NOPROTO"}

// Away tells whether an error of [Connect] or [Engine.ClaimKeyspace] may pass by itself: the server is not there yet, is
// loading, has no primary at the moment. Anything else is a mistake in how it is set up.
func Away(err error) bool {
	var wrong unfitError
	if err == nil || errors.As(err, &wrong) || errors.Is(err, errAddress) {
		return false
	}
	var reply *rueidis.RedisError
	if !errors.As(err, &reply) {
		return true
	}
	for _, prefix := range notForUs {
		if strings.HasPrefix(reply.Error(), prefix) {
			return false
		}
	}
	return true
}
