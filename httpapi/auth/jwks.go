package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"

	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v3/jwk"
)

// keySetAlgorithms are those that tokens may be signed with where the keys come from a set. A key fits just one.
var keySetAlgorithms = []string{"RS256", "ES256", "EdDSA"}

// maxSetKeys bounds a set.
const maxSetKeys = 100

var (
	errNoUsableKey = errors.New("the set has no key for RS256, ES256 or EdDSA")
	errManySetKeys = fmt.Errorf("the set has more than %d keys", maxSetKeys)
	errKeyUnknown  = errors.New("no key of the set fits the token")
)

// publicKey is one key of a set, with the only algorithm it is used for.
type publicKey struct {
	id, algorithm string
	key           any
}

// parseKeySet reads a JWK set (RFC 7517) and returns the keys that can check signatures; others are passed over.
func parseKeySet(document []byte) ([]publicKey, error) {
	set, err := jwk.Parse(document, jwk.WithIgnoreParseError(true))
	if err != nil {
		return nil, fmt.Errorf("read the key set: %w", err)
	}
	if set.Len() > maxSetKeys {
		return nil, errManySetKeys
	}
	var keys []publicKey
	for i := range set.Len() {
		key, _ := set.Key(i)
		if usable, ok := publicKeyOf(key); ok {
			keys = append(keys, usable)
		}
	}
	if len(keys) == 0 {
		return nil, errNoUsableKey
	}
	return keys, nil
}

func publicKeyOf(key jwk.Key) (publicKey, bool) {
	if use, said := key.KeyUsage(); said && use != "sig" {
		return publicKey{}, false
	}
	raw, err := jwk.PublicRawKeyOf(key)
	if err != nil {
		return publicKey{}, false
	}
	usable := publicKey{algorithm: algorithmOf(raw), key: raw}
	if usable.algorithm == "" {
		return publicKey{}, false
	}
	if said, ok := key.Algorithm(); ok && !namesAlgorithm(said.String(), usable.algorithm) {
		return publicKey{}, false
	}
	usable.id, _ = key.KeyID()
	return usable, true
}

// namesAlgorithm tells whether a key's `alg` is the one it would be used for; RFC 9864 calls EdDSA by the curve's name.
func namesAlgorithm(said, algorithm string) bool {
	return said == algorithm || said == "Ed25519" && algorithm == "EdDSA"
}

// algorithmOf returns what a key is good for; "" = nothing. A symmetric key is good for nothing: whoever can read the
// set could sign with it.
func algorithmOf(key any) string {
	switch key := key.(type) {
	case *rsa.PublicKey: // of 2048 bits at least: jwk passes over a shorter one
		return "RS256"
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			return "ES256"
		}
	case ed25519.PublicKey:
		return "EdDSA"
	}
	return ""
}

// findKey returns the key that a token names. One that names none fits only where there is no choice.
func findKey(keys []publicKey, token *jwt.Token) (any, error) {
	id, named := token.Header["kid"].(string)
	fits := func(k publicKey) bool {
		return k.algorithm == token.Method.Alg() && (!named || k.id == id)
	}
	first := slices.IndexFunc(keys, fits)
	if first < 0 || slices.ContainsFunc(keys[first+1:], fits) {
		return nil, errKeyUnknown
	}
	return keys[first].key, nil
}
