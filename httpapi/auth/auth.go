// Package auth tells who makes a request: by an API key, of which only the hash is kept, or by a JSON Web Token.
//
// It knows nothing of HTTP routes: package httpapi reads the header, asks here, and holds the answer against the route.
package auth

import (
	"errors"
	"strings"
	"time"
)

// Scope is a set of what a caller may do.
type Scope uint8

// The scopes. Admin includes the others, for any buyer.
const (
	Buyer   Scope = 1 << iota // places, reads and changes orders
	Monitor                   // reads the figures of the whole
	Admin                     // changes products
)

// scopeNames are the words in key files and in tokens.
var scopeNames = map[string]Scope{"buyer": Buyer, "monitor": Monitor, "admin": Admin}

// Includes tells whether s has everything that need has.
func (s Scope) Includes(need Scope) bool { return s&Admin != 0 || s&need == need }

// Identity is whom a key or a token stands for.
type Identity struct {
	User   string // the one buyer it may act for; "" = any
	Name   string // for the audit: "key:" and the key's name, or "jwt:" and the token's subject
	Scopes Scope
	Until  time.Time // when it stands for nobody any more; zero = nobody knows of an end
}

// What a caller is told of a token that stands for nobody; more would help whoever makes tokens up.
var (
	ErrInvalid = errors.New("the token is not valid")
	ErrExpired = errors.New("the token has expired")
)

// ParseScopes reads names with commas between them.
func ParseScopes(names string) (Scope, error) {
	var scopes Scope
	for name := range strings.SplitSeq(names, ",") {
		scope, known := scopeNames[name]
		if !known {
			return 0, errScopes
		}
		scopes |= scope
	}
	return scopes, nil
}
