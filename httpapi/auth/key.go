package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"regexp"
	"slices"
	"strings"

	"flashsale/engine"
)

const (
	// keyPrefix lets people and secret scanners see what a key is for.
	keyPrefix = "fsk_"
	// keyBytes is how much of a key is random.
	keyBytes = 32
	// hashPrefix names what was done to the key.
	hashPrefix = "sha256:"
)

// keyLen is the length of a key in characters.
var keyLen = len(keyPrefix) + base64.RawURLEncoding.EncodedLen(keyBytes)

// NewKey returns a fresh key: `fsk_` and 256 bits from crypto/rand in the URL's base64.
func NewKey() string {
	var random [keyBytes]byte
	_, _ = rand.Read(random[:]) // never fails: it ends the process instead (crypto/rand)
	return keyPrefix + base64.RawURLEncoding.EncodeToString(random[:])
}

// KeyLine returns the line that lets a key in, for the file that [ParseKeys] reads; user "" = any buyer.
func KeyLine(key, scopes, name, user string) (string, error) {
	sum := hashOf(key)
	line := strings.TrimSpace(hashPrefix + hex.EncodeToString(sum[:]) + " " + scopes + " " + name + " " + user)
	read, err := parseKey(line)
	if err != nil {
		return "", err
	}
	if read.who.Name != "key:"+name || read.who.User != user { // white space in one of them
		return "", errFields
	}
	return line, nil
}

// hashOf is plain SHA-256, which is right for a key and would be wrong for a password: a slow hash with salt makes up for
// secrets that can be guessed, and 256 random bits can't be, however fast the hash. A check costs no more than that, on
// every request. What was not made by [NewKey] never passes: see wellFormed.
func hashOf(key string) [sha256.Size]byte { return sha256.Sum256([]byte(key)) }

// wellFormed tells whether a token can be a key of [NewKey], so that no hash of a mere password lets anybody in.
func wellFormed(token string) bool {
	return len(token) == keyLen && strings.HasPrefix(token, keyPrefix)
}

// apiKey is one line of the file.
type apiKey struct {
	sum [sha256.Size]byte
	who Identity
}

// nameRule is what a key's name must match: it goes into the audit.
var nameRule = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

var (
	errFields    = errors.New("must be: sha256:<64 hex digits> <scopes> <name> [user]")
	errPlainKey  = errors.New("holds a key itself: `flashsale keys new` prints the line that holds its hash; that key is known to this file's readers now, so make another")
	errHash      = errors.New("the first word must be sha256: and 64 hex digits")
	errScopes    = errors.New("the scopes must be buyer, monitor or admin, or several with commas between them")
	errName      = errors.New("the name must match " + nameRule.String())
	errUser      = errors.New("the user " + engine.UserIDRule)
	errUserScope = errors.New("a user goes with the scope buyer and not with admin, which acts for everybody")
)

// parseKey reads one line. Its errors never repeat what is in it.
func parseKey(line string) (apiKey, error) {
	fields := strings.Fields(line)
	if slices.ContainsFunc(fields, wellFormed) {
		return apiKey{}, errPlainKey
	}
	if len(fields) != 3 && len(fields) != 4 {
		return apiKey{}, errFields
	}
	key := apiKey{who: Identity{Name: "key:" + fields[2]}}
	var err error
	if key.sum, err = parseHash(fields[0]); err != nil {
		return apiKey{}, err
	}
	if key.who.Scopes, err = ParseScopes(fields[1]); err != nil {
		return apiKey{}, err
	}
	if !nameRule.MatchString(fields[2]) {
		return apiKey{}, errName
	}
	if len(fields) == 4 {
		key.who.User = fields[3]
		return key, checkUser(key.who)
	}
	return key, nil
}

func parseHash(word string) (sum [sha256.Size]byte, err error) {
	digits, named := strings.CutPrefix(word, hashPrefix)
	if !named || len(digits) != hex.EncodedLen(len(sum)) {
		return sum, errHash
	}
	if _, err := hex.Decode(sum[:], []byte(digits)); err != nil {
		return sum, errHash
	}
	return sum, nil
}

func checkUser(who Identity) error {
	if !engine.ValidUserID(who.User) {
		return errUser
	}
	if who.Scopes&Buyer == 0 || who.Scopes&Admin != 0 {
		return errUserScope
	}
	return nil
}
