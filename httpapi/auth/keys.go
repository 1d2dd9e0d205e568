package auth

import (
	"bufio"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Bounds of a key file.
const (
	maxKeys    = 256 // all are compared with, on every request
	maxKeyLine = 1024
)

var (
	errNoKeys   = errors.New("has no key, so nobody could come in")
	errManyKeys = fmt.Errorf("has more than %d keys", maxKeys)
	errLongLine = fmt.Errorf("is longer than %d bytes", maxKeyLine)
	errSameKey  = errors.New("has the same hash as an earlier line")
	errSameName = errors.New("has the same name as an earlier line")
)

// Keys are the API keys that are let in, several at once so that one can take over from another.
type Keys struct {
	keys []apiKey
}

// ParseKeys reads a file of keys: a line each, as [KeyLine] gives it; empty lines and those that begin with # are passed
// over. Errors name the line and never repeat it.
func ParseKeys(file io.Reader) (*Keys, error) {
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, maxKeyLine)
	k, number := &Keys{}, 0
	for lines.Scan() {
		number++
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if err := k.add(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("line %d: %w", number+1, errLongLine)
	case err != nil:
		return nil, fmt.Errorf("read: %w", err)
	case len(k.keys) == 0:
		return nil, errNoKeys
	}
	return k, nil
}

func (k *Keys) add(line string) error {
	key, err := parseKey(line)
	if err != nil {
		return err
	}
	if len(k.keys) == maxKeys {
		return errManyKeys
	}
	for i := range k.keys {
		if k.keys[i].sum == key.sum {
			return errSameKey
		}
		if k.keys[i].who.Name == key.who.Name {
			return errSameName
		}
	}
	k.keys = append(k.keys, key)
	return nil
}

// Len returns how many keys are let in.
func (k *Keys) Len() int { return len(k.keys) }

// Verify returns whom a key stands for, or [ErrInvalid]. How long that takes depends on how many keys there are, not on
// which one it is or how much of it is right.
func (k *Keys) Verify(token string) (Identity, error) {
	if !wellFormed(token) {
		return Identity{}, ErrInvalid
	}
	sum, found := hashOf(token), -1
	for i := range k.keys {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sum[:], k.keys[i].sum[:]), i, found)
	}
	if found < 0 {
		return Identity{}, ErrInvalid
	}
	return k.keys[found].who, nil
}
