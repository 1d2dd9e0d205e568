package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
)

const (
	secret   = "0123456789abcdef0123456789abcdef"
	issuer   = "https://login.shop.example/"
	audience = "flashsale"
)

// now is when the tokens of these tests are looked at.
var now = time.Unix(1_700_000_000, 0)

// goodClaims are those of a buyer's token; change sets others, and takes away those that are nil.
func goodClaims(change jwt.MapClaims) jwt.MapClaims {
	c := jwt.MapClaims{"iss": issuer, "aud": audience, "sub": "ann", "exp": now.Add(time.Minute).Unix()}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, value any) bool { return value == nil })
	return c
}

func sign(t *testing.T, method jwt.SigningMethod, key any, claims jwt.MapClaims, header map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	maps.Copy(token.Header, header)
	text, err := token.SignedString(key)
	require.NoError(t, err)
	return text
}

func hs256(t *testing.T, change jwt.MapClaims) string {
	t.Helper()
	return sign(t, jwt.SigningMethodHS256, []byte(secret), goodClaims(change), nil)
}

func newTokens(t *testing.T, c TokensConfig) *Tokens {
	t.Helper()
	c.Issuer, c.Audience, c.Now = issuer, audience, func() time.Time { return now }
	tokens, err := NewTokens(c)
	require.NoError(t, err)
	return tokens
}

func TestTokensStandForTheirSubject(t *testing.T) {
	tokens := newTokens(t, TokensConfig{Secret: secret})
	ann := Identity{User: "ann", Name: "jwt:ann", Scopes: Buyer}
	for name, c := range map[string]struct {
		change jwt.MapClaims
		want   Identity
	}{
		"a buyer's":                 {nil, ann},
		"several audiences":         {jwt.MapClaims{"aud": []string{"other", audience}}, ann},
		"just expired":              {jwt.MapClaims{"exp": now.Add(-clockLeeway + time.Second).Unix()}, ann},
		"almost valid":              {jwt.MapClaims{"nbf": now.Add(clockLeeway).Unix()}, ann},
		"a user with signs":         {jwt.MapClaims{"sub": "a.b+c@x:1"}, Identity{User: "a.b+c@x:1", Name: "jwt:a.b+c@x:1", Scopes: Buyer}},
		"scope buyer":               {jwt.MapClaims{"scope": "openid buyer"}, ann},
		"scope monitor":             {jwt.MapClaims{"scope": "monitor"}, Identity{User: "ann", Name: "jwt:ann", Scopes: Monitor}},
		"scope admin":               {jwt.MapClaims{"scope": "admin"}, Identity{Name: "jwt:ann", Scopes: Admin}},
		"buyer and monitor":         {jwt.MapClaims{"scope": "monitor  buyer"}, Identity{User: "ann", Name: "jwt:ann", Scopes: Buyer | Monitor}},
		"only others' scopes":       {jwt.MapClaims{"scope": "openid profile"}, Identity{User: "ann", Name: "jwt:ann"}},
		"an empty scope":            {jwt.MapClaims{"scope": ""}, Identity{User: "ann", Name: "jwt:ann"}},
		"scopes with a comma":       {jwt.MapClaims{"scope": "buyer,admin"}, Identity{User: "ann", Name: "jwt:ann"}},
		"a word that contains ours": {jwt.MapClaims{"scope": "superadmin"}, Identity{User: "ann", Name: "jwt:ann"}},
	} {
		t.Run(name, func(t *testing.T) {
			who, err := tokens.Verify(hs256(t, c.change))
			require.NoError(t, err)
			exp := now.Add(time.Minute).Unix()
			if other, changed := c.change["exp"]; changed {
				exp = other.(int64)
			}
			require.Equal(t, exp, who.Until.Add(-clockLeeway).Unix(), "as long as it is let in")
			who.Until = time.Time{}
			require.Equal(t, c.want, who)
		})
	}
}

func TestTokensThatStandForNobody(t *testing.T) {
	tokens := newTokens(t, TokensConfig{Secret: secret})
	good := hs256(t, nil)
	parts, others := strings.Split(good, "."), strings.Split(hs256(t, jwt.MapClaims{"sub": "bob"}), ".")
	for name, c := range map[string]struct {
		token string
		want  error
	}{
		"nothing":           {"", ErrInvalid},
		"no token":          {"fsk_x", ErrInvalid},
		"dots":              {"..", ErrInvalid},
		"expired":           {hs256(t, jwt.MapClaims{"exp": now.Add(-clockLeeway).Unix()}), ErrExpired},
		"expires never":     {hs256(t, jwt.MapClaims{"exp": nil}), ErrInvalid},
		"expires in words":  {hs256(t, jwt.MapClaims{"exp": "tomorrow"}), ErrInvalid},
		"expires in a text": {hs256(t, jwt.MapClaims{"exp": strconv.FormatInt(now.Add(time.Minute).Unix(), 10)}), ErrInvalid},
		"begins in a text":  {hs256(t, jwt.MapClaims{"nbf": strconv.FormatInt(now.Add(-time.Minute).Unix(), 10)}), ErrInvalid},
		"made in a text":    {hs256(t, jwt.MapClaims{"iat": strconv.FormatInt(now.Add(-time.Minute).Unix(), 10)}), ErrInvalid},
		"not valid yet":     {hs256(t, jwt.MapClaims{"nbf": now.Add(time.Minute).Unix()}), ErrInvalid},
		"another issuer":    {hs256(t, jwt.MapClaims{"iss": issuer + "x"}), ErrInvalid},
		"no issuer":         {hs256(t, jwt.MapClaims{"iss": nil}), ErrInvalid},
		"another audience":  {hs256(t, jwt.MapClaims{"aud": "other"}), ErrInvalid},
		"no audience":       {hs256(t, jwt.MapClaims{"aud": nil}), ErrInvalid},
		"no subject":        {hs256(t, jwt.MapClaims{"sub": nil}), ErrInvalid},
		"no user's subject": {hs256(t, jwt.MapClaims{"sub": "ann|google"}), ErrInvalid},
		"a long subject":    {hs256(t, jwt.MapClaims{"sub": strings.Repeat("u", 129)}), ErrInvalid},
		"a scope list":      {hs256(t, jwt.MapClaims{"scope": []string{"admin"}}), ErrInvalid},
		"another secret":    {sign(t, jwt.SigningMethodHS256, []byte("x"+secret), goodClaims(nil), nil), ErrInvalid},
		"expired and forged": {
			sign(t, jwt.SigningMethodHS256, []byte("x"+secret), goodClaims(jwt.MapClaims{"exp": 1}), nil), ErrInvalid,
		},
		"other claims":        {parts[0] + "." + others[1] + "." + parts[2], ErrInvalid},
		"none":                {sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, goodClaims(nil), nil), ErrInvalid},
		"none in disguise":    {sign(t, jwt.SigningMethodHS256, []byte(secret), goodClaims(nil), map[string]any{"alg": "nOnE"}), ErrInvalid},
		"no signature":        {parts[0] + "." + parts[1] + ".", ErrInvalid},
		"HS384":               {sign(t, jwt.SigningMethodHS384, []byte(secret), goodClaims(nil), nil), ErrInvalid},
		"HS512":               {sign(t, jwt.SigningMethodHS512, []byte(secret), goodClaims(nil), nil), ErrInvalid},
		"critical extensions": {sign(t, jwt.SigningMethodHS256, []byte(secret), goodClaims(nil), map[string]any{"crit": []string{"x"}, "x": 1}), ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			who, err := tokens.Verify(c.token)
			require.Equal(t, c.want, err, "and not a word more")
			require.Equal(t, Identity{}, who)
		})
	}
}

func TestTokensNeedTheirSettings(t *testing.T) {
	set := &KeySet{}
	for name, c := range map[string]struct {
		config TokensConfig
		want   error
	}{
		"no key":         {TokensConfig{Issuer: issuer, Audience: audience}, errOneSource},
		"two keys":       {TokensConfig{Secret: secret, KeySet: set, Issuer: issuer, Audience: audience}, errOneSource},
		"a short secret": {TokensConfig{Secret: secret[1:], Issuer: issuer, Audience: audience}, errSecret},
		"no issuer":      {TokensConfig{Secret: secret, Audience: audience}, errAddressee},
		"no audience":    {TokensConfig{KeySet: set, Issuer: issuer}, errAddressee},
		"all":            {TokensConfig{KeySet: set, Issuer: issuer, Audience: audience}, nil},
	} {
		_, err := NewTokens(c.config)
		require.ErrorIs(t, err, c.want, name)
	}
}

// signer is a private key with what its public half is called in a set.
type signer struct {
	id      string
	private crypto.Signer
	method  jwt.SigningMethod
}

func newRSA(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	require.NoError(t, err)
	return key
}

func newEC(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	require.NoError(t, err)
	return key
}

func newEd(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return key
}

func (s signer) token(t *testing.T) string {
	t.Helper()
	return sign(t, s.method, s.private, goodClaims(nil), map[string]any{"kid": s.id})
}

func TestTokensOfAKeySet(t *testing.T) {
	rs, es, ed := newRSA(t, 2048), newEC(t, elliptic.P256()), newEd(t)
	weak, wide, sealing, other := newRSA(t, 1024), newEC(t, elliptic.P384()), newRSA(t, 2048), newRSA(t, 2048)
	document := keySetDocument(t,
		jwkOf(t, rs.Public(), "rs", nil), jwkOf(t, es.Public(), "es", map[string]any{"alg": "ES256", "use": "sig"}),
		jwkOf(t, ed.Public(), "ed", map[string]any{"alg": "Ed25519"}),
		jwkOf(t, rs.Public(), "weak", map[string]any{"n": base64.RawURLEncoding.EncodeToString(weak.N.Bytes())}),
		jwkOf(t, wide.Public(), "wide", nil), jwkOf(t, newEC(t, elliptic.P256()).Public(), "es2", nil),
		jwkOf(t, sealing.Public(), "sealing", map[string]any{"use": "enc"}),
		jwkOf(t, other.Public(), "other", map[string]any{"alg": "RS384"}), jwkOf(t, []byte(secret), "symmetric", nil),
		map[string]any{"kty": "XYZ", "kid": "unknown"},
	)
	tokens := newTokens(t, TokensConfig{KeySet: keySetAt(t, serveDocument(t, &document))})
	der, err := x509.MarshalPKIXPublicKey(rs.Public())
	require.NoError(t, err)
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	kid := func(id any) map[string]any { return map[string]any{"kid": id} }
	for name, c := range map[string]struct {
		token string
		good  bool
	}{
		"RS256":                {signer{"rs", rs, jwt.SigningMethodRS256}.token(t), true},
		"ES256":                {signer{"es", es, jwt.SigningMethodES256}.token(t), true},
		"EdDSA":                {signer{"ed", ed, jwt.SigningMethodEdDSA}.token(t), true},
		"no kid, no choice":    {sign(t, jwt.SigningMethodEdDSA, ed, goodClaims(nil), nil), true},
		"no kid, a choice":     {sign(t, jwt.SigningMethodES256, es, goodClaims(nil), nil), false},
		"another's kid":        {signer{"es", rs, jwt.SigningMethodRS256}.token(t), false},
		"an unknown kid":       {signer{"xx", rs, jwt.SigningMethodRS256}.token(t), false},
		"another key":          {signer{"rs", other, jwt.SigningMethodRS256}.token(t), false},
		"RS384":                {signer{"rs", rs, jwt.SigningMethodRS384}.token(t), false},
		"RS512":                {signer{"rs", rs, jwt.SigningMethodRS512}.token(t), false},
		"PS256":                {signer{"rs", rs, jwt.SigningMethodPS256}.token(t), false},
		"ES384":                {signer{"wide", wide, jwt.SigningMethodES384}.token(t), false},
		"a short RSA key":      {signer{"weak", weak, jwt.SigningMethodRS256}.token(t), false},
		"a key to encrypt":     {signer{"sealing", sealing, jwt.SigningMethodRS256}.token(t), false},
		"a key for RS384":      {signer{"other", other, jwt.SigningMethodRS256}.token(t), false},
		"none":                 {sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, goodClaims(nil), kid("rs")), false},
		"HS with the RSA key":  {sign(t, jwt.SigningMethodHS256, asPEM, goodClaims(nil), kid("rs")), false},
		"HS with its DER":      {sign(t, jwt.SigningMethodHS256, der, goodClaims(nil), kid("rs")), false},
		"HS with its modulus":  {sign(t, jwt.SigningMethodHS256, rs.N.Bytes(), goodClaims(nil), kid("rs")), false},
		"HS with the set's":    {sign(t, jwt.SigningMethodHS256, []byte(secret), goodClaims(nil), kid("symmetric")), false},
		"the key in the token": {sign(t, jwt.SigningMethodRS256, other, goodClaims(nil), map[string]any{"jwk": jwkOf(t, other.Public(), "rs", nil)}), false},
	} {
		t.Run(name, func(t *testing.T) {
			who, err := tokens.Verify(c.token)
			if c.good {
				require.NoError(t, err)
				require.Equal(t, "ann", who.User)
				return
			}
			require.Equal(t, ErrInvalid, err)
		})
	}
}

func TestAKeyIsGoodForOneAlgorithm(t *testing.T) {
	for want, keys := range map[string][]any{
		"RS256": {newRSA(t, 2048).Public()}, "ES256": {newEC(t, elliptic.P256()).Public()}, "EdDSA": {newEd(t).Public()},
		"": {newEC(t, elliptic.P384()).Public(), newEC(t, elliptic.P521()).Public(), []byte(secret), newEd(t), nil},
	} {
		for _, key := range keys {
			require.Equal(t, want, algorithmOf(key), "%T", key)
		}
	}
}
