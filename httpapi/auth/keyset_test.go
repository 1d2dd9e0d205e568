package auth

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/stretchr/testify/require"
)

// jwkOf returns a key as a set has it.
func jwkOf(t *testing.T, public any, id string, more map[string]any) map[string]any {
	t.Helper()
	key, err := jwk.Import(public)
	require.NoError(t, err)
	text, err := json.Marshal(key)
	require.NoError(t, err)
	members := map[string]any{"kid": id}
	require.NoError(t, json.Unmarshal(text, &members))
	maps.Copy(members, more)
	return members
}

func keySetDocument(t *testing.T, keys ...map[string]any) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"keys": keys})
	require.NoError(t, err)
	return string(text)
}

// keyServer is an issuer's server.
type keyServer struct {
	*httptest.Server
	asked    atomic.Int64
	document atomic.Pointer[string]
	status   atomic.Int64
}

func serveDocument(t *testing.T, document *string) *keyServer {
	t.Helper()
	s := &keyServer{}
	s.document.Store(document)
	s.status.Store(http.StatusOK)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.asked.Add(1)
		w.WriteHeader(int(s.status.Load()))
		_, _ = io.WriteString(w, *s.document.Load())
	}))
	t.Cleanup(s.Close)
	return s
}

func keySetAt(t *testing.T, s *keyServer) *KeySet {
	t.Helper()
	set, err := NewKeySet(t.Context(), s.URL)
	require.NoError(t, err)
	set.log = slog.New(slog.DiscardHandler)
	return set
}

func TestAnOutageLeavesTheLastKeySetInForce(t *testing.T) {
	es := signer{"es", newEC(t, elliptic.P256()), jwt.SigningMethodES256}
	document := keySetDocument(t, jwkOf(t, es.private.Public(), es.id, nil))
	forged := strings.Replace(document, `"kid":"es"`, `"kid":"new"`, 1)
	key := strings.TrimSuffix(strings.TrimPrefix(forged, `{"keys":[`), "]}")
	for name, outage := range map[string]struct {
		status   int
		document string
	}{
		"the server is gone":    {0, ""},
		"an error":              {http.StatusBadGateway, forged},
		"a redirect":            {http.StatusFound, forged},
		"no JSON":               {http.StatusOK, "<html>"},
		"an empty set":          {http.StatusOK, `{"keys":[]}`},
		"no key that is of use": {http.StatusOK, `{"keys":[{"kty":"oct","k":"AAAA"}]}`},
		"far too much":          {http.StatusOK, forged + strings.Repeat(" ", maxKeySet)},
		"far too many":          {http.StatusOK, `{"keys":[` + strings.Repeat(`{"kty":"oct","k":"AAAA"},`, maxSetKeys) + key + "]}"},
	} {
		t.Run(name, func(t *testing.T) {
			server := serveDocument(t, &document)
			set := keySetAt(t, server)
			tokens := newTokens(t, TokensConfig{KeySet: set})
			server.status.Store(int64(outage.status))
			server.document.Store(&outage.document)
			if outage.status == 0 {
				server.Close()
			}
			set.refresh(t.Context(), 0)
			_, err := tokens.Verify(es.token(t))
			require.NoError(t, err, "the set that was there before")
			_, err = tokens.Verify(signer{"new", es.private, es.method}.token(t))
			require.Equal(t, ErrInvalid, err)
		})
	}
}

func TestANewKeyIsFetchedWhenItIsNeeded(t *testing.T) {
	first := signer{"1", newEC(t, elliptic.P256()), jwt.SigningMethodES256}
	second := signer{"2", newEC(t, elliptic.P256()), jwt.SigningMethodES256}
	document := keySetDocument(t, jwkOf(t, first.private.Public(), first.id, nil))
	server := serveDocument(t, &document)
	set := keySetAt(t, server)
	clock := now
	set.now, set.fetched = func() time.Time { return clock }, now
	tokens := newTokens(t, TokensConfig{KeySet: set})

	rotated := keySetDocument(t, jwkOf(t, second.private.Public(), second.id, nil))
	server.document.Store(&rotated)
	_, err := tokens.Verify(first.token(t))
	require.NoError(t, err)
	for range 20 {
		_, err = tokens.Verify(second.token(t))
		require.Equal(t, ErrInvalid, err)
	}
	require.EqualValues(t, 1, server.asked.Load(), "whoever makes up tokens must not make us ask for keys")

	clock = clock.Add(keySetPause)
	_, err = tokens.Verify(second.token(t))
	require.NoError(t, err, "the new key is there")
	require.EqualValues(t, 2, server.asked.Load())
	_, err = tokens.Verify(first.token(t))
	require.Equal(t, ErrInvalid, err, "the old one was withdrawn")
	require.EqualValues(t, 2, server.asked.Load())
}

func TestAKeySetMustBeThereAtStart(t *testing.T) {
	document := "no set"
	server := serveDocument(t, &document)
	_, err := NewKeySet(t.Context(), server.URL)
	require.Error(t, err)
	server.Close()
	_, err = NewKeySet(t.Context(), server.URL)
	require.ErrorContains(t, err, "fetch the key set")
}

// Whoever can have the issuer's address redirect would choose the keys.
func TestARedirectChoosesNoKeys(t *testing.T) {
	document := keySetDocument(t, jwkOf(t, newEC(t, elliptic.P256()).Public(), "k", nil))
	elsewhere := serveDocument(t, &document)
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect} {
		issuer := httptest.NewServer(http.RedirectHandler(elsewhere.URL, status))
		_, err := NewKeySet(t.Context(), issuer.URL)
		issuer.Close()
		require.ErrorIs(t, err, errKeySetStatus, status)
	}
	require.Zero(t, elsewhere.asked.Load(), "the other address is not even asked")
}

// spaces is a document without an end.
type spaces struct{ read *int }

func (s spaces) Read(p []byte) (int, error) {
	*s.read += len(p)
	return copy(p, bytes.Repeat([]byte{' '}, len(p))), nil
}

// endless answers with it; where it is read on and on, it ends at last, for the test's sake.
type endless struct{ read *int }

func (e endless) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(io.LimitReader(spaces(e), 64*maxKeySet))}, nil
}

func TestAnEndlessKeySetIsNotReadToItsEnd(t *testing.T) {
	read := 0
	set := newKeySet("https://issuer.example")
	set.client.Transport = endless{&read}
	require.ErrorIs(t, set.fetch(t.Context()), errLongKeySet)
	require.LessOrEqual(t, read, 2*maxKeySet, "bytes that were read of an endless document")
}

// silent is an issuer that never answers.
type silent struct{}

func (silent) RoundTrip(request *http.Request) (*http.Response, error) {
	<-request.Context().Done()
	return nil, request.Context().Err()
}

func TestASilentIssuerIsNotWaitedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := newKeySet("https://issuer.example")
		set.client.Transport = silent{}
		began := time.Now()
		require.ErrorIs(t, set.fetch(t.Context()), context.DeadlineExceeded)
		require.Equal(t, keySetTimeout, time.Since(began))
	})
}

// counting answers with a set and counts how often it was asked.
type counting struct {
	document string
	asked    *atomic.Int64
}

func (c counting) RoundTrip(*http.Request) (*http.Response, error) {
	c.asked.Add(1)
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(c.document))}, nil
}

func TestTheKeySetIsFetchedAgainAndAgain(t *testing.T) {
	document := keySetDocument(t, jwkOf(t, newEd(t).Public(), "ed", nil))
	synctest.Test(t, func(t *testing.T) {
		set, asked := newKeySet("https://issuer.example"), &atomic.Int64{}
		set.client.Transport = counting{document, asked}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- set.Run(ctx) }()
		<-time.After(3*keySetRefresh + time.Second) // of the bubble's clock
		require.EqualValues(t, 3, asked.Load())
		cancel()
		require.NoError(t, <-ended)
	})
}
