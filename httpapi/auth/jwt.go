package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"flashsale/engine"
)

// clockLeeway is how far the clock of whoever signs tokens may be from ours.
const clockLeeway = 5 * time.Second

// MinSecret is the shortest secret for HS256, in bytes: as long as its hash (RFC 7518, 3.2).
const MinSecret = 32

// TokensConfig says which JSON Web Tokens are let in. All are needed, of Secret and KeySet just one.
type TokensConfig struct {
	Secret   string  // for HS256, at least [MinSecret] bytes
	KeySet   *KeySet // for RS256, ES256 and EdDSA
	Issuer   string  // must be the token's `iss`
	Audience string  // must be in the token's `aud`

	Now func() time.Time // nil = time.Now
}

// Tokens lets in whoever has a JSON Web Token of one issuer for one audience.
type Tokens struct {
	parser *jwt.Parser
	key    jwt.Keyfunc
}

var (
	errOneSource = errors.New("tokens are checked with a secret or with a key set, and with one of them only")
	errSecret    = fmt.Errorf("the secret must have at least %d bytes", MinSecret)
	errAddressee = errors.New("the issuer and the audience must be said")
)

// NewTokens returns a verifier, or says what the settings lack.
func NewTokens(c TokensConfig) (*Tokens, error) {
	switch {
	case (c.Secret == "") == (c.KeySet == nil):
		return nil, errOneSource
	case c.KeySet == nil && len(c.Secret) < MinSecret:
		return nil, errSecret
	case c.Issuer == "" || c.Audience == "":
		return nil, errAddressee
	}
	// The algorithms are ours to choose, never the token's: `none` is in neither list, and a public key can't be mistaken
	// for a secret, since HS256 is let in only where there are no public keys.
	algorithms, key := []string{"HS256"}, func(*jwt.Token) (any, error) { return []byte(c.Secret), nil }
	if c.KeySet != nil {
		algorithms, key = keySetAlgorithms, c.KeySet.keyOf
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods(algorithms), jwt.WithIssuer(c.Issuer), jwt.WithAudience(c.Audience),
		jwt.WithExpirationRequired(), jwt.WithStrictDecoding(), jwt.WithLeeway(clockLeeway),
	}
	if c.Now != nil {
		options = append(options, jwt.WithTimeFunc(c.Now))
	}
	return &Tokens{parser: jwt.NewParser(options...), key: key}, nil
}

// claims are what is read of a token.
type claims struct {
	jwt.RegisteredClaims
	Scope *string `json:"scope"` // RFC 8693: words with spaces between them
}

var errTextDate = errors.New("exp, nbf and iat must be numbers")

// UnmarshalJSON reads the claims. Times are numbers (RFC 7519, 2, NumericDate); the library takes texts of digits too.
func (c *claims) UnmarshalJSON(text []byte) error {
	var dates struct{ Exp, Nbf, Iat json.RawMessage }
	if err := json.Unmarshal(text, &dates); err != nil {
		return err
	}
	for _, date := range []json.RawMessage{dates.Exp, dates.Nbf, dates.Iat} {
		if len(date) > 0 && date[0] == '"' {
			return errTextDate
		}
	}
	type plain claims // without this method
	return json.Unmarshal(text, (*plain)(c))
}

// Verify returns whom a token stands for, or [ErrExpired] or [ErrInvalid].
func (t *Tokens) Verify(token string) (Identity, error) {
	var c claims
	_, err := t.parser.ParseWithClaims(token, &c, t.keyOf)
	switch {
	case errors.Is(err, jwt.ErrTokenExpired): // said only of a token whose signature is right
		return Identity{}, ErrExpired
	case err != nil, !engine.ValidUserID(c.Subject):
		return Identity{}, ErrInvalid
	}
	who := Identity{Name: "jwt:" + c.Subject, Scopes: c.scopes(), Until: c.ExpiresAt.Add(clockLeeway)}
	if who.Scopes&Admin == 0 {
		who.User = c.Subject
	}
	return who, nil
}

var errCritical = errors.New("the token has extensions that must be understood")

// keyOf returns the key to check a token with. Extensions are understood by nobody here, so a token that lists some as
// critical is refused (RFC 7515, 4.1.11), which the parser does not do.
func (t *Tokens) keyOf(token *jwt.Token) (any, error) {
	if _, listed := token.Header["crit"]; listed {
		return nil, errCritical
	}
	return t.key(token)
}

// scopes returns what the token allows. Without the claim it is a buyer's; with it, no more than it says.
func (c *claims) scopes() (scopes Scope) {
	if c.Scope == nil {
		return Buyer
	}
	for word := range strings.FieldsSeq(*c.Scope) {
		scopes |= scopeNames[word] // others' words mean nothing here
	}
	return scopes
}
